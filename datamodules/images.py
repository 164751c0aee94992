"""Batches of images for training a representation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from datamodules.base import OutfitLoaders
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages
from outfits.representations.batch import ImageBatch


class ItemPositions(Dataset[int]):
    """Catalogue positions as samples: an image is fetched when its batch is made.

    Args:
        positions: catalogue positions, shape ``[n]``.
    """

    def __init__(self, positions: NDArray[np.int64]) -> None:
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int | tuple[int, int]) -> int:
        _, position = index if isinstance(index, tuple) else (0, index)
        return int(self.positions[position])


@dataclass(frozen=True)
class CollateImages:
    """Fetches images, categories and texts of a batch's items.

    Attributes:
        images: of the whole catalogue.
        categories: of every item, shape ``[N]``.
        texts: frozen text embeddings, shape ``[N, t]``; t may be 0.
        text_ids: equal numbers for equal texts, shape ``[N]``.
    """

    images: PackedImages
    categories: NDArray[np.int32]
    texts: NDArray[np.float32]
    text_ids: NDArray[np.int64]

    def __call__(self, samples: Sequence[int]) -> ImageBatch:
        """The batch of these catalogue positions."""
        rows = np.asarray(samples)
        maps = image_tensor(self.images.pixels[rows])
        return ImageBatch(
            images=maps[:, :3],
            foreground=maps[:, 3:],
            categories=torch.from_numpy(self.categories[rows].astype(np.int64)),
            texts=torch.from_numpy(np.array(self.texts[rows])),
            text_ids=torch.from_numpy(self.text_ids[rows]),
        )


class ImageDataModule(OutfitLoaders):
    """Images of the items to learn from, and of others to watch the loss on.

    Args:
        collate: makes batches.
        train: catalogue positions of the training items.
        valid: catalogue positions of the validation items.
        batch_size: images per batch and rank.
        num_workers: loader processes per rank.
        seed: seed of the training order.
    """

    samples_are = "item with an image"

    def __init__(
        self,
        collate: CollateImages,
        train: NDArray[np.int64],
        valid: NDArray[np.int64],
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.collate = collate
        self.train = ItemPositions(train)
        self.valid = ItemPositions(valid)

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """Training batches."""
        return self.loader(self.train, "train", self.collate)

    def val_dataloader(self) -> DataLoader[ImageBatch]:
        """Validation batches, in order."""
        return self.loader(self.valid, "valid", self.collate)
