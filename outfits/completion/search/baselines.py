"""Completions that know nothing of the outfit: random items, and the most frequent or most often selected ones.

A search on a learned S falls again and again on a few items that S likes beside anything; these say how far such items,
or chance, go.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import UNRANKED
from outfits.completion.from_latents.assignment import feasible_for
from outfits.completion.search.expansion import ranks_in
from outfits.completion.tasks import RANDOM_STREAM, CompletionTasks
from outfits.data.category_rule import available_categories, feasible_categories


def complete_by_ranking(
    ranking: NDArray[np.int64], feasible: NDArray[np.bool_], categories: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The first items of a ranking that keep the category rule and the conditions, in the order of the conditions.

    Args:
        ranking: all catalogue positions, best first, shape ``[N]``.
        feasible: categories that each missing item can take, bool, shape ``[k, C]``; see
            :func:`outfits.data.category_rule.feasible_categories`.
        categories: category of every catalogue item, shape ``[N]``.

    Returns:
        Catalogue positions, shape ``[k]``.
    """
    k = len(feasible)
    chosen = np.full(k, -1, dtype=np.int64)
    free = np.ones(k, dtype=np.bool_)
    available = np.asarray(feasible.any(axis=0))
    left = feasible
    while free.any():
        item = ranking[np.asarray(left.any(axis=0))[categories[ranking]].argmax()]
        slot = int(left[:, categories[item]].argmax())
        chosen[slot], free[slot] = item, False
        available[categories[item]] = False
        left = feasible_categories(feasible, free, available)
    return chosen


def complete_by_ranking_of_all(
    tasks: CompletionTasks,
    rankings: Iterable[NDArray[np.int64]],
    categories: NDArray[np.integer],
    num_categories: int,
    size: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Completes every task from a ranking of the whole catalogue that does not look at the outfit.

    Args:
        tasks: ``B`` tasks.
        rankings: all catalogue positions, best first, for every task; looked at one after the other.
        categories: category of every catalogue item and external.
        num_categories: ``C``.
        size: number of catalogue items.

    Returns:
        Chosen positions ``[B, k]``, and the rank of the removed items among those that could be chosen, ``[B, j]``;
        with conditions, of removed item i among those that condition i allows.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    chosen = np.empty((len(tasks), tasks.k), dtype=np.int64)
    ranks = np.full(tasks.removed.shape, UNRANKED, dtype=np.int64)
    available = available_categories(tasks.given, categories, num_categories, size)
    for row, ranking in enumerate(rankings):
        items = categories[: len(ranking)]
        feasible = feasible_for(tasks.conditions, row, tasks.k, available[row], f"outfit {row} of the batch")
        chosen[row] = complete_by_ranking(ranking, np.array(feasible), items)
        for number in range(tasks.removed.shape[1]):
            can = available[row] if tasks.conditions is None else feasible[number]
            allowed = ranking[can[items[ranking]]]
            ranks[row, number] = ranks_in(allowed, tasks.removed[row, number : number + 1], len(items))[0]
    return chosen, ranks


def random_completion(
    tasks: CompletionTasks, categories: NDArray[np.integer], num_categories: int, seed: int, items: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Uniformly random allowed items of different categories, one draw after the other.

    Args:
        tasks: ``B`` tasks; their seeds and ``seed`` seed each draw, so it does not depend on the batch.
        categories: category of every catalogue item and external.
        num_categories: ``C``.
        seed: seed of the experiment.
        items: number of catalogue items, without external items; None: there are no external items.

    Returns:
        Chosen positions ``[B, k]`` and ranks ``[B, j]`` of the removed items in the random order.
    """
    size = len(categories) if items is None else items
    rankings = (
        np.random.default_rng([seed, RANDOM_STREAM, *seeds.tolist()]).permutation(size) for seeds in tasks.seeds
    )
    return complete_by_ranking_of_all(tasks, rankings, categories, num_categories, size)
