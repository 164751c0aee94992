"""Batches views of items with pyramids of the same and of other items, for training GRNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import OutfitLoaders
from outfits.config.schema.parts import PartsConfig
from outfits.encoders.view_pyramids import ViewPyramids
from outfits.models.pyramid_similarity import global_vectors

STREAM = 33  # first number of the seeds of what is drawn for a view
POOL = 3  # near items are drawn from so many times as many nearest ones
ROWS_AT_ONCE = 1024  # items that are compared with all others at once


@dataclass(frozen=True)
class PartsBatch:
    """Holds ``B`` views and what each is compared with.

    Attributes:
        views: pyramids, shape ``[B, R, d]``.
        others: pyramids of items, shape ``[B, c, R, d]``; those of the batch, then near ones.
        same: which of them show the view's item, bool, shape ``[B, c]``.
    """

    views: Tensor
    others: Tensor
    same: Tensor

    def to(self, device: torch.device | str) -> "PartsBatch":
        """Moves the batch to another device (called by Lightning)."""
        return PartsBatch(self.views.to(device), self.others.to(device), self.same.to(device))


class TrainingViews(Dataset[Any]):
    """Views of training items, each with near items, whose draw depends on the seed, the epoch and the view alone."""

    def __init__(self, views: ViewPyramids, categories: NDArray[np.integer], config: PartsConfig, seed: int) -> None:
        self.rows = views.plan.view_rows("train")
        items, gallery = views.gallery("train")
        self.items = np.searchsorted(items, views.plan.items[self.rows])  # places in the gallery
        self.near = nearest_alike(global_vectors(gallery), categories[items], POOL * config.near)
        self.count, self.seed = config.near, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: tuple[int, int]) -> tuple[int, int, NDArray[np.int64]]:
        epoch, position = place
        rng = np.random.default_rng([self.seed, STREAM, epoch, position])
        item, pool = int(self.items[position]), self.near[self.items[position]]
        chosen = pool[rng.permutation(len(pool))[: self.count]]
        return int(self.rows[position]), item, chosen


class ValidationViews(Dataset[tuple[str, int]]):
    """Kinds of views, and queries by number."""

    def __init__(self, views: ViewPyramids) -> None:
        self.places = [(kind, row) for kind, (items, _) in views.queries("valid").items() for row in range(len(items))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> tuple[str, int]:
        return self.places[position]


def nearest_alike(vectors: NDArray[np.float32], categories: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Nearest other items by cosine, ``[m, count]``, those of the same category first."""
    count = max(0, min(count, len(vectors) - 1))
    if not count:
        return np.empty((len(vectors), 0), dtype=np.int64)
    found = np.empty((len(vectors), count), dtype=np.int64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(vectors)))
        distance = -(vectors[rows] @ vectors.T + 4.0 * (categories[rows, None] == categories[None]))
        distance[np.arange(len(rows)), rows] = np.inf
        near = np.sort(np.argpartition(distance, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(distance, near, axis=1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(near, order, axis=1)
    return found


class PartsDataModule(OutfitLoaders):
    """Loads views with what they are compared with, in validation queries.

    ``categories`` are those of the catalogue's items; ``seed`` is that of order and draws.
    """

    samples_are = "view of an item"

    def __init__(
        self,
        views: ViewPyramids,
        categories: NDArray[np.integer],
        config: PartsConfig,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(config.batch_size, num_workers, seed)
        self.views = views
        self.categories = categories
        self.config = config
        self.pyramids = torch.from_numpy(views.pyramids)
        self.gallery = torch.from_numpy(views.gallery("train")[1])

    def make_samples(self, split: str) -> TrainingViews | ValidationViews:
        """Makes the views of training, or the queries of validation."""
        if split == "train":
            return TrainingViews(self.views, self.categories, self.config, self.seed)
        return ValidationViews(self.views)

    def collate(self, samples: Sequence[Any]) -> PartsBatch | list[tuple[str, int]]:
        """Batches views, or queries."""
        if isinstance(samples[0][0], str):
            return list(samples)
        rows, items, near = zip(*samples, strict=True)
        own = np.array(items)
        others = np.concatenate([np.tile(own, (len(own), 1)), np.stack(near)], axis=1)  # [B, c]
        return PartsBatch(
            self.pyramids[list(rows)], self.gallery[torch.from_numpy(others)], torch.from_numpy(others == own[:, None])
        )
