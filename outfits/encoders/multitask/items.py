"""Splits of single items, for what is learned without outfits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import SPLITS


def image_numbers(digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Equal numbers for equal digests, int64, shape ``[N]``; an item without an image, of empty digest, has its own."""
    numbers: dict[bytes, int] = {}
    return np.array(
        [numbers.setdefault(digest or f"item {item}".encode(), item) for item, digest in enumerate(digests)],
        dtype=np.int64,
    )


def split_items(
    dataset: OutfitDataset, image_ids: NDArray[np.int64], usable: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Catalogue positions of every split's items.

    Where the data set has no split of its items, those of training outfits train; the others are in the split of their
    outfits, unless their image is that of an item of an earlier split.

    Args:
        dataset: the data set.
        image_ids: equal numbers for equal images, shape ``[N]``.
        usable: which items may be in a split, bool, shape ``[N]``.
    """
    found: dict[str, NDArray[np.int64]] = {}
    earlier: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    if dataset.item_splits:
        return {split: items[usable[items]] for split, items in dataset.item_splits.items()}
    for split in SPLITS:
        items = np.unique(dataset.outfits.of(split).items).astype(np.int64)
        items = items[usable[items] & ~np.isin(image_ids[items], earlier)]
        found[split] = items
        earlier = np.union1d(earlier, image_ids[items])
    return found
