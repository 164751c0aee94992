"""The category rule: an outfit has no two items of one category.

Given items may break the rule where categories are coarse, as real outfits do. Items that a method *adds* keep the
rule, among themselves and towards the given ones.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from outfits.errors import DataError

ItemSets = Sequence[NDArray[np.integer]] | NDArray[np.integer]


def is_outfit(categories: NDArray[np.integer] | Sequence[int]) -> bool:
    """Tells whether items of these categories, shape ``[n]``, are an outfit; all other sets have compatibility 0."""
    return len(categories) > 0 and len(np.unique(np.asarray(categories))) == len(categories)


def forbidden_categories(outfits: ItemSets, categories: NDArray[np.integer], num_categories: int) -> NDArray[np.bool_]:
    """Categories that an item added to each outfit must not have, bool, shape ``[B, C]``.

    Args:
        outfits: catalogue positions of the given items, ``[B, n]`` or ``B`` arrays.
        categories: category of every catalogue item, shape ``[N]``.
        num_categories: ``C``.
    """
    forbidden = np.zeros((len(outfits), num_categories), dtype=np.bool_)
    for row, outfit in enumerate(outfits):
        forbidden[row, categories[outfit]] = True
    return forbidden


def available_categories(
    outfits: ItemSets, categories: NDArray[np.integer], num_categories: int, items: int | None = None
) -> NDArray[np.bool_]:
    """Categories of items that may be added to each outfit, bool, shape ``[B, C]``.

    Arguments are those of :func:`forbidden_categories`; ``categories`` continues with external items after the first
    ``items``, which are the catalogue's.
    """
    has_items = np.isin(np.arange(num_categories), categories[:items])
    return has_items & ~forbidden_categories(outfits, categories, num_categories)


def keeps_outfit(outfits: ItemSets, chosen: NDArray[np.integer], categories: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tells whether chosen items ``[B, k]`` keep the rule, among themselves and with the given ones, shape ``[B]``."""
    kept = np.empty(len(chosen), dtype=np.bool_)
    for row, (outfit, added) in enumerate(zip(outfits, chosen, strict=True)):
        kept[row] = is_outfit(categories[added]) and not np.isin(categories[added], categories[outfit]).any()
    return kept


def feasible_categories(
    allowed: NDArray[np.bool_], free: NDArray[np.bool_], available: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Categories that a missing item can take so that all others still find one of their own, bool, shape ``[k, C]``.

    Args:
        allowed: categories that each missing item may have, bool, shape ``[k, C]``.
        free: which items are still missing, bool, shape ``[k]``; the others get no category.
        available: categories that have items and are not taken, bool, shape ``[C]``.
    """
    possible = allowed & free[:, None] & available
    feasible = np.zeros_like(possible)
    missing = np.flatnonzero(free)
    for slot in missing:
        others = possible[missing[missing != slot]]
        for category in np.flatnonzero(possible[slot]):
            rest = others.copy()
            rest[:, category] = False
            feasible[slot, category] = _all_find_one(rest)
    return feasible


def _all_find_one(possible: NDArray[np.bool_]) -> bool:
    """Tells whether every row can be matched to a column of its own."""
    if len(possible) < 2 or (possible.sum(axis=1) >= len(possible)).all():
        return bool(possible.any(axis=1).all())
    return bool((maximum_bipartite_matching(csr_array(possible), perm_type="column") >= 0).all())


class NoCategoryError(DataError):
    """Raised if no category is left for a missing item of an outfit, which is at ``row`` of its batch."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row, self.reason = row, reason

    def __str__(self) -> str:
        return f"{self.kind}: outfit {self.row} of the batch: {self.reason}"


@contextmanager
def rows_of_batch(rows: Sequence[int] | NDArray[np.integer]) -> Iterator[None]:
    """Names an outfit of a part by its row in the whole batch: of the part's first outfit it is ``rows[0]``."""
    try:
        yield
    except NoCategoryError as error:
        raise NoCategoryError(int(rows[error.row]), error.reason) from None


def require_categories(allowed: int, k: int, row: int) -> None:
    """Raises :class:`NoCategoryError` unless ``k`` items of different categories can be added to outfit ``row``."""
    if allowed < k:
        raise NoCategoryError(
            row,
            f"{k} items are missing, but only {allowed} categories with items are not taken yet; "
            f"ask for at most {allowed} (k), or use finer categories",
        )


def require_feasible(feasible: NDArray[np.bool_], row: int) -> None:
    """Raises :class:`NoCategoryError` if a missing item of outfit ``row`` has no feasible category left.

    ``feasible``: see :func:`feasible_categories`.
    """
    without = np.flatnonzero(~feasible.any(axis=1))
    if len(without):
        raise NoCategoryError(
            row,
            f"the allowed categories leave missing item {without[0] + 1} none that is not taken and has items; "
            "condition for other categories, or for fewer items",
        )
