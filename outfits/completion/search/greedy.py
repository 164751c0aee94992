"""Greedy completion: the best single expansions under S, or under S and texts of conditions."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.search.expansion import (
    CandidateProposer,
    Expansions,
    Hypothesis,
    OutfitConditions,
    expand,
    first_ranks,
)
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_step
from outfits.data.category_rule import feasible_categories, require_categories, require_feasible
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


def first_of_each(categories: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Places of the first ``k`` entries of a ranking whose categories differ; fewer if there are fewer categories."""
    _, first = np.unique(categories, return_index=True)
    return np.sort(first)[:k].astype(np.int64)


def greedy_k_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    propose: Callable[[int, OutfitConditions | None], CandidateProposer] | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    r"""Adds :math:`\arg\max_x S(O \cup \{x\})` over the whole catalogue, ``k`` times.

    With texts of conditions it adds the item and the missing item it answers that maximise the spec's objective so far.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        candidates_kept: ``M``, best candidates of each step to keep.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first expansions to report.
        conditions: conditions for each outfit.
        similarity: similarity of the catalogue to texts, where texts are asked for.
        propose: from an outfit's row and conditions to the candidates of its steps; None: the whole catalogue.
        alternatives: ``m``, completions to keep: the chosen one, and those that differ in the last item added.

    Returns:
        The trace, ties by the smaller catalogue position.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, conditions, alternatives)
    needed = max(1, candidates_kept, alternatives)
    for row in range(len(outfits)):  # one outfit at a time: memory is one row, and bits do not depend on the batch
        outfit_conditions = None if conditions is None else OutfitConditions.of(conditions, row, similarity)
        proposed = None if propose is None else propose(row, outfit_conditions)
        hypothesis, outfit = Hypothesis(), outfits[row].cpu()
        for step in range(k):
            (expansions,) = expand(
                scorer,
                outfit,
                [hypothesis],
                k,
                conditions=outfit_conditions,
                propose=proposed,
                keep=None if step == 0 and rank_of is not None else needed,
                what=f"outfit {row} of the batch",
            )
            if step == 0 and trace.ranks is not None and rank_of is not None:
                trace.ranks[row] = first_ranks(expansions, rank_of[row], outfit_conditions, len(scorer))
            if step == k - 1:
                last = [
                    hypothesis.expanded_by(expansions, place).answer(conditions is not None)
                    for place in range(len(expansions))[:alternatives]
                ]
                keep_alternatives(trace, row, last)
            record_step(trace, row, step, expansions)
            hypothesis = hypothesis.expanded_by(expansions, 0)
    return trace


def greedy_one_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    r"""Scores every single addition once and takes the ``k`` best that form an outfit.

    Arguments as in :func:`greedy_k_step`.

    Returns:
        The trace; ``logits[:, j]`` is that of the j-th item added *alone*, and without conditions all steps have the
        same candidates.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, conditions, alternatives)
    for row in range(len(outfits)):
        outfit_conditions = None if conditions is None else OutfitConditions.of(conditions, row, similarity)
        what = f"outfit {row} of the batch"
        (expansions,) = expand(
            scorer,
            outfits[row].cpu(),
            [Hypothesis()],
            k,
            conditions=outfit_conditions,
            what=what,
        )
        if trace.ranks is not None and rank_of is not None:
            trace.ranks[row] = first_ranks(expansions, rank_of[row], outfit_conditions, len(scorer))
        for step, left in enumerate(_best_of_slots(scorer, expansions, k, outfit_conditions, what)):
            record_step(trace, row, step, left, calls=expansions.calls if step == 0 else 0)
        keep_alternatives(trace, row, [tuple(trace.by_condition[row].tolist())][:alternatives])
    return trace


def _best_of_slots(
    scorer: CandidateScorer, expansions: Expansions, k: int, conditions: OutfitConditions | None, what: str
) -> Iterator[Expansions]:
    """What is left of single expansions before each of ``k`` selections, the best one taken each time."""
    slot_groups = np.zeros(k, dtype=np.int64) if conditions is None else conditions.slot_groups
    allowed = np.ones((k, scorer.num_categories), dtype=np.bool_) if conditions is None else conditions.allowed
    free = np.ones(k, dtype=np.bool_)
    available = np.isin(np.arange(scorer.num_categories), scorer.categories[expansions.items])
    for step in range(k):
        require_categories(step + int(available.sum()), k, what)
        feasible = feasible_categories(allowed, free, available)
        slot_of_group = np.full(k, -1)
        for slot in np.flatnonzero(free)[::-1]:
            slot_of_group[slot_groups[slot]] = slot
        slots = slot_of_group[expansions.slots]
        left = (slots >= 0) & feasible[slots, scorer.categories[expansions.items]]
        if not left.any():
            require_feasible(feasible[free], what)
        remaining = expansions.only(left, slots)
        yield remaining
        free[remaining.slots[0]] = False
        available[scorer.categories[remaining.items[0]]] = False
