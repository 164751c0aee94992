"""Computes the metrics of one method from its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import MethodOutcome
from outfits.data.catalogue import Catalogue
from outfits.metrics.completion import RECALL_AT, by_category, distinct_share, recall_at
from outfits.metrics.paired import optimality_gap, paired_interval, win_rate

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
HISTOGRAM_BINS = 40  # equal bins of [0, 1]
OF_CONDITIONS = (
    "outfits",
    "score_mean",
    "judge_mean",
    "alpha",
    "objective_mean",
    "similarity_mean",
    "removed_recall",
    "scorer_calls_per_outfit",
    "ms_per_outfit",
    "distinct_share",
    "valid_share",
)
"""Metrics that ``results.json`` has of a method with conditions."""
OF_SWEEPS = (
    "outfits",
    "score_mean",
    "judge_mean",
    "scorer_calls_per_outfit",
    "ms_per_outfit",
    "similarity_mean",
    "ratio_to_greedy_k",
)
"""Metrics that ``results.json`` has of a method at a value of a swept parameter."""
_PARTS: Mapping[str, Sequence[str]] = {
    "score_quantiles": QUANTILES,
    "judge_quantiles": QUANTILES,
    **{
        f"{judge}difference_to_{name}": ("mean", "low", "high")
        for judge in ("", "judge_")
        for name in ("original", "greedy_k")
    },
    "gap_to_exhaustive": ("mean", "median", "max", "optimal_share"),
    "removed_recall": tuple(map(str, RECALL_AT)),
    "relaxation": (
        "relaxed_mean",
        "projected_mean",
        "lost_mean",
        "moved_mean",
        "lipschitz",
        "lipschitz_median",
        "share_within_bound",
    ),
}  # of metrics that ``results.csv`` has in several columns
_ROUNDING = 1e-6  # by which S of one set differs between batches of different shape


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """Holds the metrics of one method; shares and scores lie in [0, 1].

    A paired metric is taken over the outfits that both methods completed. It is None where the other method was not
    run, completed no outfit of these, or is the method itself; a difference is ``mean``, ``low`` and ``high``, the last
    two of the interval of :func:`outfits.metrics.paired.paired_interval`. Without a judge its metrics are None.

    Attributes:
        outfits: number of outfits completed.
        score_mean: mean S of the completed outfits; ``judge_mean`` is their mean score under the judge.
        score_quantiles: quantiles of S, keyed by :data:`QUANTILES`.
        score_histogram: number of outfits with S in each of :data:`HISTOGRAM_BINS` equal bins of [0, 1].
        win_rate: share of outfits where S is larger than for the original outfit, ties counting half.
        difference_to_original: S minus the original's.
        difference_to_greedy_k: S minus that of ``greedy_k``.
        ratio_to_greedy_k: mean S over that of ``greedy_k``, 1 for ``greedy_k`` itself.
        gap_to_exhaustive: how far S stays below the optimum, from :func:`outfits.metrics.paired.optimality_gap`.
        scorer_calls_per_outfit: mean number of sets that S scored for one outfit.
        gradients_per_outfit: mean number of gradients of S taken for one outfit.
        ms_per_outfit: mean wall time, milliseconds.
        distinct_share: ``distinct_items``, the number of distinct chosen items, over all picks.
        removed_recall: share of the removed items among the first n of the method's ranking, keyed by
            :data:`~outfits.metrics.completion.RECALL_AT`; None where the method ranks nothing.
        valid_share: share of completed sets that are outfits.
        relaxation: of a method that relaxes: mean S at the relaxed optimum (``relaxed_mean``) and of the real items
            (``projected_mean``), their difference (``lost_mean``), the mean distance moved in projection
            (``moved_mean``), the largest and the median lower bound of S's Lipschitz constant over outfits
            (``lipschitz``, ``lipschitz_median``), the share of outfits whose loss is at most their own bound times
            their distance (``share_within_bound``), and distance and loss of every outfit (``points``).
        categories: by category, :func:`outfits.metrics.completion.by_category`.
        alpha: weight of S against the texts of conditions, None without texts, as are the next two.
        objective_mean: mean of ``alpha * S + (1 - alpha) * similarity``.
        similarity_mean: mean similarity of the chosen items to the texts, summed over an outfit's items.
    """

    outfits: int
    score_mean: float
    score_quantiles: Mapping[str, float]
    score_histogram: Sequence[int]
    judge_mean: float | None
    judge_quantiles: Mapping[str, float] | None
    judge_histogram: Sequence[int] | None
    win_rate: float | None = None
    judge_win_rate: float | None = None
    difference_to_original: Mapping[str, float] | None = None
    difference_to_greedy_k: Mapping[str, float] | None = None
    judge_difference_to_original: Mapping[str, float] | None = None
    judge_difference_to_greedy_k: Mapping[str, float] | None = None
    ratio_to_greedy_k: float | None = None
    gap_to_exhaustive: Mapping[str, float] | None = None
    scorer_calls_per_outfit: float
    gradients_per_outfit: float
    ms_per_outfit: float
    distinct_share: float
    distinct_items: int
    removed_recall: Mapping[str, float | None]
    valid_share: float
    relaxation: Mapping[str, Any] | None
    categories: Mapping[str, Mapping[str, float | None]]
    alpha: float | None
    objective_mean: float | None
    similarity_mean: float | None

    def to_json(self, metrics: Sequence[str] | None = None) -> dict[str, Any]:
        """Converts the named metrics to JSON values; without names those of a method without conditions."""
        if metrics is None:
            metrics = [name for name in vars(self) if name not in ("alpha", "objective_mean", "similarity_mean")]
        return {name: getattr(self, name) for name in metrics}

    def row(self) -> dict[str, Any]:
        """Flattens the metrics to columns, the same for every method; without histograms, points and categories."""
        flat: dict[str, Any] = {}
        for name, value in self.to_json().items():
            if name in _PARTS:
                column = name.removesuffix("s")
                flat |= {f"{column}_{part}": None if value is None else value[part] for part in _PARTS[name]}
            elif name not in ("score_histogram", "judge_histogram", "categories"):
                flat[name] = value
        return flat


def by_outfit(outcome: MethodOutcome) -> MethodOutcome:
    """Sorts the outcome by the names of the outfits, so that sums do not depend on the order of the tasks."""
    return outcome.take(np.argsort(outcome.require_outfit_ids, kind="stable"))


def summarise_method(outcome: MethodOutcome, catalogue: Catalogue | None = None) -> MethodResult:
    """Computes the metrics of a method by itself, without the paired ones, from its scored outcome sorted by outfit.

    Without a catalogue ``categories`` is empty.
    """
    scores, judge, ranks, similarity = outcome.scores, outcome.judge, outcome.removed_ranks, outcome.similarity
    if scores is None or outcome.valid is None:
        raise ValueError("an outcome needs the scores of its outfits to be reported")
    tasks, conditions, categories = outcome.tasks, outcome.tasks.conditions, {}
    if catalogue is not None:
        names = catalogue.category_names
        categories = by_category(catalogue.categories, names, tasks.removed, outcome.chosen, scores, ranks)
    alpha = objective = None
    if similarity is not None and conditions is not None:
        alpha = conditions.alpha
        objective = float((alpha * scores + (1 - alpha) * similarity).mean())
    return MethodResult(
        outfits=len(outcome),
        score_mean=float(scores.mean()),
        score_quantiles=_quantiles(scores),
        score_histogram=_histogram(scores),
        judge_mean=None if judge is None else float(judge.mean()),
        judge_quantiles=None if judge is None else _quantiles(judge),
        judge_histogram=None if judge is None else _histogram(judge),
        scorer_calls_per_outfit=float(outcome.calls.mean()),
        gradients_per_outfit=0.0 if outcome.gradients is None else float(outcome.gradients.mean()),
        ms_per_outfit=float(outcome.ms.mean()),
        distinct_share=distinct_share(outcome.chosen),
        distinct_items=len(np.unique(outcome.chosen)),
        removed_recall={str(n): None if ranks is None else recall_at(ranks, n) for n in RECALL_AT},
        valid_share=float(outcome.valid.mean()),
        relaxation=_relaxation(outcome, scores),
        categories=categories,
        alpha=alpha,
        objective_mean=objective,
        similarity_mean=None if similarity is None else float(similarity.mean()),
    )


def paired_metrics(
    outcome: MethodOutcome, references: Mapping[str, MethodOutcome], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Computes the paired metrics of a method, by name, without those that are None.

    ``references`` are those of ``original``, ``greedy_k`` and ``exhaustive`` that were run; all outcomes are sorted by
    outfit.
    """
    paired: dict[str, Any] = {}
    for judge, scores in (("", "scores"), ("judge_", "judge")):
        for name in ("original", "greedy_k"):
            if pair := _pair(outcome, references.get(name), scores):
                paired[f"{judge}difference_to_{name}"] = paired_interval(*pair, resamples=resamples, seed=seed)
                if name == "original":
                    paired[f"{judge}win_rate"] = win_rate(*pair)
    if pair := _pair(outcome, references.get("exhaustive"), "scores"):
        paired["gap_to_exhaustive"] = optimality_gap(pair[1], pair[0])
    paired["ratio_to_greedy_k"] = ratio_of_means(outcome, references.get("greedy_k"))
    return paired


def ratio_of_means(outcome: MethodOutcome, reference: MethodOutcome | None) -> float | None:
    """Divides mean S by a reference's on the outfits that both completed, both sorted; None where there is none."""
    if outcome is reference:
        return 1.0
    pair = _pair(outcome, reference, "scores")
    return float(pair[0].mean() / pair[1].mean()) if pair and pair[1].mean() > 0 else None


def _pair(
    outcome: MethodOutcome, reference: MethodOutcome | None, scores: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Returns the scores of a method and of another one on the outfits that both completed."""
    if reference is None or outcome is reference:
        return None
    mine, other = getattr(outcome, scores), getattr(reference, scores)
    ids, other_ids = outcome.require_outfit_ids, reference.require_outfit_ids
    shared = np.isin(ids, other_ids)
    if mine is None or other is None or not shared.any():
        return None
    return mine[shared], other[np.isin(other_ids, ids)]


def _relaxation(outcome: MethodOutcome, scores: NDArray[np.float64]) -> dict[str, Any] | None:
    relaxed, moved, bound = outcome.relaxed, outcome.moved, outcome.lipschitz
    if relaxed is None or moved is None:
        return None
    lost = relaxed - scores
    points = np.round(np.stack([moved, lost], axis=1), 4) + 0.0  # no -0.0
    return {
        "relaxed_mean": float(relaxed.mean()),
        "projected_mean": float(scores.mean()),
        "lost_mean": float(lost.mean()),
        "moved_mean": float(moved.mean()),
        "lipschitz": None if bound is None else float(bound.max()),
        "lipschitz_median": None if bound is None else float(np.median(bound)),
        "share_within_bound": None if bound is None else float((lost <= bound * moved + _ROUNDING).mean()),
        "points": points.tolist(),
    }


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(np.quantile(values, float(name))) for name in QUANTILES}


def _histogram(values: NDArray[np.float64]) -> list[int]:
    counts: list[int] = np.histogram(values, bins=HISTOGRAM_BINS, range=(0, 1))[0].tolist()
    return counts
