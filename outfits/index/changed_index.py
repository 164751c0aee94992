"""Nearest items of a catalogue that has changed: the index of what it was, less what left, and one of what joined."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outfits.index.item_index import ItemIndex

FURTHER = 8  # items of a category that are asked for at first, beyond those wanted


class ChangedIndex:
    """Nearest items of a changed catalogue; an :class:`outfits.index.item_index.ItemIndex`.

    The index of the catalogue before is asked for a few items more, and again for twice as many more where too few of
    those found have stayed. Nothing is built again but an exact index of the items that joined.

    Args:
        before: index of the catalogue before, of ``N`` items.
        kept: positions of its items that stay, ascending, shape ``[K]``; they come first in the changed catalogue.
        joined: index of the ``m`` items that joined, in the same space; None: none joined.
        categories: category of every item of the changed catalogue, shape ``[K + m]``.
    """

    def __init__(
        self,
        before: ItemIndex,
        kept: NDArray[np.int64],
        joined: ItemIndex | None,
        categories: NDArray[np.int64],
    ) -> None:
        self.categories: NDArray[np.int64] = np.asarray(categories, dtype=np.int64)
        self.num_categories = before.num_categories
        self._before, self._kept = before, kept
        self._place = np.full(len(before) + 1, -1, dtype=np.int64)  # the last for -1, no item
        self._place[kept] = np.arange(len(kept))
        self._stay = np.bincount(before.categories[kept], minlength=self.num_categories)
        left = np.bincount(before.categories, minlength=self.num_categories) - self._stay
        self.most_left = int(left.max())
        self._joined = joined
        self.empty_categories: NDArray[np.bool_] = np.bincount(self.categories, minlength=self.num_categories) == 0

    def __len__(self) -> int:
        return len(self.categories)

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Similarities and positions ``[Q, C, n]`` of queries ``[Q, r]``, see :meth:`ItemIndex.search`."""
        similarity, ids = self._staying(queries, n)
        if self._joined is not None:
            near, joined = self._joined.search(queries, n)
            similarity = np.concatenate([similarity, near], axis=2)
            ids = np.concatenate([ids, np.where(joined >= 0, joined + len(self._kept), -1)], axis=2)
        order = np.lexsort((ids, -similarity), axis=-1)[:, :, :n]
        return np.take_along_axis(similarity, order, axis=2), np.take_along_axis(ids, order, axis=2)

    def _staying(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Similarities and positions ``[Q, C, n]`` of the nearest items that have stayed."""
        similarity = np.full((len(queries), self.num_categories, n), -np.inf, dtype=np.float32)
        ids = np.full((len(queries), self.num_categories, n), -1, dtype=np.int64)
        open_rows, further = np.arange(len(queries)), min(FURTHER, self.most_left)
        while len(open_rows):
            near, found = self._before.search(queries[open_rows], n + further)
            found = self._place[found]
            near = np.where(found >= 0, near, np.float32(-np.inf))
            order = np.lexsort((found, -near), axis=-1)[:, :, :n]
            similarity[open_rows] = np.take_along_axis(near, order, axis=2)
            ids[open_rows] = np.take_along_axis(found, order, axis=2)
            few = ((found >= 0).sum(axis=2) < np.minimum(n, self._stay)).any(axis=1)
            open_rows = open_rows[few] if further < self.most_left else open_rows[:0]
            further = min(2 * further, self.most_left)
        return similarity, ids

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Cosine of every item to every query ``[Q, r]``, shape ``[Q, N]``, see :meth:`ItemIndex.cosines`."""
        before = self._before.cosines(queries)
        parts = [before if len(self._kept) == len(self._before) else before[:, self._kept]]
        if self._joined is not None:
            parts.append(self._joined.cosines(queries))
        return np.concatenate(parts, axis=1)
