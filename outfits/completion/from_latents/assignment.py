"""Giving missing items categories of their own: what can be taken, and the best items under it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Wishes
from outfits.completion.search.expansion import ranks_in
from outfits.data.category_rule import open_categories, require_categories, require_wishes


def opened_to(wishes: Wishes | None, row: int, k: int, available: NDArray[np.bool_], what: str) -> NDArray[np.bool_]:
    """Categories that each of ``k`` missing items of outfit ``row`` can take, bool, shape ``[k, C]``.

    Raises:
        DataError: if the rule or the wishes leave one none.
    """
    require_categories(int(available.sum()), k, what)
    if wishes is None:
        return np.broadcast_to(available, (k, len(available)))
    opened = open_categories(wishes.allowed[row], np.ones(k, dtype=np.bool_), available)
    require_wishes(opened, what)
    return opened


def assign_to_categories(
    values: NDArray[np.floating], items: NDArray[np.int64], opened: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The items of the best assignment of missing items to different categories, shape ``[k]``.

    Args:
        values: value of the best item of every category for every missing item, shape ``[k, C]``.
        items: these items, catalogue positions, shape ``[k, C]``.
        opened: categories that each missing item can take, such that there is an assignment, bool, shape ``[k, C]``.
    """
    k = len(values)
    columns = np.flatnonzero(opened.any(axis=0))
    value = np.where(opened[:, columns], values[:, columns].astype(np.float64), -np.inf)
    item = items[:, columns]
    column = np.lexsort((item, -value), axis=-1)[:, 0]  # every latent's favourite, ties by catalogue position
    if len(np.unique(column)) < k:
        _, column = linear_sum_assignment(value, maximize=True)
    chosen: NDArray[np.int64] = item[np.arange(k), column]
    return chosen


def complete_by_values(
    values: NDArray[np.floating] | Sequence[NDArray[np.floating]],
    categories: NDArray[np.integer],
    available: NDArray[np.bool_],
    wishes: Wishes | None,
    wanted: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The exact best assignment of items to missing items where each item's value stands on its own.

    Within a category only its best item can be chosen for a missing item, so choosing items is choosing categories.

    Args:
        values: what every catalogue item is worth to each missing item, ``B`` arrays ``[k, N]``.
        categories: category of every catalogue item, shape ``[N]``.
        available: categories that have items and are not taken, bool, shape ``[B, C]``.
        wishes: wished categories.
        wanted: catalogue positions ``[B, k]`` whose rank for missing item i to report.

    Returns:
        Catalogue positions ``[B, k]``, and 0-based ranks ``[B, k]`` of the wanted items among all that wish i allows,
        ties to the smaller position.

    Raises:
        DataError: if the rule or the wishes leave a missing item no category with items.
    """
    num_categories = available.shape[1]
    members = [np.flatnonzero(categories == category) for category in range(num_categories)]
    chosen, ranks = [], None if wanted is None else np.full(wanted.shape, UNRANKED, dtype=np.int64)
    for row, value in enumerate(values):
        k = len(value)
        opened = opened_to(wishes, row, k, available[row], f"outfit {row} of the batch")
        best = np.full((k, num_categories), -np.inf)
        items = np.full((k, num_categories), -1, dtype=np.int64)
        for category in np.flatnonzero(opened.any(axis=0)):
            items[:, category] = members[category][value[:, members[category]].argmax(axis=1)]
            best[:, category] = value[np.arange(k), items[:, category]]
        chosen.append(assign_to_categories(best, items, opened))
        if ranks is not None and wanted is not None:
            for slot in range(k):
                allowed = np.flatnonzero(opened[slot][categories])
                ranking = allowed[np.argsort(-value[slot, allowed], kind="stable")]
                ranks[row, slot] = ranks_in(ranking, wanted[row, slot : slot + 1], len(categories))[0]
    return np.stack(chosen), ranks
