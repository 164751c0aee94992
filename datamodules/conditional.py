"""Batches images with what they are to be drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images import DistinctImageDataModule
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
    """Loads every different image once, with its mask and its item's conditions.

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
        self.collate = self.batch

    def batch(self, samples: Sequence[int]) -> ConditionedBatch:
        """Batches these catalogue positions."""
        rows = np.asarray(samples)
        maps = image_tensor(self.images.pixels[rows])
        return ConditionedBatch(maps[:, :3], maps[:, 3:], torch.from_numpy(np.array(self.conditions[rows])))
