"""Exhaustive search: every k-subset of the catalogue that forms an outfit. The oracle on small catalogues."""

from collections.abc import Iterator
from itertools import combinations, permutations, product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.search.expansion import Hypothesis, OutfitConditions, expand, first_ranks
from outfits.completion.search.trace import empty_trace, keep_alternatives
from outfits.data.category_rule import require_categories, require_feasible
from outfits.errors import ConfigError
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


def exhaustive_search(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    max_calls: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    r"""The exact :math:`\arg\max` of S, or of the spec's objective, over all k-subsets that keep rule and conditions.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        max_calls: calls of S per outfit beyond which it refuses to start.
        rank_of: catalogue positions ``[B, j]`` whose rank among single expansions to report; those calls are not the
            search's and are not counted.
        conditions: conditions for each outfit.
        similarity: similarity of the catalogue to texts, where texts are asked for.
        alternatives: ``m``, best completions to keep.

    Returns:
        The trace; items in the order of their conditions, without conditions in that of their catalogue positions.
        There are no steps: each has the logit of the whole outfit.

    Raises:
        ConfigError: if an outfit needs more than ``max_calls``.
        DataError: if the rule or the conditions leave a missing item no category.
    """
    trace = empty_trace(len(outfits), k, 0, rank_of, conditions, alternatives)
    for row in range(len(outfits)):
        outfit_conditions = None if conditions is None else OutfitConditions.of(conditions, row, similarity)
        outfit, what = outfits[row].cpu(), f"outfit {row} of the batch"
        forbidden = scorer.taken_categories(outfit[None])[0]
        choices, calls = _affordable(scorer, k, ~forbidden & scorer.has_items, outfit_conditions, max_calls, what)
        best = _best_sets(scorer, outfit, choices, outfit_conditions, max(1, alternatives))
        trace.calls[row] = calls
        trace.chosen[row] = best[0].answer(True)
        trace.logits[row] = best[0].logits[-1]
        if trace.slots is not None:
            trace.slots[row] = np.arange(k)
        keep_alternatives(trace, row, [found.answer(True) for found in best[:alternatives]])
        if trace.ranks is not None and rank_of is not None:
            (single,) = expand(
                scorer,
                outfit,
                [Hypothesis()],
                k,
                conditions=outfit_conditions,
                what=what,
            )
            trace.ranks[row] = first_ranks(single, rank_of[row], outfit_conditions, len(scorer))
    return trace


def _affordable(
    scorer: CandidateScorer,
    k: int,
    available: NDArray[np.bool_],
    conditions: OutfitConditions | None,
    max_calls: int,
    what: str,
) -> tuple[list[tuple[int, ...]], int]:
    """The sets of k categories to search and the calls that takes, counted before any of them is listed."""
    sizes = np.bincount(scorer.categories[: len(scorer)], minlength=scorer.num_categories)
    # number of k-subsets of items of different categories: the elementary symmetric polynomial of the sizes
    wanted = available if conditions is None else available & conditions.allowed.any(axis=0)
    subsets = [1] + [0] * k
    for size in sizes[wanted].tolist():
        for j in range(k, 0, -1):
            subsets[j] += size * subsets[j - 1]
    calls, choices = subsets[k], []
    if conditions is None and calls > max_calls:
        raise _too_many(f"{calls:,}", max_calls, what)
    calls = 0
    for choice in _category_choices(scorer, k, available, conditions, what):
        choices.append(choice)
        calls += prod(int(sizes[category]) for category in choice)
        if calls > max_calls:
            raise _too_many(f"up to {subsets[k]:,}", max_calls, what)
    return choices, calls


def _too_many(calls: str, max_calls: int, what: str) -> ConfigError:
    text = f"{what} needs {calls} calls of S, more than {max_calls:,}; raise it, or take another method"
    return ConfigError([f"exhaustive.max_calls: {text}"])


def _category_choices(
    scorer: CandidateScorer, k: int, available: NDArray[np.bool_], conditions: OutfitConditions | None, what: str
) -> Iterator[tuple[int, ...]]:
    """The sets of k categories that can be given to the missing items."""
    require_categories(int(available.sum()), k, what)
    if conditions is None:
        yield from combinations(np.flatnonzero(available).tolist(), k)
        return
    some = False
    for choice in combinations(np.flatnonzero(available & conditions.allowed.any(axis=0)).tolist(), k):
        if any(conditions.allowed[np.arange(k), list(order)].all() for order in permutations(choice)):
            some = True
            yield choice
    if not some:
        require_feasible(np.zeros((k, scorer.num_categories), dtype=np.bool_), what)


def _best_sets(
    scorer: CandidateScorer,
    outfit: Tensor,
    choices: list[tuple[int, ...]],
    conditions: OutfitConditions | None,
    keep: int,
) -> list[Hypothesis]:
    """The best completions over all sets of categories, best first, ties by the smaller positions."""
    members = [np.flatnonzero(scorer.categories[: len(scorer)] == c) for c in range(scorer.num_categories)]
    best: list[Hypothesis] = []
    for choice in choices:
        # the last category's items in one block for every set of the others, as expansions are scored
        for first in product(*(members[category].tolist() for category in choice[:-1])):
            last = members[choice[-1]]
            sets = np.concatenate([np.tile(first, (len(last), 1)).astype(np.int64), last[:, None]], axis=1)
            whole = torch.cat([outfit.expand(len(last), -1), torch.from_numpy(sets)], dim=1)
            logits = scorer.set_logits(whole).cpu().numpy()
            values, orders = _values(sets, scorer.categories[sets[0]], logits, conditions)
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
    conditions: OutfitConditions | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values of sets ``[M, k]`` of the same categories, and which missing item each item had best be, ``[M, k]``."""
    k = sets.shape[1]
    if conditions is None:
        return logits.astype(np.float64), np.argsort(np.argsort(sets, axis=1), axis=1)
    orders = [order for order in permutations(range(k)) if conditions.allowed[list(order), categories].all()]
    if conditions.similarity is None:
        return logits.astype(np.float64), np.tile(orders[0], (len(sets), 1))
    similarity = np.stack([conditions.similarity[list(order), sets].astype(np.float64).sum(axis=1) for order in orders])
    best = similarity.argmax(axis=0)
    values = conditions.alpha * expit(logits.astype(np.float64)) + (1 - conditions.alpha) * similarity.max(axis=0)
    return values, np.array(orders)[best]


def _found(items: NDArray[np.int64], slots: NDArray[np.int64], value: float, logit: float) -> Hypothesis:
    return Hypothesis(tuple(items.tolist()), tuple(slots.tolist()), value, (logit,))
