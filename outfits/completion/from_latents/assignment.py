"""Assigns missing items to different categories, with the best item of each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Conditions
from outfits.completion.search.expansion import ranks_in
from outfits.data.category_rule import feasible_categories, require_categories, require_feasible


def feasible_for(conditions: Conditions | None, row: int, k: int, available: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Categories that each of ``k`` missing items of outfit ``row`` can take, bool, shape ``[k, C]``.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    require_categories(int(available.sum()), k, row)
    if conditions is None:
        return np.broadcast_to(available, (k, len(available)))
    feasible = feasible_categories(conditions.allowed[row], np.ones(k, dtype=np.bool_), available)
    require_feasible(feasible, row)
    return feasible


def assign_to_categories(
    values: NDArray[np.floating], items: NDArray[np.int64], feasible: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The items of the best assignment of missing items to different categories, shape ``[k]``.

    Args:
        values: value of the best item of every category for every missing item, shape ``[k, C]``.
        items: these items, catalogue positions, shape ``[k, C]``.
        feasible: categories that each missing item can take, bool, ``[k, C]``; there must be an assignment.
    """
    k = len(values)
    columns = np.flatnonzero(feasible.any(axis=0))
    value = np.where(feasible[:, columns], values[:, columns].astype(np.float64), -np.inf)
    item = items[:, columns]
    column = np.lexsort((item, -value), axis=-1)[:, 0]  # every latent's best category, ties by catalogue position
    if len(np.unique(column)) < k:
        _, column = linear_sum_assignment(value, maximize=True)
    chosen: NDArray[np.int64] = item[np.arange(k), column]
    return chosen


def complete_by_values(
    values: NDArray[np.floating] | Sequence[NDArray[np.floating]],
    categories: NDArray[np.integer],
    available: NDArray[np.bool_],
    conditions: Conditions | None,
    wanted: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The exact best assignment of items to missing items where the objective is a sum over the items.

    Within a category only its best item can be chosen for a missing item, so choosing items is choosing categories.

    Args:
        values: value of every catalogue item for each missing item, ``B`` arrays ``[k, N]``.
        categories: category of every catalogue item, shape ``[N]``.
        available: categories that have items and are not taken, bool, shape ``[B, C]``.
        wanted: catalogue positions ``[B, k]`` whose rank for missing item i to report.

    Returns:
        Catalogue positions ``[B, k]``, and 0-based ranks ``[B, k]`` of the wanted items among all that condition i
        allows, ties to the smaller position.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category with items.
    """
    num_categories = available.shape[1]
    members = [np.flatnonzero(categories == category) for category in range(num_categories)]
    chosen, ranks = [], None if wanted is None else np.full(wanted.shape, UNRANKED, dtype=np.int64)
    for row, value in enumerate(values):
        k = len(value)
        feasible = feasible_for(conditions, row, k, available[row])
        best = np.full((k, num_categories), -np.inf)
        items = np.full((k, num_categories), -1, dtype=np.int64)
        for category in np.flatnonzero(feasible.any(axis=0)):
            items[:, category] = members[category][value[:, members[category]].argmax(axis=1)]
            best[:, category] = value[np.arange(k), items[:, category]]
        chosen.append(assign_to_categories(best, items, feasible))
        if ranks is not None and wanted is not None:
            for slot in range(k):
                allowed = np.flatnonzero(feasible[slot][categories])
                ranking = allowed[np.argsort(-value[slot, allowed], kind="stable")]
                ranks[row, slot] = ranks_in(ranking, wanted[row, slot : slot + 1], len(categories))[0]
    return np.stack(chosen), ranks
