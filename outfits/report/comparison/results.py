"""Computes the metrics of an evaluation from the outcomes of its methods."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from outfits.completion.completion import MethodOutcome
from outfits.config.schema.targets import CONDITION_KINDS
from outfits.data.catalogue import Catalogue
from outfits.metrics.calibration import Calibration
from outfits.report.comparison.method import (
    OF_CONDITIONS,
    OF_SWEEPS,
    MethodResult,
    by_outfit,
    paired_metrics,
    ratio_of_means,
    summarise_method,
)
from outfits.report.style import in_order

COMPATIBILITY = ("auc_random", "auc_same_category", "fitb_random", "fitb_same_category", "fitb_frequency_control")
RESAMPLES = 2000
TABLES = ("categories", "conditions", "sweeps")
PARAMETERS = ("k", "width", "candidates", "alpha")
CORRELATIONS = ("score_spearman", "score_kendall")
"""Metrics of S against given scores that may be negative."""

Sweeps = Mapping[str, Mapping[str, Mapping[float, MethodResult]]]
"""Metrics by swept parameter, method and value."""


@dataclass(frozen=True)
class EvaluationResult:
    """Holds everything in ``results.json``, and the scores of single outfits beside it.

    Attributes:
        dataset: data set and variant.
        split: split that was completed.
        k: number of removed items per outfit.
        catalogue: number of items that could be chosen.
        scorer_sha256: SHA-256 of the frozen scorer's weights file.
        compatibility: metrics of S itself, at least the keys of :data:`COMPATIBILITY`; None where one has no meaning.
        methods: metrics by method, from :func:`summarise`.
        split_facts: split mode, seed, share of test item pairs seen in training.
        counts: what cleaning saw and left out, by a short sentence.
        resamples: bootstrap resamples of the intervals.
        calibration: whether S means what it says; None where it was not measured.
        sweeps: metrics at the values of swept parameters, from :func:`summarise_sweeps`.
        conditions: metrics by kind of condition and method, from :func:`summarise_conditions`.
        scores: a row per method and outfit, from :func:`score_table`; not in ``results.json``.
    """

    dataset: str
    split: str
    k: int
    catalogue: int
    seed: int
    scorer_sha256: str
    compatibility: Mapping[str, float | None]
    methods: Mapping[str, MethodResult]
    split_facts: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    resamples: int = RESAMPLES
    calibration: Calibration | None = None
    sweeps: Sweeps = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, MethodResult]] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.k, self.catalogue) < 1:
            raise ValueError("k and catalogue must be positive")
        if not re.fullmatch(r"[0-9a-f]{64}", self.scorer_sha256):
            raise ValueError(f"scorer_sha256 must be 64 hexadecimal digits, not {self.scorer_sha256!r}")
        if absent := [name for name in COMPATIBILITY if name not in self.compatibility]:
            raise ValueError(f"compatibility lacks {', '.join(absent)}")
        for name, value in self.compatibility.items():
            least = -1 if name in CORRELATIONS else 0
            if value is not None and not least <= value <= 1:
                raise ValueError(f"compatibility {name} must lie in [{least}, 1], not {value}")
        if not self.methods:
            raise ValueError("no method was evaluated")
        if len({method.judge_mean is None for method in self.methods.values()}) != 1:
            raise ValueError("the judge must score every method or none")
        for names, known in ((self.conditions, CONDITION_KINDS), (self.sweeps, PARAMETERS)):
            if strange := sorted(set(names) - set(known)):
                raise ValueError(f"{strange[0]!r} is not one of {', '.join(known)}")

    @property
    def outfits(self) -> int:
        """Number of completed outfits; a slow method may have completed a subset of them."""
        return max(method.outfits for method in self.methods.values())

    @property
    def judged(self) -> bool:
        """Whether a judge scored the completions."""
        return all(method.judge_mean is not None for method in self.methods.values())

    @property
    def all_methods(self) -> list[str]:
        """Every method with any metric, in the order of presentation."""
        others = [*self.conditions.values(), *self.sweeps.values()]
        return in_order({*self.methods, *(name for methods in others for name in methods)})

    def to_json(self) -> dict[str, Any]:
        """Converts the result to JSON values, without the scores of single outfits."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "k": self.k,
            "outfits": self.outfits,
            "catalogue": self.catalogue,
            "seed": self.seed,
            "scorer_sha256": self.scorer_sha256,
            "compatibility": dict(self.compatibility),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "methods": {name: method.to_json() for name, method in self.methods.items()},
            "split_facts": dict(self.split_facts),
            "counts": dict(self.counts),
            "resamples": self.resamples,
            "sweeps": self._sweep_rows(),
            "wishes": {  # the old name stays, since programs read results.json
                kind: {name: method.to_json(OF_CONDITIONS) for name, method in methods.items()}
                for kind, methods in self.conditions.items()
            },
        }

    def frame(self) -> pd.DataFrame:
        """Makes one row per method with flat columns, as in ``results.csv``."""
        return pd.DataFrame([{"method": name, **method.row()} for name, method in self.methods.items()])

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tabulates the metrics that have more than one row per method, keyed by :data:`TABLES`; no table is empty."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        for name, method in self.methods.items():
            rows["categories"] += [{"method": name, "category": key, **row} for key, row in method.categories.items()]
        for kind, methods in self.conditions.items():
            for name, result in methods.items():
                metrics = result.to_json(OF_CONDITIONS)
                recall = {f"removed_recall_{n}": share for n, share in metrics.pop("removed_recall").items()}
                rows["conditions"].append({"conditions": kind, "method": name, **metrics, **recall})
        rows["sweeps"] = self._sweep_rows()
        return {name: pd.DataFrame(found) for name, found in rows.items() if found}

    def _sweep_rows(self) -> list[dict[str, Any]]:
        return [
            {"parameter": parameter, "value": value, "method": name, **method.to_json(OF_SWEEPS)}
            for parameter, methods in self.sweeps.items()
            for name, values in methods.items()
            for value, method in values.items()
        ]


def summarise(
    outcomes: Mapping[str, MethodOutcome], catalogue: Catalogue, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, MethodResult]:
    """Computes the metrics of all methods over the same outfits, in the order of presentation.

    A slow method may have completed a subset of the outfits. Means are taken in float64 over the outfits sorted by id,
    and every interval draws the same resamples, so results do not depend on the order of methods or outfits, nor on the
    number of ranks.

    Raises:
        ValueError: if there is no method, methods disagree about the outfits or k, or a chosen item does not exist.
    """
    if not outcomes:
        raise ValueError("no method was evaluated")
    ordered = {name: by_outfit(outcomes[name]) for name in in_order(outcomes)}
    first = max(ordered, key=lambda name: len(ordered[name]))
    for name, outcome in ordered.items():
        if not np.isin(outcome.require_outfit_ids, ordered[first].require_outfit_ids).all():
            raise ValueError(f"{name} and {first} completed different outfits")
        if outcome.tasks.k != ordered[first].tasks.k:
            raise ValueError(f"{name} put in {outcome.tasks.k} items and {first} {ordered[first].tasks.k}")
        if int(outcome.chosen.max()) >= len(catalogue):
            raise ValueError(f"{name}: a chosen item is no catalogue position ({outcome.chosen.max()})")
    return {
        name: replace(
            summarise_method(outcome, catalogue),
            **paired_metrics(outcome, ordered, resamples=resamples, seed=seed),
        )
        for name, outcome in ordered.items()
    }


def summarise_conditions(
    outcomes: Mapping[str, Mapping[str, MethodOutcome]],
) -> dict[str, dict[str, MethodResult]]:
    """Computes the metrics of methods under every kind of condition; methods get the order of presentation."""
    return {
        kind: {name: summarise_method(by_outfit(methods[name])) for name in in_order(methods)}
        for kind, methods in outcomes.items()
    }


def summarise_sweeps(outcomes: Mapping[str, Mapping[float, Mapping[str, MethodOutcome]]]) -> Sweeps:
    """Computes the metrics of methods at every value of every swept parameter; outcomes by parameter, value and call.

    Where the parameter is an option of methods, those without it are no part of the sweep, but ``greedy_k`` may be what
    the others are compared with.
    """
    sweeps: dict[str, dict[str, dict[float, MethodResult]]] = {}
    for parameter, values in outcomes.items():
        found: dict[str, dict[float, MethodResult]] = {}
        for value, methods in sorted(values.items()):
            done = {name: by_outfit(outcome) for name, outcome in methods.items()}
            for name in [name for name in done if f":{parameter}=" in name] or done:
                ratio = ratio_of_means(done[name], done.get("greedy_k"))
                result = replace(summarise_method(done[name]), ratio_to_greedy_k=ratio)
                found.setdefault(_without_option(name, parameter), {})[value] = result
        if found:
            sweeps[parameter] = {name: found[name] for name in in_order(found)}
    return sweeps


def score_table(outcomes: Mapping[str, MethodOutcome], catalogue: Catalogue) -> pd.DataFrame:
    """Makes a sorted row per method and outfit: ``outfit_id, method, score, judge, valid, calls, ms, chosen_1 …``."""
    item_ids = np.asarray(catalogue.item_ids, dtype=object)
    tables = []
    for name in in_order(outcomes):
        outcome = by_outfit(outcomes[name])
        columns: dict[str, Any] = {
            "outfit_id": outcome.outfit_ids,
            "method": name,
            "score": outcome.scores,
            "judge": np.nan if outcome.judge is None else outcome.judge,
            "valid": outcome.valid,
            "calls": outcome.calls,
            "ms": outcome.ms,
        }
        chosen = {f"chosen_{place + 1}": item_ids[items] for place, items in enumerate(outcome.chosen.T)}
        tables.append(pd.DataFrame(columns | chosen))
    return pd.concat(tables, ignore_index=True)


def _without_option(name: str, parameter: str) -> str:
    """Removes one option from a call."""
    method, *options = name.split(":")
    return ":".join([method, *(option for option in options if not option.startswith(f"{parameter}="))])
