"""Exhaustive search: every k-subset of the catalogue that forms an outfit. The oracle on small catalogues."""

from collections.abc import Iterator
from itertools import combinations, permutations, product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete_by_search
from outfits.completion.search.expansion import Hypothesis, OutfitConditions, SearchQuery, expand, objective
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_ranks
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import ExhaustiveConfig
from outfits.data.category_rule import require_categories, require_feasible
from outfits.errors import ConfigError


def exhaustive(tasks: CompletionTasks, context: MethodContext, options: ExhaustiveConfig) -> MethodOutcome:
    """Completes by the best of all k-subsets."""
    return complete_by_search(tasks, context, lambda query: exhaustive_search(query, options.max_calls))


def exhaustive_search(query: SearchQuery, max_calls: int) -> SearchTrace:
    r"""The exact :math:`\arg\max` of S, or of the objective, over all k-subsets that keep rule and conditions.

    Ranks refer to single expansions; their calls of S are not counted. No candidates are kept.

    Returns:
        The trace; items in the order of their conditions, without conditions in that of their catalogue positions.
        There are no steps: each has the logit of the whole outfit.

    Raises:
        ConfigError: if an outfit needs more calls of S than ``max_calls``; raised before they are made.
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace = empty_trace(query)
    for row in range(len(query.outfits)):
        conditions = query.conditions_of(row)
        choices, trace.calls[row] = _affordable(query, row, conditions, max_calls)
        best = _best_sets(query, row, choices, conditions)
        trace.chosen[row] = best[0].answer(True)
        trace.logits[row] = best[0].logits[-1]
        if trace.slots is not None:
            trace.slots[row] = np.arange(query.k)
        keep_alternatives(trace, row, [found.answer(True) for found in best[: query.alternatives]])
        if query.rank_of is not None:
            (single,) = expand(query, row, conditions, [Hypothesis()])
            record_ranks(trace, query, row, conditions, single)
    return trace


def _affordable(
    query: SearchQuery, row: int, conditions: OutfitConditions, max_calls: int
) -> tuple[list[tuple[int, ...]], int]:
    """The sets of k categories to search and the number of calls, counted before any set is listed."""
    scorer, k = query.scorer, query.k
    available = ~scorer.taken_categories(query.outfits[row].cpu()[None])[0] & scorer.has_items
    sizes = np.bincount(scorer.categories[: len(scorer)], minlength=scorer.num_categories)
    # number of k-subsets of items of different categories: the elementary symmetric polynomial of the sizes
    subsets = [1] + [0] * k
    for size in sizes[available & conditions.allowed.any(axis=0)].tolist():
        for j in range(k, 0, -1):
            subsets[j] += size * subsets[j - 1]
    calls, choices = subsets[k], []
    if not conditions.asked and calls > max_calls:
        raise _too_many(f"{calls:,}", max_calls)
    calls = 0
    for choice in _category_choices(k, available, conditions, row):
        choices.append(choice)
        calls += prod(int(sizes[category]) for category in choice)
        if calls > max_calls:
            raise _too_many(f"up to {subsets[k]:,}", max_calls)
    return choices, calls


def _too_many(calls: str, max_calls: int) -> ConfigError:
    text = f"an outfit needs {calls} calls of S, more than {max_calls:,}; raise it, or take another method"
    return ConfigError([f"exhaustive.max_calls: {text}"])


def _category_choices(
    k: int, available: NDArray[np.bool_], conditions: OutfitConditions, row: int
) -> Iterator[tuple[int, ...]]:
    """The sets of k categories that the missing items can have."""
    require_categories(int(available.sum()), k, row)
    if not conditions.asked:
        yield from combinations(np.flatnonzero(available).tolist(), k)
        return
    some = False
    for choice in combinations(np.flatnonzero(available & conditions.allowed.any(axis=0)).tolist(), k):
        if any(conditions.allowed[np.arange(k), list(order)].all() for order in permutations(choice)):
            some = True
            yield choice
    if not some:
        require_feasible(np.zeros_like(conditions.allowed), row)


def _best_sets(
    query: SearchQuery, row: int, choices: list[tuple[int, ...]], conditions: OutfitConditions
) -> list[Hypothesis]:
    """The best completions over all sets of categories, best first, ties by the smaller positions."""
    scorer, outfit, keep = query.scorer, query.outfits[row].cpu(), max(1, query.alternatives)
    members = [np.flatnonzero(scorer.categories[: len(scorer)] == c) for c in range(scorer.num_categories)]
    best: list[Hypothesis] = []
    for choice in choices:
        # Score the last category's items in one block for every set of the others, as expansions are.
        for first in product(*(members[category].tolist() for category in choice[:-1])):
            last = members[choice[-1]]
            sets = np.concatenate([np.tile(first, (len(last), 1)).astype(np.int64), last[:, None]], axis=1)
            whole = torch.cat([outfit.expand(len(last), -1), torch.from_numpy(sets)], dim=1)
            logits = scorer.set_logits(whole).cpu().numpy()
            liked = None if query.preference is None else query.preference(row, whole.numpy())
            values, orders = _values(sets, scorer.categories[sets[0]], logits, conditions, liked)
            floor = best[-1].value if len(best) == keep else -np.inf
            best += [
                _found(sets[place], orders[place], float(values[place]), float(logits[place]))
                for place in np.flatnonzero(values >= floor)
            ]
            best = sorted(best, key=lambda found: (-found.value, sorted(found.items)))[:keep]
    return best


def _values(
    sets: NDArray[np.int64],
    categories: NDArray[np.int64],
    logits: NDArray[np.float32],
    conditions: OutfitConditions,
    liked: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values of sets ``[M, k]`` of the same categories, and the best missing item for each item, ``[M, k]``."""
    k = sets.shape[1]
    if not conditions.asked:
        return objective(logits, None, 1.0, liked), np.argsort(np.argsort(sets, axis=1), axis=1)
    orders = [order for order in permutations(range(k)) if conditions.allowed[list(order), categories].all()]
    if conditions.similarity is None:
        return objective(logits, None, 1.0, liked), np.tile(orders[0], (len(sets), 1))
    similarity = np.stack([conditions.similarity[list(order), sets].astype(np.float64).sum(axis=1) for order in orders])
    best = similarity.argmax(axis=0)
    return objective(logits, similarity.max(axis=0), conditions.alpha, liked), np.array(orders)[best]


def _found(items: NDArray[np.int64], slots: NDArray[np.int64], value: float, logit: float) -> Hypothesis:
    return Hypothesis(tuple(items.tolist()), tuple(slots.tolist()), value, (logit,))
