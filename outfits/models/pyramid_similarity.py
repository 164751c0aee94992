r"""Similarities :math:`S_X` of kind ``pyramid``: between items by the local features of their images.

A pyramid has R parts of d features, each of unit length; its first grid is the whole image where ``parts.grids`` begins
with 1. Cosines are for comparison, GRNet decides.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.data.outfits import SPLITS
from outfits.encoders.fitting import kept_state, write_state
from outfits.encoders.packed import PackedImages, first_copies
from outfits.encoders.view_pyramids import ViewPyramids
from outfits.models.grnet import Grnet

AT_ONCE = 256  # pairs in one pass of GRNet

Pyramids = NDArray[np.float32]


def global_vectors(pyramids: Pyramids) -> NDArray[np.float32]:
    """Features of the coarsest grid's first cell, ``[n, d]``: with a grid of 1 those of the whole image."""
    return pyramids[:, 0]


def mean_cosines(one: Pyramids, other: Pyramids) -> NDArray[np.float32]:
    """Mean cosine of parts at the same place, of pyramids ``[A, R, d]`` and ``[B, R, d]``, shape ``[A, B]``."""
    found: NDArray[np.float32] = one.reshape(len(one), -1) @ other.reshape(len(other), -1).T / one.shape[1]
    return found


def best_cosines(one: Pyramids, other: Pyramids) -> NDArray[np.float32]:
    """Mean over the parts of A of the largest cosine with any part of B, shape ``[A, B]``."""
    products = one.reshape(-1, one.shape[2]) @ other.reshape(-1, other.shape[2]).T  # [A R, B R]
    of_parts = products.reshape(len(one), one.shape[1], len(other), other.shape[1]).max(-1)
    found: NDArray[np.float32] = of_parts.mean(1)
    return found


def evidence_of(model: Grnet, query: NDArray[np.float32], gallery: Pyramids) -> NDArray[np.float64]:
    """Evidence that a pyramid ``[R, d]`` shows the item of each of ``[m, R, d]``, see :meth:`Grnet.evidence`."""
    device = next(model.parameters()).device
    x, evidence = torch.from_numpy(np.array(query)).to(device), np.zeros(len(gallery))
    for start in range(0, len(gallery), AT_ONCE):
        some = torch.from_numpy(np.array(gallery[start : start + AT_ONCE])).to(device)
        evidence[start : start + AT_ONCE] = model.evidence(x.expand_as(some), some).cpu().numpy()
    return evidence


def similarity_of(evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """S_X of evidence, see :class:`outfits.models.grnet.Grnet`."""
    found: NDArray[np.float64] = 1 - 2 * np.exp(-evidence)
    return found


@dataclass(frozen=True)
class PartAgreement:
    """Which parts of two images speak more, and which less, than the others for their showing one item.

    Attributes:
        grids: cells along a side of each scale.
        first, second: effects of the parts of either image on GRNet's logit, ``[R]``, see :meth:`Grnet.part_effects`.
    """

    grids: tuple[int, ...]
    first: NDArray[np.float32]
    second: NDArray[np.float32]

    def maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Effects of either image's cells in the finest grid, less the mean of that image's, ``[g, g]``.

        Most of a part's nodes join different places, which look alike in no two images, so that r may gain from the
        loss of every part: what tells is the difference between parts.
        """
        cells = max(self.grids)
        start = sum(grid * grid for grid in self.grids[: self.grids.index(cells)])
        finest = (part[start : start + cells * cells] for part in (self.first, self.second))
        first, second = ((part - part.mean()).reshape(cells, cells) for part in finest)
        return first, second


def part_agreement(model: Grnet, one: NDArray[np.float32], other: NDArray[np.float32]) -> PartAgreement:
    """Compares the parts of two pyramids ``[R, d]``."""
    x, y = torch.from_numpy(np.array(one)), torch.from_numpy(np.array(other))
    first, second = model.part_effects(x, y).numpy(), model.part_effects(y, x).numpy()
    return PartAgreement(tuple(model.config.grids), first, second)


@dataclass(frozen=True)
class CataloguePyramids:
    """Pyramids of a catalogue's images as they are.

    Attributes:
        pyramids: of the distinct images, float32, shape ``[D, R, d]``.
        rows: the row of every item, int64, shape ``[N]``; -1 without an image.
    """

    pyramids: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, images: PackedImages, views: ViewPyramids) -> "CataloguePyramids":
        """Collects the pyramids of all splits, for every item that of its image."""
        parts = [views.gallery(split) for split in SPLITS]
        items = np.concatenate([found for found, _ in parts])
        order = np.argsort(items)
        first = first_copies(images)
        rows = np.searchsorted(items[order], first)
        pyramids = np.concatenate([found for _, found in parts])[order].astype(np.float32)
        return cls(pyramids, np.where(first >= 0, rows, -1))

    def save(self, path: Path) -> None:
        """Writes them to a file."""
        write_state(path, "", {"pyramids": self.pyramids, "rows": self.rows})

    @classmethod
    def load(cls, path: Path) -> "CataloguePyramids":
        """Reads them; raises :class:`outfits.errors.ArtifactError` if the file is missing or damaged."""
        state = kept_state(path)[1]
        return cls(state["pyramids"], state["rows"])

    def take(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pyramids of items that have an image, float32, shape ``[n, R, d]``."""
        found: NDArray[np.float32] = self.pyramids[self.rows[items]]
        return found
