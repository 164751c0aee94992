r"""Nearest items by a cosine that is corrected for hubs, items that are near to any latent.

The value of an item is :math:`\cos(z, x) - \lambda\, r(x)` with :math:`r(x)` its mean cosine to the
:data:`NEIGHBOURS` nearest of some reference latents: one half of cross-domain similarity local scaling (CSLS, arXiv
1710.04087), the other being the same for all items. With :math:`u = (x, -\lambda r, \lambda \sqrt{1 - r^2})`, whose
length :math:`\sqrt{1 + \lambda^2}` is that of every item, and :math:`q = (z, 1, 0)`, the value is the inner product
:math:`q \cdot u`, so an index of cosines finds the items of the largest values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.index.build import build_index
from outfits.index.category_index import Vectors, unit_rows
from outfits.index.proposals import code_bytes

NEIGHBOURS = 50


@dataclass(frozen=True)
class CorrectedVectors:
    """Items' vectors ``[N, r]`` with the two components of the correction and zeros up to ``width``, read in blocks.

    ``references`` are latents of unit length, shape ``[Q, r]``.
    """

    vectors: Vectors
    references: Tensor
    weight: float
    width: int

    @property
    def shape(self) -> Sequence[int]:
        """``(N, width)``."""
        return self.vectors.shape[0], self.width

    def __getitem__(self, rows: Any) -> Tensor:
        """These rows, float32, shape ``[n, width]``."""
        found = torch.from_numpy(unit_rows(self.vectors[rows])).to(self.references.device)
        cosines = found @ self.references.T
        near = cosines.topk(min(NEIGHBOURS, len(self.references)), dim=1).values.mean(1, keepdim=True).clamp(-1, 1)
        further = torch.cat([-self.weight * near, self.weight * (1 - near.square()).sqrt()], dim=1)
        return F.pad(torch.cat([found, further], dim=1), (0, self.width - found.shape[1] - 2))


class HubnessIndex:
    """An index of corrected values, of any kind; an :class:`outfits.index.item_index.ItemIndex`.

    Where that speaks of cosines, these are cosines less the item's correction.

    Args:
        vectors: item vectors, shape ``[N, r]``.
        categories: category of every item, shape ``[N]``.
        device: where to search.
        references: latents that the corrections are measured with, of unit length, shape ``[Q, r]``.
        num_categories: ``C``.
        config: kind of index, and as ``hubness`` the weight of the correction.
        name: of the table of a kind that keeps one.
    """

    def __init__(
        self,
        vectors: Vectors,
        categories: NDArray[np.integer],
        device: torch.device | str,
        *,
        references: Tensor,
        num_categories: int,
        config: IndexConfig,
        name: str = "",
    ) -> None:
        width = vectors.shape[1]
        # product codes need a width that their number divides
        parts = code_bytes(config, width) if config.kind in ("ivf_pq", "lance") else 1
        self._zeros = -(width + 2) % parts
        config = replace(config, pq_bytes=parts) if config.kind in ("ivf_pq", "lance") else config
        corrected = CorrectedVectors(vectors, references.to(device), config.hubness, width + 2 + self._zeros)
        self._index = build_index(
            corrected, categories, device, num_categories=num_categories, config=config, name=name
        )
        self._length = (2 * (1 + config.hubness**2)) ** 0.5  # of query times item
        self.categories = self._index.categories
        self.num_categories = self._index.num_categories
        self.empty_categories = self._index.empty_categories

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values and positions ``[Q, C, n]`` of queries ``[Q, r]``, see :meth:`ItemIndex.search`."""
        cosine, ids = self._index.search(self._lengthened(queries), n)
        return cosine * np.float32(self._length), ids

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Value of every item for every query ``[Q, r]``, shape ``[Q, N]``, see :meth:`ItemIndex.cosines`."""
        return self._index.cosines(self._lengthened(queries)) * np.float32(self._length)

    def _lengthened(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        rows = unit_rows(queries)
        return np.concatenate(
            [rows, np.ones((len(rows), 1), np.float32), np.zeros((len(rows), 1 + self._zeros), np.float32)], axis=1
        )
