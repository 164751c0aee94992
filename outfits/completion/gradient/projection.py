"""Projects free embeddings to the nearest real items that keep the category rule."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.from_latents.assignment import assign_to_categories
from outfits.data.catalogue import ItemEmbeddings

DISTANCES = {"l1": 1.0, "l2": 2.0, "l10": 10.0, "cosine": 2.0}
"""Distances by name with their Minkowski exponent; cosine is taken from the Euclidean distance of unit vectors."""

_ROWS, _COLUMNS = 64, 65536  # points and items in one block of distances; bounds the memory


class ItemSpace:
    """The catalogue's ``N`` items as points of the embedding space, by category.

    Attributes:
        shared_space: whether a text can be compared with the image part, see :class:`ItemEmbeddings`.
        vectors: item embeddings, shape ``[N, d]``.
        present: which parts an item has, bool, shape ``[N, 2]``.
        categories: category of every item, int64, shape ``[N]``.
        counts: number of items of every category, shape ``[C]``.
        mean: mean of every dimension over the items that have its part, shape ``[d]``.
        std: its standard deviation, shape ``[d]``.
    """

    def __init__(
        self,
        items: ItemEmbeddings,
        categories: NDArray[np.integer],
        num_categories: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.image_dim, self.text_dim, self.shared_space = items.image_dim, items.text_dim, items.shared_space
        self.categories = np.asarray(categories, dtype=np.int64)
        self.counts = np.bincount(self.categories, minlength=num_categories)
        vectors, present = np.array(items.vectors, dtype=np.float32), np.array(items.present, dtype=np.bool_)
        self.mean, self.std = np.zeros(items.dim, dtype=np.float32), np.zeros(items.dim, dtype=np.float32)
        for number, part in enumerate((slice(0, items.image_dim), slice(items.image_dim, None))):
            has_part = vectors[present[:, number], part]
            if has_part.size:
                self.mean[part] = has_part.mean(axis=0, dtype=np.float64)
                self.std[part] = has_part.std(axis=0, dtype=np.float64)
        self.vectors = torch.from_numpy(vectors).to(self.device)
        self.present = torch.from_numpy(present).to(self.device)
        self._members = [
            torch.from_numpy(np.flatnonzero(self.categories == category)).to(self.device)
            for category in range(num_categories)
        ]
        self._category = torch.from_numpy(self.categories).to(self.device)
        self._half_squares = self.vectors.square().sum(dim=1) / 2  # [N]

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(self, points: Tensor, feasible: Tensor) -> Tensor:
        """Positions ``[m]`` of the items nearest to points ``[m, d]`` by Euclidean distance, from one matrix product.

        ``feasible [m, C]`` has the categories that each point may take, at least one of them with items.
        """
        best = torch.full((len(points),), torch.inf, device=self.device)
        items = torch.zeros(len(points), dtype=torch.int64, device=self.device)
        for start in range(0, len(self), _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            # |z - x|² / 2 without |z|², which is the same for all items
            distance = self._half_squares[columns] - points @ self.vectors[columns].T
            distance.masked_fill_(~feasible[:, self._category[columns]], torch.inf)
            value, place = distance.min(dim=1)
            nearer = value < best
            best, items = torch.where(nearer, value, best), torch.where(nearer, place + start, items)
        return items

    def nearest_of_each_category(
        self, points: Tensor, feasible: NDArray[np.bool_], distance: str
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distance to and position of the nearest item of every category, ties by the smaller position.

        Distances are computed pair by pair, not by a matrix product, so that a pair's bits depend on nothing else.

        Args:
            points: shape ``[m, d]``.
            feasible: categories to search, bool, shape ``[C]``.
            distance: ``l1``, ``l2``, ``l10`` or ``cosine``; raises :class:`ValueError` for another.

        Returns:
            Float64 ``[m, C]`` and int64 ``[m, C]``; ``inf`` and -1 for categories not searched or without items.
        """
        if distance not in DISTANCES:
            raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, not {distance!r}")
        distances = np.full((len(points), len(self._members)), np.inf)
        items = np.full(distances.shape, -1, dtype=np.int64)
        with torch.inference_mode():
            for category in np.flatnonzero(feasible & (self.counts > 0)).tolist():
                members = self._members[category]
                vectors = self.vectors[members]
                for start in range(0, len(points), _ROWS):
                    rows = slice(start, start + _ROWS)
                    pairs = _pairwise(points[rows], vectors, distance)
                    value, place = pairs.min(dim=1).values, pairs.argmin(dim=1)  # argmin: the first of equal ones
                    distances[rows, category] = value.double().cpu().numpy()
                    items[rows, category] = members[place].cpu().numpy()
        return distances, items


def project(
    points: Tensor, space: ItemSpace, feasible: NDArray[np.bool_], distance: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    r"""The exact minimiser of :math:`\sum_i \rho(\tilde X_i, X_i)` over items of different, allowed categories.

    Within a category only its nearest item can be best for a point, so choosing items is assigning points to categories
    (Kuhn–Munkres).

    Args:
        points: free embeddings, shape ``[B, k, d]``.
        feasible: categories that each point may take, bool, shape ``[B, k, C]``; there must be an assignment.
        distance: ``l1``, ``l2``, ``l10`` or ``cosine``.

    Returns:
        Catalogue positions and the distance of every point to its item, both of shape ``[B, k]``.

    Raises:
        ValueError: if a point is not finite.
    """
    batch, k, _ = points.shape
    if not torch.isfinite(points).all():
        raise ValueError("a free embedding is not finite; the weights of S or the item embeddings are damaged")
    asked = np.asarray(feasible.any(axis=(0, 1)))
    nearest, items = space.nearest_of_each_category(points.flatten(0, 1), asked, distance)
    nearest, items = nearest.reshape(batch, k, -1), items.reshape(batch, k, -1)
    chosen = np.empty((batch, k), dtype=np.int64)
    for row in range(batch):
        chosen[row] = assign_to_categories(-nearest[row], items[row], feasible[row])
    return chosen, np.take_along_axis(nearest, space.categories[chosen][:, :, None], axis=2)[:, :, 0]


def _pairwise(points: Tensor, vectors: Tensor, distance: str) -> Tensor:
    """Distances ``[m, n]`` of points ``[m, d]`` and items ``[n, d]``."""
    if distance == "cosine":
        points, vectors = torch.nn.functional.normalize(points, dim=1), torch.nn.functional.normalize(vectors, dim=1)
    pairs = torch.cdist(points, vectors, p=DISTANCES[distance], compute_mode="donot_use_mm_for_euclid_dist")
    if distance != "cosine":
        return pairs
    # |u - v|² = 2 (1 - cos); a zero vector, of an item without any part, has cosine 0 with everything
    zero = ~(points.any(dim=1)[:, None] & vectors.any(dim=1)[None])
    return torch.where(zero, 1.0, pairs.square() / 2)
