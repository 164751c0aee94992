"""The metrics of one method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue
from outfits.metrics.completion import by_category, distinct_share, recall_at
from outfits.metrics.paired import optimality_gap, paired_interval, win_rate
from outfits.report.checks import (
    HISTOGRAM_BINS,
    QUANTILES,
    RECALL_AT,
    check_amount,
    check_keys,
    check_names,
    check_recall,
    check_share,
)
from outfits.report.comparison.records import MethodRecord

INTERVAL = ("mean", "low", "high")
GAP = ("mean", "median", "max", "optimal_share")
RELAXATION = (
    "relaxed_mean",
    "projected_mean",
    "lost_mean",
    "moved_mean",
    "lipschitz",
    "lipschitz_median",
    "share_within_bound",
    "points",
)
CATEGORY = ("removed", "chosen", "score_mean", "recall_at_10")
_ROUNDING = 1e-6  # S of one set differs by this much between batches of different shape


@dataclass(frozen=True)
class MethodResult:
    """Metrics of one method; shares and scores lie in [0, 1].

    A paired figure is taken over the outfits that both methods completed. It is None where the other method was not
    run, completed no outfit of these, or is the method itself; a difference is ``mean``, ``low`` and ``high``, the last
    two of the interval of :func:`outfits.metrics.paired.paired_interval`.

    Attributes:
        outfits: number of outfits completed.
        score_mean: mean S of the completed outfits.
        score_quantiles: quantiles of S, keyed by :data:`QUANTILES`.
        score_histogram: number of outfits with S in each of :data:`HISTOGRAM_BINS` equal bins of [0, 1].
        judge_mean: mean score under the judge, None without a judge.
        judge_quantiles: quantiles under the judge, None without a judge.
        judge_histogram: the judge's scores in the same bins, None without a judge.
        win_rate: share of outfits where S is larger than for the original outfit, ties counting half.
        judge_win_rate: the same under the judge.
        difference_to_original: S minus the original's.
        difference_to_greedy_k: S minus that of ``greedy_k``.
        judge_difference_to_original: the judge's score minus the original's.
        judge_difference_to_greedy_k: the judge's score minus that of ``greedy_k``.
        ratio_to_greedy_k: mean S over that of ``greedy_k``, 1 for ``greedy_k`` itself.
        gap_to_exhaustive: how far S stays below the optimum, from :func:`outfits.metrics.paired.optimality_gap`.
        scorer_calls_per_outfit: mean number of sets that S scored for one outfit.
        gradients_per_outfit: mean number of gradients of S taken for one outfit.
        ms_per_outfit: mean wall time, milliseconds.
        distinct_share: distinct chosen items over picks made.
        distinct_items: number of distinct chosen items.
        removed_recall: share of the removed items among the first n of the method's ranking, keyed by
            :data:`RECALL_AT`; None where the method ranks nothing.
        valid_share: share of completed sets that are outfits.
        relaxation: of a method that relaxes: mean S at the relaxed optimum (``relaxed_mean``) and of the real items
            (``projected_mean``), their difference (``lost_mean``), the mean distance moved in projection
            (``moved_mean``), the largest and the median lower bound of S's Lipschitz constant over outfits
            (``lipschitz``, ``lipschitz_median``), the share of outfits whose loss is at most their own bound times
            their distance (``share_within_bound``), and distance and loss of every outfit (``points``).
        categories: by category, :func:`outfits.metrics.completion.by_category`.
    """

    outfits: int
    score_mean: float
    score_quantiles: Mapping[str, float]
    score_histogram: Sequence[int]
    judge_mean: float | None
    judge_quantiles: Mapping[str, float] | None
    judge_histogram: Sequence[int] | None
    win_rate: float | None
    judge_win_rate: float | None
    difference_to_original: Mapping[str, float] | None
    difference_to_greedy_k: Mapping[str, float] | None
    judge_difference_to_original: Mapping[str, float] | None
    judge_difference_to_greedy_k: Mapping[str, float] | None
    ratio_to_greedy_k: float | None
    gap_to_exhaustive: Mapping[str, float] | None
    scorer_calls_per_outfit: float
    gradients_per_outfit: float
    ms_per_outfit: float
    distinct_share: float
    distinct_items: int
    removed_recall: Mapping[str, float | None]
    valid_share: float
    relaxation: Mapping[str, Any] | None
    categories: Mapping[str, Mapping[str, float | None]]

    def __post_init__(self) -> None:
        if self.outfits < 1:
            raise ValueError(f"outfits must be positive, not {self.outfits}")
        for name in ("score_mean", "judge_mean", "win_rate", "judge_win_rate", "distinct_share", "valid_share"):
            optional = name not in ("score_mean", "distinct_share", "valid_share")
            check_share(name, getattr(self, name), optional=optional)
        for measure in ("score", "judge"):
            self._check_distribution(measure)
        if len({self.judge_mean is None, self.judge_quantiles is None, self.judge_histogram is None}) != 1:
            raise ValueError("judge_mean, judge_quantiles and judge_histogram belong together")
        check_recall(self.removed_recall)
        for name in ("scorer_calls_per_outfit", "gradients_per_outfit", "ms_per_outfit", "distinct_items"):
            check_amount(name, getattr(self, name))
        for name in ("difference_to_original", "difference_to_greedy_k"):
            for key in (name, f"judge_{name}"):
                interval = getattr(self, key)
                if interval is None:
                    continue
                check_names(key, interval, INTERVAL)
                if not -1 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1:
                    raise ValueError(f"{key} must have low <= mean <= high in [-1, 1]: {dict(interval)}")
        if self.gap_to_exhaustive is not None:
            check_names("gap_to_exhaustive", self.gap_to_exhaustive, GAP)
            check_share("optimal_share", self.gap_to_exhaustive["optimal_share"])
        if self.relaxation is not None:
            self._check_relaxation(self.relaxation)
        for name, metrics in self.categories.items():
            check_names(f"category {name}", metrics, CATEGORY)
            check_share(f"score_mean of {name}", metrics["score_mean"], optional=True)
            check_share(f"recall_at_10 of {name}", metrics["recall_at_10"], optional=True)

    def _check_distribution(self, measure: str) -> None:
        quantiles, histogram = getattr(self, f"{measure}_quantiles"), getattr(self, f"{measure}_histogram")
        if quantiles is not None:
            check_names(f"{measure}_quantiles", quantiles, QUANTILES)
            if sorted(quantiles.values()) != list(quantiles.values()):
                raise ValueError(f"{measure}_quantiles must not fall: {list(quantiles.values())}")
        if histogram is not None and (len(histogram) != HISTOGRAM_BINS or sum(histogram) != self.outfits):
            raise ValueError(f"{measure}_histogram must have {HISTOGRAM_BINS} counts of {self.outfits} outfits in all")

    def _check_relaxation(self, relaxation: Mapping[str, Any]) -> None:
        check_names("relaxation", relaxation, RELAXATION)
        check_share("relaxed_mean", relaxation["relaxed_mean"])
        check_share("share_within_bound", relaxation["share_within_bound"], optional=True)
        if len(relaxation["points"]) != self.outfits or not math.isfinite(relaxation["moved_mean"]):
            raise ValueError("relaxation must have a finite moved_mean and a point for every outfit")

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "MethodResult":
        """Reads :meth:`to_json`'s values back; raises :class:`ArtifactError` for other keys."""
        check_keys("a method", cls, values)
        return cls(**values)

    def row(self) -> dict[str, Any]:
        """The metrics in flat columns, the same for every method; without histograms, points and categories."""
        nested = {
            **dict.fromkeys(("score_quantiles", "judge_quantiles"), QUANTILES),
            **{key: INTERVAL for key in vars(self) if "difference_to" in key},
            "gap_to_exhaustive": GAP,
            "removed_recall": RECALL_AT,
            "relaxation": RELAXATION[:-1],
        }
        flat: dict[str, Any] = {}
        for key, value in vars(self).items():
            if key in nested:
                name = key.removesuffix("s")
                flat |= {f"{name}_{part}": None if value is None else value[part] for part in nested[key]}
            elif key not in ("score_histogram", "judge_histogram", "categories"):
                flat[key] = value
        return flat


def summarise_method(
    record: MethodRecord,
    references: Mapping[str, MethodRecord],
    catalogue: Catalogue,
    removed: Mapping[str, NDArray[np.integer]] | None,
    *,
    resamples: int,
    seed: int,
) -> MethodResult:
    """Metrics of one method.

    Args:
        record: what the method did, sorted by outfit id.
        references: what other methods did, sorted alike; it is compared with ``original``, ``greedy_k`` and
            ``exhaustive``.
        catalogue: the items.
        removed: catalogue positions of the removed items by outfit id, each ``[k]``; None leaves ``categories`` empty.
        resamples: bootstrap resamples of the intervals.
        seed: seed of the resamples.

    Raises:
        ValueError: if the removed items of an outfit are missing or are not k.
    """
    judged = record.judge is not None
    paired: dict[str, Any] = dict.fromkeys(("win_rate", "judge_win_rate", "gap_to_exhaustive", "ratio_to_greedy_k"))
    for name in ("original", "greedy_k"):
        for key, field in ((f"difference_to_{name}", "scores"), (f"judge_difference_to_{name}", "judge")):
            pair = _pair(record, references, name, field)
            paired[key] = None if pair is None else paired_interval(*pair, resamples=resamples, seed=seed)
    for key, field in (("win_rate", "scores"), ("judge_win_rate", "judge")):
        if (pair := _pair(record, references, "original", field)) is not None:
            paired[key] = win_rate(*pair)
    if (pair := _pair(record, references, "exhaustive", "scores")) is not None:
        paired["gap_to_exhaustive"] = optimality_gap(pair[1], pair[0])
    if record.name == "greedy_k":
        paired["ratio_to_greedy_k"] = 1.0
    elif (pair := _pair(record, references, "greedy_k", "scores")) is not None and pair[1].mean() > 0:
        paired["ratio_to_greedy_k"] = float(pair[0].mean() / pair[1].mean())
    return MethodResult(
        outfits=len(record.outfit_ids),
        score_mean=float(record.scores.mean()),
        score_quantiles=_quantiles(record.scores),
        score_histogram=_histogram(record.scores),
        judge_mean=float(record.judge.mean()) if record.judge is not None else None,
        judge_quantiles=_quantiles(record.judge) if record.judge is not None else None,
        judge_histogram=_histogram(record.judge) if record.judge is not None else None,
        **(paired if judged else paired | {key: None for key in paired if key.startswith("judge_")}),
        scorer_calls_per_outfit=float(record.calls.astype(np.float64).mean()),
        gradients_per_outfit=0.0 if record.gradients is None else float(record.gradients.astype(np.float64).mean()),
        ms_per_outfit=float(record.ms.mean()),
        distinct_share=distinct_share(record.chosen),
        distinct_items=len(np.unique(record.chosen)),
        removed_recall=removed_recall(record),
        valid_share=float(record.valid.mean()),
        relaxation=_relaxation(record),
        categories={} if removed is None else _categories(record, catalogue, removed),
    )


def removed_recall(record: MethodRecord) -> dict[str, float | None]:
    """Recall of the removed items by :data:`RECALL_AT`; None where the method ranks nothing."""
    ranks = record.removed_ranks
    return {n: None if ranks is None else recall_at(ranks, int(n)) for n in RECALL_AT}


def _pair(
    record: MethodRecord, references: Mapping[str, MethodRecord], name: str, field: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Scores of a method and of a reference on the outfits that both completed."""
    if name not in references or record.name == name:
        return None
    shared = record.shared_with(references[name])
    if shared is None:
        return None
    mine, other = getattr(shared[0], field), getattr(shared[1], field)
    return None if mine is None or other is None else (mine, other)


def _relaxation(record: MethodRecord) -> dict[str, Any] | None:
    if record.relaxed is None or record.moved is None:
        return None
    lost, bound = record.relaxed - record.scores, record.lipschitz
    within = None if bound is None else float((lost <= bound * record.moved + _ROUNDING).mean())
    points = np.round(np.stack([record.moved, lost], axis=1), 4) + 0.0  # no -0.0
    return {
        "relaxed_mean": float(record.relaxed.mean()),
        "projected_mean": float(record.scores.mean()),
        "lost_mean": float(lost.mean()),
        "moved_mean": float(record.moved.mean()),
        "lipschitz": None if bound is None else float(bound.max()),
        "lipschitz_median": None if bound is None else float(np.median(bound)),
        "share_within_bound": within,
        "points": points.tolist(),
    }


def _categories(
    record: MethodRecord, catalogue: Catalogue, removed: Mapping[str, NDArray[np.integer]]
) -> dict[str, dict[str, float | None]]:
    absent = [outfit_id for outfit_id in record.outfit_ids if outfit_id not in removed]
    if absent:
        raise ValueError(f"{record.name}: the removed items of outfit {absent[0]!r} are not given")
    rows = [np.asarray(removed[outfit_id]) for outfit_id in record.outfit_ids]
    if any(row.shape != (record.k,) for row in rows):
        raise ValueError(f"{record.name} put in {record.k} items, but another number was removed")
    return by_category(
        catalogue.categories,
        catalogue.category_names,
        np.stack(rows),
        record.chosen,
        record.scores,
        record.removed_ranks,
    )


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(np.quantile(values, float(name))) for name in QUANTILES}


def _histogram(values: NDArray[np.float64]) -> list[int]:
    counts: list[int] = np.histogram(values, bins=HISTOGRAM_BINS, range=(0, 1))[0].tolist()
    return counts
