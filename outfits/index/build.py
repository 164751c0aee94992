"""Builds an index of the configured kind."""

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.config.schema.index import IndexConfig
from outfits.index.category_index import CategoryIndex, Vectors
from outfits.index.item_index import ItemIndex


def build_index(
    vectors: Vectors,
    categories: NDArray[np.integer],
    device: torch.device | str,
    *,
    num_categories: int,
    config: IndexConfig | None = None,
    name: str = "",
) -> ItemIndex:
    """Indexes vectors ``[N, r]`` of items of these categories ``[N]``.

    Args:
        vectors: read block by block.
        device: where to search, for kinds that live in this process.
        num_categories: ``C``.
        config: kind of index and its sizes; None: flat.
        name: of the table of a kind that keeps one, which tells what the vectors are made of.
    """
    if config is None or config.kind != "lance":
        return CategoryIndex(vectors, categories, device, num_categories=num_categories, config=config)
    # imported here, since it is an extra
    from outfits.index.lance_index import LanceIndex

    return LanceIndex.build(vectors, categories, name=name, num_categories=num_categories, config=config)
