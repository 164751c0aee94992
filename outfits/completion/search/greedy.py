"""Greedy completion: the best single expansions under S, or under S and texts of conditions."""

from collections.abc import Iterator

import numpy as np

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete_by_search
from outfits.completion.search.expansion import Expansions, Hypothesis, OutfitConditions, SearchQuery, expand
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_ranks, record_step
from outfits.completion.tasks import CompletionTasks
from outfits.data.category_rule import feasible_categories, require_categories, require_feasible


def greedy_1(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by greedy 1-step search over the whole catalogue."""
    return complete_by_search(tasks, context, greedy_one_step)


def greedy_k(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by greedy k-step search over the whole catalogue."""
    return complete_by_search(tasks, context, greedy_k_step)


def greedy_k_step(query: SearchQuery) -> SearchTrace:
    r"""Adds :math:`\arg\max_x S(O \cup \{x\})` over all candidates, ``k`` times.

    With texts of conditions it adds the pair of item and condition that maximises the objective so far.

    Returns:
        The trace, ties by the smaller catalogue position; the alternatives are the chosen completion and those that
        differ in the last item added.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace, scorer = empty_trace(query), query.scorer
    needed = max(1, query.candidates_kept, query.alternatives)
    # One outfit at a time: memory is one row, and bits do not depend on the batch.
    for row in range(len(query.outfits)):
        conditions, hypothesis, before = query.conditions_of(row), Hypothesis(), scorer.calls
        for step in range(query.k):
            (expansions,) = expand(query, row, conditions, [hypothesis], needed)
            if step == 0:
                record_ranks(trace, query, row, conditions, expansions)
            if step == query.k - 1:
                last = [
                    hypothesis.expanded_by(expansions, place).answer(conditions.asked)
                    for place in range(len(expansions))[: query.alternatives]
                ]
                keep_alternatives(trace, row, last)
            record_step(trace, row, step, expansions)
            hypothesis = hypothesis.expanded_by(expansions, 0)
        trace.calls[row] = scorer.calls - before
    return trace


def greedy_one_step(query: SearchQuery) -> SearchTrace:
    r"""Scores every single expansion once and takes the ``k`` best that form an outfit.

    Returns:
        The trace; ``logits[:, j]`` is that of the j-th item added *alone*, and without conditions all steps have the
        same candidates. The one alternative is the chosen completion.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace, scorer = empty_trace(query), query.scorer
    for row in range(len(query.outfits)):
        conditions, before = query.conditions_of(row), scorer.calls
        (expansions,) = expand(query, row, conditions, [Hypothesis()])
        trace.calls[row] = scorer.calls - before
        record_ranks(trace, query, row, conditions, expansions)
        for step, left in enumerate(_best_of_slots(query, row, conditions, expansions)):
            record_step(trace, row, step, left)
        keep_alternatives(trace, row, [tuple(trace.by_condition[row].tolist())][: query.alternatives])
    return trace


def _best_of_slots(
    query: SearchQuery, row: int, conditions: OutfitConditions, expansions: Expansions
) -> Iterator[Expansions]:
    """The expansions left before each of ``k`` selections, the best one taken each time."""
    scorer, k = query.scorer, query.k
    free = np.ones(k, dtype=np.bool_)
    available = np.isin(np.arange(scorer.num_categories), scorer.categories[expansions.items])
    for step in range(k):
        require_categories(step + int(available.sum()), k, row)
        feasible = feasible_categories(conditions.allowed, free, available)
        slot_of_group = np.full(k, -1)
        for slot in np.flatnonzero(free)[::-1]:
            slot_of_group[conditions.slot_groups[slot]] = slot
        slots = slot_of_group[expansions.slots]
        left = (slots >= 0) & feasible[slots, scorer.categories[expansions.items]]
        if not left.any():
            require_feasible(feasible[free], row)
        remaining = expansions.only(left, slots)
        yield remaining
        free[remaining.slots[0]] = False
        available[scorer.categories[remaining.items[0]]] = False
