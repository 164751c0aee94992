"""The metrics of an evaluation: one record per method in, one checked result out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from outfits.config.schema.targets import CONDITION_KINDS
from outfits.data.catalogue import Catalogue
from outfits.report.checks import check_keys, check_share
from outfits.report.comparison.conditions import ConditionResult
from outfits.report.comparison.method import MethodResult, summarise_method
from outfits.report.comparison.records import MethodRecord
from outfits.report.comparison.sweeps import SweepPoint, in_sweep_order
from outfits.report.style import in_order

COMPATIBILITY = ("auc_random", "auc_same_category", "fitb_random", "fitb_same_category", "fitb_frequency_control")
RESAMPLES = 2000
TABLES = ("categories", "conditions", "sweeps")


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that ``results.json`` holds, and the scores of single outfits beside it.

    Attributes:
        dataset: data set and variant.
        split: split that was completed.
        k: number of removed items per outfit.
        outfits: number of completed outfits; a slow method may have completed fewer, which are among them.
        catalogue: number of items that could be chosen.
        seed: seed of the evaluation.
        scorer_sha256: SHA-256 of the frozen scorer's weights file.
        compatibility: metrics of S itself, at least the keys of :data:`COMPATIBILITY`; None where one has no meaning.
        methods: metrics by method, in the order of presentation.
        split_facts: split mode, seed, share of test item pairs seen in training.
        counts: what cleaning saw and left out, by a short sentence.
        resamples: bootstrap resamples of the intervals.
        sweeps: metrics at the values of swept parameters, by parameter, method and value.
        conditions: metrics by kind of condition and method.
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
    resamples: int = RESAMPLES
    sweeps: Sequence[SweepPoint] = ()
    conditions: Mapping[str, Mapping[str, ConditionResult]] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.k, self.outfits, self.catalogue) < 1:
            raise ValueError("k, outfits and catalogue must be positive")
        if not re.fullmatch(r"[0-9a-f]{64}", self.scorer_sha256):
            raise ValueError(f"scorer_sha256 must be 64 hexadecimal digits, not {self.scorer_sha256!r}")
        if absent := [name for name in COMPATIBILITY if name not in self.compatibility]:
            raise ValueError(f"compatibility lacks {', '.join(absent)}")
        for name, value in self.compatibility.items():
            check_share(f"compatibility {name}", value, optional=True)
        if not self.methods:
            raise ValueError("no method was evaluated")
        if max(method.outfits for method in self.methods.values()) != self.outfits:
            raise ValueError(f"no method completed all {self.outfits} outfits")
        if len({method.judge_mean is None for method in self.methods.values()}) != 1:
            raise ValueError("the judge must score every method or none")
        if strange := sorted(set(self.conditions) - set(CONDITION_KINDS)):
            raise ValueError(f"{strange[0]!r} is not one of {', '.join(CONDITION_KINDS)}")

    @property
    def judged(self) -> bool:
        """Were the completions scored by a judge."""
        return all(method.judge_mean is not None for method in self.methods.values())

    @property
    def all_methods(self) -> list[str]:
        """Every method that has a figure anywhere, in the order of presentation."""
        conditioned = {name for methods in self.conditions.values() for name in methods}
        return in_order({*self.methods, *conditioned, *(point.method for point in self.sweeps)})

    def sweep(self, parameter: str) -> dict[str, list[SweepPoint]]:
        """Points of one swept parameter by method, values rising."""
        points: dict[str, list[SweepPoint]] = {}
        for point in self.sweeps:
            if point.parameter == parameter:
                points.setdefault(point.method, []).append(point)
        return points

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values, without the scores of single outfits."""
        values = {
            name.name: getattr(self, name.name) for name in fields(self) if name.name not in ("scores", "conditions")
        }
        return values | {
            "compatibility": dict(self.compatibility),
            "methods": {name: method.to_json() for name, method in self.methods.items()},
            "split_facts": dict(self.split_facts),
            "counts": dict(self.counts),
            "sweeps": [point.to_json() for point in self.sweeps],
            "wishes": {  # the name that readers of results.json know
                kind: {name: method.to_json() for name, method in methods.items()}
                for kind, methods in self.conditions.items()
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], scores: pd.DataFrame | None = None) -> "EvaluationResult":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        values = {"conditions" if name == "wishes" else name: value for name, value in values.items()}
        check_keys("the result", cls, values, ignored=("scores",))
        read = {
            "methods": {name: MethodResult.from_json(method) for name, method in values["methods"].items()},
            "sweeps": tuple(SweepPoint.from_json(point) for point in values["sweeps"]),
            "conditions": {
                kind: {name: ConditionResult.from_json(method) for name, method in methods.items()}
                for kind, methods in values["conditions"].items()
            },
        }
        return cls(**{**values, **read}, scores=pd.DataFrame() if scores is None else scores)

    def frame(self) -> pd.DataFrame:
        """One row per method with flat columns, as in ``results.csv``."""
        return pd.DataFrame([{"method": name, **method.row()} for name, method in self.methods.items()])

    def tables(self) -> dict[str, pd.DataFrame]:
        """The metrics that have more than one row per method, keyed by :data:`TABLES`; only those that there are."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        for name, method in self.methods.items():
            rows["categories"] += [{"method": name, "category": key, **row} for key, row in method.categories.items()]
        for kind, methods in self.conditions.items():
            for name, result in methods.items():
                recall = {f"removed_recall_{n}": share for n, share in result.removed_recall.items()}
                metrics = {key: value for key, value in result.to_json().items() if key != "removed_recall"}
                rows["conditions"].append({"conditions": kind, "method": name, **metrics, **recall})
        rows["sweeps"] = [point.to_json() for point in self.sweeps]
        return {name: pd.DataFrame(found) for name, found in rows.items() if found}


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
    removed: Mapping[str, NDArray[np.integer]] | None = None,
    resamples: int = RESAMPLES,
    sweeps: Iterable[SweepPoint] = (),
    conditions: Mapping[str, Mapping[str, ConditionResult]] | None = None,
) -> EvaluationResult:
    """Metrics of all methods over the same outfits; a slow method may have completed a subset of them.

    Means are taken in float64 over the outfits sorted by id, and every interval draws the same resamples, so neither
    the order of records nor that of outfits within them, hence no number of ranks, changes a bit.

    Args:
        records: what every method did.
        catalogue: the items.
        dataset: data set and variant.
        split: split that was completed.
        seed: seed of the evaluation, also of the resamples.
        scorer_sha256: SHA-256 of the frozen scorer's weights file.
        compatibility: metrics of S itself.
        split_facts: facts of the split.
        counts: what cleaning saw and left out.
        removed: catalogue positions of the removed items by outfit id, each ``[k]`` in the order of the records'
            ``removed_ranks``; None leaves the metrics by category empty.
        resamples: bootstrap resamples of the intervals.
        sweeps: points of :func:`outfits.report.comparison.sweeps.sweep_point`, in any order.
        conditions: metrics of :func:`outfits.report.comparison.conditions.summarise_conditions`.

    Raises:
        ValueError: if records disagree about the outfits or k, name a method twice, or choose what is no item.
    """
    by_name = {record.name: record.by_outfit() for record in records}
    if len(by_name) != len(records):
        raise ValueError("a method is recorded twice")
    if not by_name:
        raise ValueError("no method was evaluated")
    ordered = [by_name[name] for name in in_order(by_name)]
    first = max(ordered, key=lambda record: len(record.outfit_ids))
    completed = set(first.outfit_ids)
    for record in ordered:
        if not completed.issuperset(record.outfit_ids):
            raise ValueError(f"{record.name} and {first.name} completed different outfits")
        if record.k != first.k:
            raise ValueError(f"{record.name} put in {record.k} items and {first.name} {first.k}")
        if int(record.chosen.max()) >= len(catalogue):
            raise ValueError(f"{record.name}: a chosen item is no catalogue position ({record.chosen.max()})")
    return EvaluationResult(
        dataset=dataset,
        split=split,
        k=first.k,
        outfits=len(first.outfit_ids),
        catalogue=len(catalogue),
        seed=seed,
        scorer_sha256=scorer_sha256,
        compatibility=dict(compatibility),
        methods={
            record.name: summarise_method(record, by_name, catalogue, removed, resamples=resamples, seed=seed)
            for record in ordered
        },
        split_facts=dict(split_facts),
        counts=dict(counts),
        resamples=resamples,
        sweeps=in_sweep_order(sweeps),
        conditions={kind: dict(methods) for kind, methods in (conditions or {}).items()},
        scores=pd.concat([_scores_of(record, catalogue) for record in ordered], ignore_index=True),
    )


def _scores_of(record: MethodRecord, catalogue: Catalogue) -> pd.DataFrame:
    empty = np.full(len(record.scores), np.nan)
    columns: dict[str, Any] = {
        "outfit_id": record.outfit_ids,
        "method": record.name,
        "score": record.scores,
        "judge": empty if record.judge is None else record.judge,
        "valid": record.valid,
        "calls": record.calls,
        "ms": record.ms,
    }
    for place in range(record.k):
        columns[f"chosen_{place + 1}"] = [catalogue.item_ids[int(item)] for item in record.chosen[:, place]]
    return pd.DataFrame(columns)
