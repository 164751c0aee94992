"""Batches images with what they are to be drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images import DistinctImageDataModule, ItemPositions
from outfits.data.dataset import OutfitDataset
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages


@dataclass(frozen=True)
class ConditionedBatch:
    """Holds images ``[B, 3, S, S]``, masks ``[B, 1, S, S]``, both in [0, 1], and conditions ``[B, d]``."""

    images: Tensor
    masks: Tensor
    conditions: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ConditionedBatch":
        """Moves the batch to another device (Lightning calls it)."""
        return replace(
            self,
            images=self.images.to(device),
            masks=self.masks.to(device),
            conditions=self.conditions.to(device),
        )


class ConditionedImageDataModule(DistinctImageDataModule):
    """Loads every different image with its mask and its item's conditions, and in training with further ones.

    Args:
        dataset: the data set.
        images: prepared images of its catalogue; their foreground is the mask.
        conditions: of every item, shape ``[N, d]``.
        batch_size, num_workers, seed, split_seed: as of :class:`DistinctImageDataModule`.
    """

    def __init__(
        self,
        dataset: OutfitDataset,
        images: PackedImages,
        conditions: NDArray[np.float32],
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            dataset, images, batch_size=batch_size, num_workers=num_workers, seed=seed, split_seed=split_seed
        )
        self.conditions = conditions
        self.shown_items = np.arange(len(conditions))
        self.collate = self.batch

    def add_conditions(self, conditions: NDArray[np.float32], items: NDArray[np.int64]) -> None:
        """Adds conditions ``[m, d]`` under which images of items ``[m]`` are to be drawn.

        They are trained on where the image is one of training, once each and epoch.
        """
        self.conditions = np.concatenate([self.conditions, conditions])
        self.shown_items = np.concatenate([self.shown_items, items])

    def make_samples(self, split: str) -> ItemPositions:
        """Lists the rows of ``conditions`` of a split; raises DataError if images are too few."""
        rows = self.items[split]
        if split == "train":
            added = np.arange(len(self.copies), len(self.conditions))
            learned = np.isin(self.copies[self.shown_items[added]], self.copies[rows])
            rows = np.concatenate([rows, added[learned]])
        return ItemPositions(rows)

    def batch(self, samples: Sequence[int]) -> ConditionedBatch:
        """Batches these rows of ``conditions``."""
        rows = np.asarray(samples)
        maps = image_tensor(self.images.pixels[self.shown_items[rows]])
        return ConditionedBatch(maps[:, :3], maps[:, 3:], torch.from_numpy(self.conditions[rows]))
