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

    An image is loaded once for its item's own conditions, and in training once for each of the further conditions of
    items with that image.

    Args:
        dataset: the data set.
        images: prepared images of its catalogue; their foreground is the mask.
        conditions: of every item, shape ``[N, d]``.
        further: further conditions, shape ``[m, d]``, and the catalogue positions of their items, ``[m]``.
        batch_size, num_workers, seed, split_seed: as of :class:`DistinctImageDataModule`.
    """

    def __init__(
        self,
        dataset: OutfitDataset,
        images: PackedImages,
        conditions: NDArray[np.float32],
        *,
        further: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            dataset, images, batch_size=batch_size, num_workers=num_workers, seed=seed, split_seed=split_seed
        )
        own = np.arange(len(conditions))
        more, items = further or (conditions[:0], own[:0])
        self.conditions = np.concatenate([conditions, more])
        self.drawn_items = np.concatenate([own, items])
        self.collate = self.batch

    def make_samples(self, split: str) -> ItemPositions:
        """Lists the rows of ``conditions`` of a split; raises DataError if images are too few."""
        rows = self.items[split]
        if split == "train":
            shown = np.isin(self.copies[self.drawn_items], self.copies[rows])
            shown[: len(self.copies)] = False
            rows = np.concatenate([rows, np.flatnonzero(shown)])
        return ItemPositions(rows)

    def batch(self, samples: Sequence[int]) -> ConditionedBatch:
        """Batches these rows of ``conditions``."""
        rows = np.asarray(samples)
        maps = image_tensor(self.images.pixels[self.drawn_items[rows]])
        return ConditionedBatch(maps[:, :3], maps[:, 3:], torch.from_numpy(self.conditions[rows]))
