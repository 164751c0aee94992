"""Finds near-copies: items of one category whose embeddings lie closest together."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from outfits.data.catalogue import Catalogue


def nearest_of_category(catalogue: Catalogue, items: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Finds the items of the same category with the largest cosines.

    Args:
        catalogue: items with embeddings.
        items: catalogue positions, shape ``[n]``.
        count: neighbours of each.

    Returns:
        Catalogue positions, nearest first, without the item itself, shape ``[n, count]``; -1 where the category has no
        further item.
    """
    vectors, categories = catalogue.require_embeddings.vectors, catalogue.categories
    found = np.full((len(items), count), -1, dtype=np.int64)
    for category in np.unique(categories[items]):
        rows, members = np.flatnonzero(categories[items] == category), np.flatnonzero(categories == category)
        wanted = min(count + 1, len(members))
        index = NearestNeighbors(n_neighbors=wanted, metric="cosine", algorithm="brute").fit(vectors[members])
        nearest = members[index.kneighbors(vectors[items[rows]], return_distance=False)]  # [rows, wanted]
        own = nearest == items[rows][:, None]
        own[~own.any(axis=1), -1] = True  # equal vectors may have pushed the item out of its own list
        found[rows, : wanted - 1] = nearest[~own].reshape(len(rows), wanted - 1)
    return found
