"""Splits outfits so that splits share no item and a greedy search keeps as many outfits as it can."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from outfits.data.group_split import group_split
from outfits.data.near_duplicates import incidence

STARTS = 8
"""Seeded starts per component; the one that keeps most outfits is taken."""


def disjoint_split(item_sets: Sequence[Iterable[int]], shares: Sequence[float], seed: int) -> NDArray[np.int8]:
    """Returns a split of every outfit so that no item is in two splits; -1 leaves an outfit out. Shape ``[outfits]``.

    Components, outfits joined by chains of shared items, stay whole. Real outfits form a few giant components, too
    large for the smallest split, which are cut: every split but the largest grows a region of items from one random
    outfit, always by the outfit whose new items are the fewest and occur in the fewest outfits. Outfits outside all
    regions form the largest split; outfits that touch a region without lying in it are left out. The best of
    :data:`STARTS` starts is taken. Each giant component contributes to every split: whole giants (seasons, say) on one
    side would save more outfits, but train and test on different distributions.

    Args:
        item_sets: catalogue positions of every outfit.
        shares: share of the surviving outfits for every split.
        seed: seed of the starts.
    """
    matrix = incidence(item_sets)
    components = _components(matrix)
    sizes = np.bincount(components)
    giants = np.flatnonzero(sizes > min(share for share in shares if share > 0) * len(item_sets))
    codes = np.full(len(item_sets), -1, dtype=np.int8)
    small = np.flatnonzero(~np.isin(components, giants))
    if len(small):
        _, groups = np.unique(components[small], return_inverse=True)
        codes[small] = group_split(groups.astype(np.int64), shares, np.random.default_rng([seed, 0]))
    for number, giant in enumerate(giants, start=1):
        members = np.flatnonzero(components == giant)
        starts = (np.random.default_rng([seed, number, start]) for start in range(STARTS))
        cuts = [_grow_regions(matrix[members], shares, rng) for rng in starts]
        codes[members] = max(cuts, key=lambda cut: _quality(cut, shares))
    return codes


def _components(matrix: csr_array) -> NDArray[np.int64]:
    """Numbers the components: outfits joined by chains of shared items, shape ``[outfits]``."""
    entries = coo_array(matrix)
    outfits, items = entries.coords
    nodes = sum(matrix.shape)  # outfits first, then items
    graph = coo_array((entries.data, (outfits, items + matrix.shape[0])), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1][: matrix.shape[0]], dtype=np.int64)


def _quality(codes: NDArray[np.int8], shares: Sequence[float]) -> tuple[int, int]:
    """Counts the requested splits that are not empty, then the outfits that survive."""
    filled = sum(share > 0 and bool((codes == split).any()) for split, share in enumerate(shares))
    return filled, int((codes >= 0).sum())


def _grow_regions(matrix: csr_array, shares: Sequence[float], rng: np.random.Generator) -> NDArray[np.int8]:
    outfits_of = matrix.T.tocsr()
    sizes = matrix.sum(axis=1)
    weight = np.sqrt(matrix.sum(axis=0))  # on real outfits this keeps 1.6 times as many as counting items
    new = matrix @ weight  # [outfits] weight of the items that are in no region yet
    order = rng.permutation(matrix.shape[0])
    precedence = np.argsort(order)  # breaks ties by the random order
    largest = int(np.argmax(shares))
    growing = [split for split, share in enumerate(shares) if share > 0 and split != largest]
    held = np.zeros((len(shares), matrix.shape[0]), dtype=np.int64)  # [splits, outfits] items in the split's region
    taken = np.zeros(matrix.shape[1], dtype=np.bool_)
    while growing:
        inside = (held == sizes) & (sizes > 0)
        untouched = (held.sum(axis=0) == 0) & (sizes > 0)
        survivors = int(untouched.sum()) + int(inside.sum())
        share_reached = {split: inside[split].sum() / (shares[split] * max(survivors, 1)) for split in growing}
        split = min(growing, key=lambda split: (share_reached[split], split))
        if share_reached[split] >= 1:
            break
        mine = (held[split] > 0) & (held[split] == held.sum(axis=0)) & ~inside[split]
        frontier = np.flatnonzero(mine if mine.any() else untouched)
        if not len(frontier):
            growing.remove(split)
            continue
        cost = np.round(new[frontier], 6) if mine.any() else np.zeros(len(frontier))
        outfit = frontier[np.lexsort((precedence[frontier], cost))[0]]
        items = matrix.indices[matrix.indptr[outfit] : matrix.indptr[outfit + 1]]
        for item in items[~taken[items]]:
            wearers = outfits_of.indices[outfits_of.indptr[item] : outfits_of.indptr[item + 1]]
            taken[item] = True
            held[split, wearers] += 1
            new[wearers] -= weight[item]
    codes = np.where(held.sum(axis=0) == 0, largest, -1).astype(np.int8)
    for split in range(len(shares)):
        codes[(held[split] == sizes) & (sizes > 0)] = split
    return codes
