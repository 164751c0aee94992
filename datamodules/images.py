"""Batches images for training models of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from datamodules.base import OutfitLoaders
from outfits.data.dataset import OutfitDataset
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages, first_copies
from outfits.errors import DataError
from outfits.representations.batch import ImageBatch

HELD_OUT = 0.05  # of the training items, where all items are in training outfits
FEWEST_HELD_OUT = 16


class ItemPositions(Dataset[int]):
    """Holds catalogue positions, or rows of conditions, ``[n]`` as samples; images are fetched for a batch."""

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
        """Batches these catalogue positions."""
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
    """Loads images of the items of training outfits for training, and of other items for validation.

    Where too few other items have an image, some of the training items are held out.

    Args:
        dataset: the data set; embeddings are not needed.
        images: prepared images of its catalogue, see :func:`outfits.encoders.packed.pack_images`.
        texts: frozen text embeddings, shape ``[N, t]``, for a model that is trained on them; None: images alone.
        split_seed: seed of the items that are held out.
    """

    samples_are = "item with an image"

    def __init__(
        self,
        dataset: OutfitDataset,
        images: PackedImages,
        texts: NDArray[np.float32] | None = None,
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        catalogue = dataset.catalogue
        self.learned_items = dataset.outfits.of("train").items
        self.split_seed = split_seed
        _, text_ids = np.unique(np.array(catalogue.texts), return_inverse=True)
        self.images = images
        self.texts = np.zeros((len(catalogue), 0), dtype=np.float32) if texts is None else texts
        self.collate = CollateImages(images, catalogue.categories, self.texts, text_ids.astype(np.int64))

    def make_samples(self, split: str) -> ItemPositions:
        """Lists the catalogue positions of a split; raises DataError if there are fewer than two training items."""
        return ItemPositions(self.items[split])

    @cached_property
    def items(self) -> dict[str, NDArray[np.int64]]:
        """Catalogue positions of the training and of the validation items, by split."""
        usable = self.images.present & self.texts.any(axis=1) if self.texts.shape[1] else self.images.present
        learned = np.zeros(len(usable), dtype=np.bool_)
        learned[self.learned_items] = True
        train, valid = np.flatnonzero(learned & usable), np.flatnonzero(~learned & usable)
        if len(valid) < FEWEST_HELD_OUT:
            rng = np.random.default_rng([self.split_seed, len(train)])
            held = rng.choice(train, max(1, round(HELD_OUT * len(train))), replace=False) if len(train) else train
            train, valid = np.setdiff1d(train, held), np.union1d(valid, held)
        if len(train) < 2:
            raise DataError(
                f"{len(train)} item(s) of training outfits have a usable image"
                f"{' and text' if self.texts.shape[1] else ''}; a representation needs at least 2"
            )
        return {"train": train, "valid": valid}


class DistinctImageDataModule(ImageDataModule):
    """Loads every different image once, for models that make images, with test images that no training saw.

    Images of training outfits' items train. The others, of which none equals a training image in every pixel, are
    halved at random into validation and test; where they are too few, some of the training images are held out.
    """

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """The first item with the same image, of every item, shape ``[N]``; -1 without an image."""
        return first_copies(self.images)

    @cached_property
    def items(self) -> dict[str, NDArray[np.int64]]:
        """Catalogue positions of the items, by split: one for each different image."""
        distinct = np.unique(self.copies[self.copies >= 0])
        train = np.intersect1d(distinct, self.copies[self.learned_items])
        held = np.setdiff1d(distinct, train)
        rng = np.random.default_rng([self.split_seed, len(train)])
        if len(held) < 2 * FEWEST_HELD_OUT and len(train):
            more = min(len(train), max(4, round(2 * HELD_OUT * len(train))))
            held = np.union1d(held, rng.choice(train, more, replace=False))
            train = np.setdiff1d(train, held)
        if len(train) < 2 or len(held) < 4:  # of two test images a distance of sets can be computed
            raise DataError(f"{len(distinct)} different image(s) are too few: 2 train and 4 are held out")
        valid, test = np.array_split(rng.permutation(held), 2)
        return {"train": train, "valid": np.sort(valid), "test": np.sort(test)}
