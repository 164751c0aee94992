"""Metrics of one method at one value of a swept parameter."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from outfits.report.checks import check_amount, check_keys, check_share
from outfits.report.comparison.records import MethodRecord
from outfits.report.style import in_order

PARAMETERS = ("k", "width", "candidates", "alpha")


@dataclass(frozen=True)
class SweepPoint:
    """Metrics of one method at one value of a swept parameter.

    Attributes:
        parameter: one of :data:`PARAMETERS`.
        value: its value.
        method: the method, without the swept option where that is an option of its own.
        outfits: number of outfits completed.
        score_mean: mean S of the completed outfits.
        judge_mean: mean score under the judge, None without a judge.
        scorer_calls_per_outfit: mean number of sets that S scored for one outfit.
        ms_per_outfit: mean wall time, milliseconds.
        similarity_mean: mean similarity to the texts of conditions, summed over an outfit's items; None without texts.
        ratio_to_greedy_k: mean S over that of ``greedy_k`` on the outfits that both completed, None without it.
    """

    parameter: str
    value: float
    method: str
    outfits: int
    score_mean: float
    judge_mean: float | None
    scorer_calls_per_outfit: float
    ms_per_outfit: float
    similarity_mean: float | None
    ratio_to_greedy_k: float | None

    def __post_init__(self) -> None:
        if self.parameter not in PARAMETERS:
            raise ValueError(f"{self.parameter!r} is not one of {', '.join(PARAMETERS)}")
        if not math.isfinite(self.value) or self.outfits < 1:
            raise ValueError("a sweep's value must be finite and its outfits positive")
        check_share("score_mean", self.score_mean)
        check_share("judge_mean", self.judge_mean, optional=True)
        check_amount("scorer_calls_per_outfit", self.scorer_calls_per_outfit)
        check_amount("ms_per_outfit", self.ms_per_outfit)

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SweepPoint":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        check_keys("a point of a sweep", cls, values)
        return cls(**values)


def sweep_point(parameter: str, value: float, record: MethodRecord, greedy: MethodRecord | None = None) -> SweepPoint:
    """Metrics of a method at one value of a swept parameter.

    Args:
        parameter: one of :data:`PARAMETERS`.
        value: its value.
        record: what the method did; the swept option in its name is left out of the point's.
        greedy: what ``greedy_k`` did at the same value.
    """
    record = record.by_outfit()
    ratio = None
    if greedy is not None and (shared := record.shared_with(greedy.by_outfit())) is not None:
        mine, other = float(shared[0].scores.mean()), float(shared[1].scores.mean())
        ratio = mine / other if other > 0 else None
    name, *options = record.name.split(":")
    return SweepPoint(
        parameter=parameter,
        value=value,
        method=":".join([name, *(option for option in options if not option.startswith(f"{parameter}="))]),
        outfits=len(record.outfit_ids),
        score_mean=float(record.scores.mean()),
        judge_mean=None if record.judge is None else float(record.judge.mean()),
        scorer_calls_per_outfit=float(record.calls.mean()),
        ms_per_outfit=float(record.ms.mean()),
        similarity_mean=None if record.similarity is None else float(record.similarity.mean()),
        ratio_to_greedy_k=ratio,
    )


def in_sweep_order(points: Iterable[SweepPoint]) -> tuple[SweepPoint, ...]:
    """Points by parameter, method in the order of presentation, and value.

    Raises:
        ValueError: if a method has two points at one value.
    """
    given = list(points)
    rank = {name: place for place, name in enumerate(in_order({point.method for point in given}))}
    ordered = sorted(given, key=lambda point: (PARAMETERS.index(point.parameter), rank[point.method], point.value))
    for first, second in zip(ordered, ordered[1:], strict=False):
        if (first.parameter, first.method, first.value) == (second.parameter, second.method, second.value):
            raise ValueError(f"{first.method} has two points at {first.parameter}={first.value:g}")
    return tuple(ordered)
