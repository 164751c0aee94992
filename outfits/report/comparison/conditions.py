"""The metrics of completion with conditions: are the removed items found again when they are described?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from outfits.metrics.completion import distinct_share
from outfits.report.checks import check_amount, check_keys, check_recall, check_share
from outfits.report.comparison.method import removed_recall
from outfits.report.comparison.records import MethodRecord
from outfits.report.style import in_order


@dataclass(frozen=True)
class ConditionResult:
    """Metrics of one method under one kind of condition.

    Attributes:
        outfits: number of outfits completed.
        score_mean: mean S of the completed outfits.
        judge_mean: mean score under the judge, None without a judge.
        alpha: weight of S against the texts, None where no texts were conditions.
        objective_mean: mean of ``alpha * S + (1 - alpha) * similarity``, None where no texts were conditions.
        similarity_mean: mean similarity of the chosen items to the texts of conditions, summed over an outfit's items;
            None where no texts were conditions.
        removed_recall: share of the removed items among the first n of the method's ranking.
        scorer_calls_per_outfit: mean number of sets that S scored for one outfit.
        ms_per_outfit: mean wall time, milliseconds.
        distinct_share: distinct chosen items over picks made.
        valid_share: share of completed sets that are outfits.
    """

    outfits: int
    score_mean: float
    judge_mean: float | None
    alpha: float | None
    objective_mean: float | None
    similarity_mean: float | None
    removed_recall: Mapping[str, float | None]
    scorer_calls_per_outfit: float
    ms_per_outfit: float
    distinct_share: float
    valid_share: float

    def __post_init__(self) -> None:
        if self.outfits < 1:
            raise ValueError(f"outfits must be positive, not {self.outfits}")
        for name in ("score_mean", "judge_mean", "alpha", "distinct_share", "valid_share"):
            check_share(name, getattr(self, name), optional=name in ("judge_mean", "alpha"))
        if len({self.alpha is None, self.objective_mean is None, self.similarity_mean is None}) != 1:
            raise ValueError("alpha, objective_mean and similarity_mean belong together")
        check_recall(self.removed_recall)
        check_amount("scorer_calls_per_outfit", self.scorer_calls_per_outfit)
        check_amount("ms_per_outfit", self.ms_per_outfit)

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ConditionResult":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        check_keys("a method with conditions", cls, values)
        return cls(**values)


def summarise_conditions(
    records: Mapping[str, Sequence[MethodRecord]], alpha: float
) -> dict[str, dict[str, ConditionResult]]:
    """Metrics of all methods under every kind of condition, by kind and method.

    Args:
        records: what every method did, by kind of condition; kinds keep their order, methods get that of presentation.
        alpha: weight of S against texts of conditions; of records with a similarity to texts only.

    Raises:
        ValueError: if a kind names a method twice.
    """
    results: dict[str, dict[str, ConditionResult]] = {}
    for kind, given in records.items():
        by_name = {record.name: record.by_outfit() for record in given}
        if len(by_name) != len(given):
            raise ValueError(f"conditions {kind}: a method is recorded twice")
        results[kind] = {name: _summarise(by_name[name], alpha) for name in in_order(by_name)}
    return results


def _summarise(record: MethodRecord, alpha: float) -> ConditionResult:
    similarity = record.similarity
    objective = None if similarity is None else alpha * record.scores + (1 - alpha) * similarity
    return ConditionResult(
        outfits=len(record.outfit_ids),
        score_mean=float(record.scores.mean()),
        judge_mean=None if record.judge is None else float(record.judge.mean()),
        alpha=None if similarity is None else alpha,
        objective_mean=None if objective is None else float(objective.mean()),
        similarity_mean=None if similarity is None else float(similarity.mean()),
        removed_recall=removed_recall(record),
        scorer_calls_per_outfit=float(record.calls.mean()),
        ms_per_outfit=float(record.ms.mean()),
        distinct_share=distinct_share(record.chosen),
        valid_share=float(record.valid.mean()),
    )
