"""Measures how outfits share items: near duplicates (Jaccard overlap) and pairs of items seen together."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from outfits.data.outfits import SPLITS, Outfits


def incidence(item_sets: Sequence[Iterable[int]], items: int | None = None) -> csr_array:
    """Builds the sparse 0/1 matrix of outfits and their items, ``[outfits, items]``; by default as wide as needed."""
    sets = [frozenset(item_set) for item_set in item_sets]
    columns = np.array([item for item_set in sets for item in item_set], dtype=np.int64)
    rows = np.repeat(np.arange(len(sets)), [len(item_set) for item_set in sets])
    width = int(columns.max(initial=-1)) + 1 if items is None else items
    return csr_array((np.ones(len(columns), dtype=np.int64), (rows, columns)), shape=(len(sets), width))


def near_duplicates(a: csr_array, b: csr_array, overlap: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""Finds pairs of rows with :math:`|A \cap B| / |A \cup B| \geq` ``overlap`` > 0.

    ``a`` and ``b`` are incidence matrices ``[n, items]`` and ``[m, items]``; returns the rows in each, ``[pairs]``.
    """
    common = coo_array(a @ b.T)
    rows, columns = common.coords
    union = a.sum(axis=1)[rows] + b.sum(axis=1)[columns] - common.data
    near = common.data / union >= overlap
    return rows[near].astype(np.int64), columns[near].astype(np.int64)


def related_groups(item_sets: Sequence[Iterable[int]], overlap: float) -> NDArray[np.int64]:
    """Numbers the groups of outfits, shape ``[outfits]``: chains of near duplicates are one group."""
    matrix = incidence(item_sets)
    rows, columns = near_duplicates(matrix, matrix, overlap)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(item_sets), len(item_sets)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def near_duplicate_share(outfits: Outfits, of: str = "test", in_: str = "train", overlap: float = 0.5) -> float:
    """Share of one split's outfits with a near duplicate (Jaccard at least ``overlap``) in another split."""
    own, other = _members(outfits, of), _members(outfits, in_)
    if not own:
        return 0.0
    items = int(outfits.items.max(initial=-1)) + 1
    rows, _ = near_duplicates(incidence(own, items), incidence(other, items), overlap)
    return len(np.unique(rows)) / len(own)


def pairs_seen(outfits: Outfits, of: str = "test", in_: str = "train") -> float:
    """Share of the item pairs in one split's outfits that occur together in an outfit of another split.

    A pair counts as often as it occurs: the share is the probability for a random pair of a random outfit.
    """
    own, other = _pairs(_members(outfits, of)), _pairs(_members(outfits, in_))
    return float(np.isin(own, other).mean()) if len(own) else 0.0


def _members(outfits: Outfits, split: str) -> list[NDArray[np.int32]]:
    return [outfits[int(position)] for position in np.flatnonzero(outfits.split == SPLITS.index(split))]


def _pairs(item_sets: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Encodes every pair of every outfit as one number, shape ``[pairs]``."""
    codes = []
    for size in {len(item_set) for item_set in item_sets}:
        rows = np.sort(np.stack([item_set for item_set in item_sets if len(item_set) == size]).astype(np.int64), axis=1)
        low, high = np.triu_indices(size, k=1)
        codes.append((rows[:, low] << 32 | rows[:, high]).ravel())
    return np.concatenate(codes) if codes else np.zeros(0, dtype=np.int64)
