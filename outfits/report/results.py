"""The figures of an evaluation: one record per method in, one checked result out, as JSON and CSV."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue
from outfits.errors import ArtifactError
from outfits.report.appearance import in_order
from outfits.report.records import MethodRecord as MethodRecord
from outfits.storage import write_text

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
RECALL_AT = ("1", "10", "50")
COMPATIBILITY = ("auc_random", "auc_same_category", "fitb_random", "fitb_same_category", "fitb_frequency_control")


@dataclass(frozen=True)
class MethodResult:
    """Figures of one method; shares and scores lie in [0, 1].

    Attributes:
        score_mean: mean S of the completed outfits.
        score_quantiles: quantiles of S, keyed by :data:`QUANTILES`.
        judge_mean: mean score under the judge, None without a judge.
        judge_quantiles: quantiles under the judge, None without a judge.
        scorer_calls_per_outfit: mean number of sets that S scored for one outfit.
        ms_per_outfit: mean wall time, milliseconds.
        distinct_share: distinct chosen items over picks made.
        distinct_items: number of distinct chosen items.
        removed_recall: share of the removed items among the first n of the method's ranking, keyed by
            :data:`RECALL_AT`; None where the method ranks nothing.
        valid_share: share of completed sets that are outfits.
        ratio_to_greedy_k: ``score_mean`` over that of ``greedy_k``, None where that was not run.
    """

    score_mean: float
    score_quantiles: Mapping[str, float]
    judge_mean: float | None
    judge_quantiles: Mapping[str, float] | None
    scorer_calls_per_outfit: float
    ms_per_outfit: float
    distinct_share: float
    distinct_items: int
    removed_recall: Mapping[str, float | None]
    valid_share: float
    ratio_to_greedy_k: float | None

    def __post_init__(self) -> None:
        for name in ("score_mean", "judge_mean", "distinct_share", "valid_share"):
            _check_share(name, getattr(self, name), optional=name == "judge_mean")
        for name in ("score_quantiles", "judge_quantiles"):
            quantiles = getattr(self, name)
            if quantiles is None:
                continue
            if tuple(quantiles) != QUANTILES:
                raise ValueError(f"{name} must have the keys {', '.join(QUANTILES)}")
            if sorted(quantiles.values()) != list(quantiles.values()):
                raise ValueError(f"{name} must not fall: {list(quantiles.values())}")
        if (self.judge_mean is None) != (self.judge_quantiles is None):
            raise ValueError("judge_mean and judge_quantiles belong together")
        if tuple(self.removed_recall) != RECALL_AT:
            raise ValueError(f"removed_recall must have the keys {', '.join(RECALL_AT)}")
        for name, value in self.removed_recall.items():
            _check_share(f"removed_recall {name}", value, optional=True)
        for name in ("scorer_calls_per_outfit", "ms_per_outfit", "distinct_items"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, not {value}")

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "MethodResult":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        _check_keys("a method", cls, values)
        return cls(**values)


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that ``results.json`` holds, and the scores of single outfits beside it.

    Attributes:
        dataset: data set and variant.
        split: split that was completed.
        k: number of removed items per outfit.
        outfits: number of completed outfits.
        catalogue: number of items that could be chosen.
        seed: seed of the evaluation.
        scorer_sha256: SHA-256 of the frozen scorer's weights file.
        compatibility: figures of S itself, at least the keys of :data:`COMPATIBILITY`; None where one has no meaning.
        methods: figures by method, in the order of presentation.
        split_facts: split mode, seed, share of test item pairs seen in training.
        counts: what cleaning saw and left out, by a short sentence.
        scores: a row per method and outfit (``outfit_id, method, score, judge, valid, calls, ms, chosen_1 …``, items by
            id), sorted; not in ``results.json`` and not compared.
    """

    dataset: str
    split: str
    k: int
    outfits: int
    catalogue: int
    seed: int
    scorer_sha256: str
    compatibility: Mapping[str, float | None]
    methods: Mapping[str, MethodResult]
    split_facts: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.k, self.outfits, self.catalogue) < 1:
            raise ValueError("k, outfits and catalogue must be positive")
        if not re.fullmatch(r"[0-9a-f]{64}", self.scorer_sha256):
            raise ValueError(f"scorer_sha256 must be 64 hexadecimal digits, not {self.scorer_sha256!r}")
        if absent := [name for name in COMPATIBILITY if name not in self.compatibility]:
            raise ValueError(f"compatibility lacks {', '.join(absent)}")
        for name, value in self.compatibility.items():
            _check_share(f"compatibility {name}", value, optional=True)
        if not self.methods:
            raise ValueError("no method was evaluated")
        if len({method.judge_mean is None for method in self.methods.values()}) != 1:
            raise ValueError("the judge must score every method or none")

    @property
    def judged(self) -> bool:
        """Were the completions scored by a judge."""
        return all(method.judge_mean is not None for method in self.methods.values())

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values, without the scores of single outfits."""
        values = {name.name: getattr(self, name.name) for name in fields(self) if name.name != "scores"}
        return values | {
            "compatibility": dict(self.compatibility),
            "methods": {name: method.to_json() for name, method in self.methods.items()},
            "split_facts": dict(self.split_facts),
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], scores: pd.DataFrame | None = None) -> "EvaluationResult":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        _check_keys("the result", cls, values, ignored=("scores",))
        methods = {name: MethodResult.from_json(method) for name, method in values["methods"].items()}
        return cls(**{**values, "methods": methods}, scores=pd.DataFrame() if scores is None else scores)

    def frame(self) -> pd.DataFrame:
        """One row per method with flat columns, as in ``results.csv``."""
        rows = []
        for name, method in self.methods.items():
            row: dict[str, Any] = {"method": name}
            for key, value in method.to_json().items():
                if key == "judge_quantiles" and value is None:
                    value = dict.fromkeys(QUANTILES)
                if isinstance(value, dict):
                    row |= {f"{key.removesuffix('s')}_{part}": figure for part, figure in value.items()}
                else:
                    row[key] = value
            rows.append(row)
        return pd.DataFrame(rows)


def summarise(
    records: Sequence[MethodRecord],
    *,
    catalogue: Catalogue,
    dataset: str,
    split: str,
    seed: int,
    scorer_sha256: str,
    compatibility: Mapping[str, float | None],
    split_facts: Mapping[str, Any],
    counts: Mapping[str, int],
) -> EvaluationResult:
    """Figures of all methods over the same outfits.

    Means are taken in float64 over the outfits sorted by id, so neither the order of records nor that of outfits within
    them, hence no number of ranks, changes a bit.

    Raises:
        ValueError: if records disagree about the outfits or k, name a method twice, or choose what is no item.
    """
    by_name = {record.name: record.by_outfit() for record in records}
    if len(by_name) != len(records):
        raise ValueError("a method is recorded twice")
    if not by_name:
        raise ValueError("no method was evaluated")
    ordered = [by_name[name] for name in in_order(by_name)]
    first = ordered[0]
    for record in ordered:
        if record.outfit_ids != first.outfit_ids:
            raise ValueError(f"{record.name} and {first.name} completed different outfits")
        if record.k != first.k:
            raise ValueError(f"{record.name} put in {record.k} items and {first.name} {first.k}")
        if int(record.chosen.max()) >= len(catalogue):
            raise ValueError(f"{record.name}: a chosen item is no catalogue position ({record.chosen.max()})")
    greedy = float(by_name["greedy_k"].scores.mean()) if "greedy_k" in by_name else 0.0
    return EvaluationResult(
        dataset=dataset,
        split=split,
        k=first.k,
        outfits=len(first.outfit_ids),
        catalogue=len(catalogue),
        seed=seed,
        scorer_sha256=scorer_sha256,
        compatibility=dict(compatibility),
        methods={record.name: _summarise_method(record, greedy) for record in ordered},
        split_facts=dict(split_facts),
        counts=dict(counts),
        scores=pd.concat([_scores_of(record, catalogue) for record in ordered], ignore_index=True),
    )


def write_results(result: EvaluationResult, folder: Path) -> dict[str, Path]:
    """Writes ``results.json``, ``results.csv`` and ``scores.parquet``; returns their paths as ``results_json`` etc."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name.replace("_", ".") for name in ("scores_parquet", "results_csv", "results_json")}
    result.scores.to_parquet(paths["scores_parquet"], index=False)
    result.frame().to_csv(paths["results_csv"], index=False)
    # last and in one move: who finds results.json finds all of it
    write_text(paths["results_json"], json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n")
    return paths


def read_results(folder: Path) -> EvaluationResult:
    """Reads what :func:`write_results` wrote.

    Raises:
        ArtifactError: if a file is missing or is not what this version writes.
    """
    try:
        values = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        scores = pd.read_parquet(folder / "scores.parquet")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder}: no readable results ({error}); run evaluate.py again") from error
    return EvaluationResult.from_json(values, scores)


def _summarise_method(record: MethodRecord, greedy_mean: float) -> MethodResult:
    mean = float(record.scores.mean())
    ranks = record.removed_ranks
    recall = {n: None if ranks is None else float(np.mean((ranks >= 0) & (ranks < int(n)))) for n in RECALL_AT}
    distinct = len(np.unique(record.chosen))
    return MethodResult(
        score_mean=mean,
        score_quantiles=_quantiles(record.scores),
        judge_mean=None if record.judge is None else float(record.judge.mean()),
        judge_quantiles=None if record.judge is None else _quantiles(record.judge),
        scorer_calls_per_outfit=float(record.calls.astype(np.float64).mean()),
        ms_per_outfit=float(record.ms.mean()),
        distinct_share=distinct / record.chosen.size,
        distinct_items=distinct,
        removed_recall=recall,
        valid_share=float(record.valid.mean()),
        ratio_to_greedy_k=mean / greedy_mean if greedy_mean > 0 else None,
    )


def _scores_of(record: MethodRecord, catalogue: Catalogue) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "outfit_id": record.outfit_ids,
        "method": record.name,
        "score": record.scores,
        "judge": np.full(len(record.scores), np.nan) if record.judge is None else record.judge,
        "valid": record.valid,
        "calls": record.calls,
        "ms": record.ms,
    }
    for place in range(record.k):
        columns[f"chosen_{place + 1}"] = [catalogue.item_ids[int(item)] for item in record.chosen[:, place]]
    return pd.DataFrame(columns)


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(np.quantile(values, float(name))) for name in QUANTILES}


def _check_share(name: str, value: float | None, *, optional: bool) -> None:
    if value is None:
        if optional:
            return
        raise ValueError(f"{name} is missing")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], not {value}")


def _check_keys(what: str, kind: type, values: Mapping[str, Any], ignored: tuple[str, ...] = ()) -> None:
    known = {item.name for item in fields(kind)} - set(ignored)
    if wrong := sorted(known ^ set(values)):
        raise ArtifactError(f"results.json: {what} lacks or does not know {', '.join(wrong)}; run evaluate.py again")
