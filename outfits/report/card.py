"""Writes the model card of an exported run from its report: data, figures with intervals, limits and licence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

import outfits
from outfits.config.schema import Config
from outfits.data.outfits import SPLITS
from outfits.metrics.intervals import auc_interval, share_interval
from outfits.report.pages import render
from outfits.report.style import in_order

LIBRARY = "outfits"
MEASURES = {
    "auc_random": "Compatibility AUC, wrong items from the whole catalogue",
    "auc_same_category": "Compatibility AUC, wrong items of the same category",
    "official_auc": "Compatibility AUC, the data set's own rows",
    "fitb_random": "Fill in the blank, wrong answers from the whole catalogue",
    "fitb_same_category": "Fill in the blank, wrong answers of the same category",
    "official_fitb": "Fill in the blank, the data set's own questions",
}
"""Measures of S that a card shows, by their names in ``compatibility.json``."""


@dataclass(frozen=True)
class CardFacts:
    """What a card is made from.

    Attributes:
        name: the model's name, that of its folder.
        config: the run's configuration.
        dataset: content of ``dataset.json``.
        compatibility: content of ``compatibility.json``: metrics of S.
        results: content of the report's ``results.json``; None where the run was not evaluated.
        networks: names of the networks that the folder has.
        categories: names of the categories.
        licence: licence of the data.
        onnx: largest difference of every ONNX file to its network, of ``write_onnx``; empty without such files.
    """

    name: str
    config: Config
    dataset: Mapping[str, Any]
    compatibility: Mapping[str, Any]
    results: Mapping[str, Any] | None
    networks: Sequence[str]
    categories: Sequence[str]
    licence: str
    onnx: Mapping[str, float] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that S was measured on, which another evaluation may have changed since the training."""
        return str(self.compatibility.get("split", self.config.evaluate.split))

    @property
    def distractors(self) -> int:
        """Wrong answers of a question, at that measurement."""
        return int(self.compatibility.get("distractors", self.config.evaluate.distractors))


def model_card(facts: CardFacts) -> str:
    """Writes the card as Markdown, with the hub's metadata at its head."""
    split = facts.dataset["split"]
    methods = {} if facts.results is None else facts.results["methods"]
    text = render(
        "model_card.md.j2",
        facts=facts,
        version=outfits.__version__,
        split=split,
        splits=SPLITS,
        left_out={name: number for name, number in facts.dataset["counts"].items() if number and _tells(name)},
        measures=_measures(facts),
        methods={name: methods[name] for name in in_order(methods)},
        metadata=_metadata(facts),
    )
    return f"{text}\n"


def _tells(count: str) -> bool:
    return not count.endswith((" read", " kept"))


def _measures(facts: CardFacts) -> list[tuple[str, float, tuple[float, float], float | None]]:
    """Lists description, value, 95 % interval and the linear probe's value of the measures of S."""
    rows = []
    for name, described in MEASURES.items():
        value = facts.compatibility.get(name)
        if value is not None:
            rows.append((described, float(value), _interval(facts, name), facts.compatibility.get(f"probe_{name}")))
    return rows


def _interval(facts: CardFacts, name: str) -> tuple[float, float]:
    """Returns the 95 % interval of a measure of S from the number of outfits, or of the data set's own rows."""
    value, outfits_of_split = float(facts.compatibility[name]), int(facts.dataset["split"]["outfits"][facts.split])
    official = facts.compatibility.get("official", {}) if name.startswith("official") else {}
    positives, negatives, questions = (
        official.get(counted, outfits_of_split) for counted in ("positives", "negatives", "questions")
    )
    return auc_interval(value, positives, negatives) if "auc" in name else share_interval(value, questions)


def _metadata(facts: CardFacts) -> str:
    licence = facts.licence.lower()
    known = bool(re.fullmatch(r"[a-z0-9.-]+", licence))
    results = [
        EvalResult(
            task_type="outfit-compatibility",
            task_name="Outfit compatibility",
            dataset_type=facts.config.data.format,
            dataset_name=str(facts.dataset["name"]),
            dataset_split=facts.split,
            metric_type="auc" if "auc" in name else "accuracy",
            metric_name=described,
            metric_value=round(float(facts.compatibility[name]), 4),
        )
        for name, described in MEASURES.items()
        if facts.compatibility.get(name) is not None
    ]
    data = ModelCardData(
        license=licence if known else "other",
        library_name=LIBRARY,
        tags=["fashion", "outfit-completion", "compatibility", "recommendation"],
        model_name=facts.name,
        eval_results=results,
    )
    return data.to_yaml()
