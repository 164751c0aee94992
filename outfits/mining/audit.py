"""Measures the loss of two-stage mining on some outfits that are also mined exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from outfits.completion.completion import SearchTrace, concatenated
from outfits.completion.search.expansion import Hypothesis, OutfitConditions, SearchQuery, expand
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.mining.search import Miner, TwoStage
from outfits.mining.targets import Targets
from outfits.models.compatibility import OutfitTransformer
from outfits.shards import ShardStore, ShardWork
from outfits.storage import Arrays

CONFIDENCE = 0.95
RESAMPLES = 9999
ROUNDING = 1e-5  # smaller losses come from rounding, not from search


@dataclass(frozen=True)
class Share:
    """A share of cases with its two-sided 95 % interval after Clopper and Pearson; NaN without cases.

    The interval takes the cases as independent, which the steps of one outfit are not quite.
    """

    share: float
    low: float
    high: float
    cases: int

    @classmethod
    def of(cls, hits: NDArray[np.bool_]) -> "Share":
        """The share of hits."""
        if not hits.size:
            return cls(float("nan"), float("nan"), float("nan"), 0)
        test = stats.binomtest(int(hits.sum()), hits.size)
        interval = test.proportion_ci(CONFIDENCE, method="exact")
        return cls(float(hits.mean()), float(interval.low), float(interval.high), int(hits.size))


@dataclass(frozen=True)
class Loss:
    """Loss per outfit against exact mining: mean, bound, largest, and the share of outfits that lost anything.

    ``bound`` is the upper end of a one-sided 95 % interval of the mean: the larger of Student's and of the
    bias-corrected accelerated bootstrap's. Losses are few, skewed and mostly zero; Student's interval is too short for
    a long tail to the right, the bootstrap's for few values. Neither covers losses rarer than the audited outfits can
    show, which the interval of ``worse`` does.
    """

    mean: float
    bound: float
    largest: float
    worse: Share

    @classmethod
    def of(cls, losses: NDArray[np.float64]) -> "Loss":
        """The metrics of losses; raises :class:`ValueError` for fewer than two."""
        if len(losses) < 2:
            raise ValueError("a mean needs at least two losses for a bound")
        losses = np.where(np.abs(losses) < ROUNDING, 0, losses)
        return cls(float(losses.mean()), upper_bound(losses), float(losses.max()), Share.of(losses > 0))

    @classmethod
    def per_outfit(cls, losses: NDArray[np.float64], outfits: NDArray[np.int64]) -> "Loss":
        """The metrics of tasks' losses ``[T]``, averaged over the removals of an outfit: they are not independent."""
        _, outfit = np.unique(outfits, return_inverse=True)
        return cls.of(np.bincount(outfit, losses) / np.bincount(outfit))

    def __str__(self) -> str:
        share = (
            f"{self.worse.share:.0%} of {self.worse.cases} outfits lose anything, at most {self.worse.high:.0%} of all"
        )
        if not self.mean and not self.largest:
            return f"none of {self.worse.cases} outfits loses anything, at most {self.worse.high:.0%} of all do"
        return f"mean {self.mean:.4f}, at most {self.bound:.4f} with 95 % confidence; {share}"


def upper_bound(values: NDArray[np.float64]) -> float:
    """Upper end of a one-sided 95 % interval of the mean of at least two values, see :class:`Loss`; equal values give
    their own."""
    if np.ptp(values) == 0:
        return float(values[0])
    mean, error = values.mean(), stats.sem(values)
    student = mean + stats.t.ppf(CONFIDENCE, len(values) - 1) * error
    resampled = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        alternative="less",
        method="BCa",
        rng=np.random.default_rng(0),
    )
    bound = resampled.confidence_interval.high
    return float(student if np.isnan(bound) else max(student, bound))


@dataclass(frozen=True)
class AuditMetrics:
    """Two-stage search against exact search on the audited outfits of one kind of task.

    Attributes:
        outfits: audited tasks.
        candidates: ``c``.
        recall_first: share of first steps at which the exact search's choice stands on the shortlist.
        recall: the same over all steps, each at the state that the *exact* search had reached.
        regret: loss of S of the completed outfit, exact minus two-stage.
        objective_regret: loss of what search maximises, S and texts together; None without texts of conditions.
        calls: calls of S of the two-stage search, mean per task.
        exact_calls: calls of S of the exact search, mean per task.
    """

    outfits: int
    candidates: int
    recall_first: Share
    recall: Share
    regret: Loss
    objective_regret: Loss | None
    calls: float
    exact_calls: float

    @property
    def bound(self) -> float:
        """Upper bound of the mean loss of what search maximises, to compare with ``max_regret``."""
        return self.regret.bound if self.objective_regret is None else self.objective_regret.bound

    def __str__(self) -> str:
        text = (
            f"shortlists of {self.candidates} hold the best item at {self.recall_first.share:.1%} of first steps "
            f"(95 % interval {self.recall_first.low:.1%} to {self.recall_first.high:.1%}) and {self.recall.share:.1%} "
            f"of all; regret in S: {self.regret}"
        )
        return text if self.objective_regret is None else f"{text}; with the texts: {self.objective_regret}"


def audit_store(folder: Path, exact: Targets, shard_size: int) -> ShardStore:
    """The store of the audit of exact targets; the folder belongs to these targets, one student and one ``c`` alone."""
    return ShardStore(folder, len(exact), shard_size, "audit", counted="shortlist_hit")


def audit_work(
    store: ShardStore,
    exact: Targets,
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    config: TargetsConfig,
    two_stage: TwoStage,
) -> ShardWork:
    """Two-stage search for tasks that were mined exactly, which also looks up the exact choices on its shortlists."""

    def start(device: torch.device) -> Callable[[int], None]:
        miner = Miner(scorer, catalogue, config, device, two_stage)
        counter = miner.context.scorer

        def compare(shard: int) -> None:
            rows = store.rows_of(shard)
            tasks, trace_of_exact = exact.tasks.take(rows), exact.trace.take(rows)
            trace, before = miner.mine(tasks), counter.calls
            hits = [shortlist_hits(miner, tasks, trace_of_exact, row) for row in range(len(tasks))]
            arrays: Arrays = {
                "shortlist_hit": np.stack(hits),
                "objective": completed(trace, tasks, texts=True),
                "scores": completed(trace, tasks, texts=False),
                "calls": trace.calls,
                "looking": np.array([counter.calls - before]),
            }
            store.write(shard, arrays)

        return compare

    return start


def audit_metrics(store: ShardStore, exact: Targets, candidates: int) -> tuple[AuditMetrics, int]:
    """Compares a finished audit with exact targets, and counts its calls of S beside those of the exact search.

    Raises:
        ArtifactError: if a shard is missing.
    """
    tasks, trace = exact.tasks, exact.trace
    found = concatenated(store.read_all())
    taken = trace.chosen >= 0
    objective = None
    if tasks.have_texts:
        objective = Loss.per_outfit(completed(trace, tasks, texts=True) - found["objective"], tasks.outfits)
    metrics = AuditMetrics(
        outfits=len(tasks),
        candidates=candidates,
        recall_first=Share.of(found["shortlist_hit"][:, 0]),
        recall=Share.of(found["shortlist_hit"][taken]),
        regret=Loss.per_outfit(completed(trace, tasks, texts=False) - found["scores"], tasks.outfits),
        objective_regret=objective,
        calls=float(found["calls"].mean()),
        exact_calls=float(trace.calls.mean()),
    )
    return metrics, int(found["calls"].sum() + found["looking"].sum())


def completed(trace: SearchTrace, tasks: CompletionTasks, *, texts: bool) -> NDArray[np.float64]:
    r"""S of the completed outfits ``[B]``, or :math:`\alpha S + (1 - \alpha) \sum_i S_X` if ``texts`` count.

    The trace must have candidates.
    """
    scores: NDArray[np.float64] = expit(trace.final_logits)
    conditions = tasks.conditions
    if not texts or conditions is None or trace.candidate_similarity is None:
        return scores
    # The first candidate of a step is the chosen one.
    mixed = conditions.alpha * scores + (1 - conditions.alpha) * trace.candidate_similarity[:, :, 0].sum(
        axis=1, dtype=np.float64
    )
    return np.where(conditions.has_text.any(axis=1), mixed, scores)


def shortlist_hits(miner: Miner, tasks: CompletionTasks, exact: SearchTrace, row: int) -> NDArray[np.bool_]:
    """Whether each choice of an exact search stands on the shortlist at its state, for task ``row``, shape ``[k]``.

    Two calls of S per step: the choice itself, and the embedding that the shortlist takes.
    """
    scorer = miner.context.scorer
    chosen = [int(item) for item in exact.chosen[row] if item >= 0]
    slots = list(range(len(chosen))) if exact.slots is None else exact.slots[row].tolist()
    query = miner.narrowed(
        SearchQuery(
            scorer,
            torch.from_numpy(tasks.given[row].astype(np.int64))[None],
            len(chosen),
            conditions=None if tasks.conditions is None else tasks.conditions.take(slice(row, row + 1)),
            similarity=miner.context.similarity,
        )
    )
    shortlists = query.propose
    if shortlists is None:
        raise ValueError("exact search has no shortlists")
    hits = np.zeros(tasks.k, dtype=np.bool_)

    def only_the_choice(
        place: int, conditions: OutfitConditions, partial: Hypothesis, feasible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        items, mask = shortlists(place, conditions, partial, feasible)
        step = len(partial.items)
        choice = np.array([chosen[step]])
        # Without conditions the missing items are alike, and all candidates are for the first that is missing.
        hits[step] = mask[slots[step], items == chosen[step]].any()
        return choice, feasible[:, scorer.categories[choice]]

    conditions = query.conditions_of(0)
    for step in range(len(chosen)):
        partial = Hypothesis(tuple(chosen[:step]), tuple(slots[:step]))
        expand(replace(query, propose=only_the_choice), 0, conditions, [partial])
    return hits
