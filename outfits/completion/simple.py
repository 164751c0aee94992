"""Completions that know nothing of the outfit: random items and the most often selected ones.

A search on a learned S falls again and again on a few items that S likes beside anything; these two say how far such
items, or chance, go.
"""

import numpy as np
from numpy.typing import NDArray

from outfits.completion.greedy import first_of_each, ranks_in
from outfits.completion.rules import ItemSets, forbidden_items, require_categories
from outfits.completion.tasks import RANDOM_STREAM


def complete_by_ranking(
    ranking: NDArray[np.int64],
    forbidden: NDArray[np.bool_],
    categories: NDArray[np.integer],
    k: int,
    rank_of: NDArray[np.integer],
    what: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first ``k`` allowed items of a ranking of the catalogue that keep the category rule.

    Args:
        ranking: all catalogue positions, best first, shape ``[N]``.
        forbidden: items that must not be added, bool, shape ``[N]``.
        categories: category of every item, shape ``[N]``.
        k: number of missing items.
        rank_of: catalogue positions asked about, shape ``[j]``.
        what: name of the outfit in messages.

    Returns:
        Chosen positions ``[k]``, and the rank of the items asked about among the allowed ones, ``[j]``.

    Raises:
        DataError: if fewer than ``k`` categories are left.
    """
    allowed = ranking[~forbidden[ranking]]
    chosen = first_of_each(categories[allowed], k)
    require_categories(len(chosen), k, what)
    return allowed[chosen], ranks_in(allowed, rank_of, len(categories))


def random_completion(
    outfits: ItemSets,
    k: int,
    categories: NDArray[np.integer],
    num_categories: int,
    seeds: NDArray[np.integer],
    seed: int,
    rank_of: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Uniformly random allowed items of different categories, one draw after the other.

    Args:
        outfits: catalogue positions of the given items, ``B`` arrays.
        k: number of missing items.
        categories: category of every item, shape ``[N]``.
        num_categories: ``C``.
        seeds: numbers that identify each outfit, shape ``[B, s]``; with ``seed`` they seed its draw, so it does not
            depend on the batch.
        seed: seed of the experiment.
        rank_of: catalogue positions ``[B, j]`` to rank in the random order.

    Returns:
        Chosen positions ``[B, k]`` and ranks ``[B, j]``.
    """
    chosen = np.empty((len(outfits), k), dtype=np.int64)
    ranks = np.empty(rank_of.shape, dtype=np.int64)
    for row in range(len(outfits)):
        rng = np.random.default_rng([seed, RANDOM_STREAM, *seeds[row].tolist()])
        ranking = rng.permutation(len(categories))
        forbidden = forbidden_items([outfits[row]], categories, num_categories)[0]
        chosen[row], ranks[row] = complete_by_ranking(
            ranking, forbidden, categories, k, rank_of[row], f"outfit {row} of the batch"
        )
    return chosen, ranks


def most_selected(
    outfits: ItemSets,
    k: int,
    categories: NDArray[np.integer],
    num_categories: int,
    selected: NDArray[np.integer],
    rank_of: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items that greedy search selected most often for training outfits, as far as the category rule allows.

    Args:
        outfits: catalogue positions of the given items, ``B`` arrays.
        k: number of missing items.
        categories: category of every item, shape ``[N]``.
        num_categories: ``C``.
        selected: how often each item was selected, shape ``[N]``; ties go to the smaller position.
        rank_of: catalogue positions ``[B, j]`` to rank in the order of frequency.

    Returns:
        Chosen positions ``[B, k]`` and ranks ``[B, j]``.
    """
    ranking = np.argsort(-np.asarray(selected, dtype=np.int64), kind="stable").astype(np.int64)
    forbidden = forbidden_items(outfits, categories, num_categories)
    answers = [
        complete_by_ranking(ranking, forbidden[row], categories, k, rank_of[row], f"outfit {row} of the batch")
        for row in range(len(outfits))
    ]
    return np.stack([chosen for chosen, _ in answers]), np.stack([ranks for _, ranks in answers])
