"""Sets up and loads every split of every task."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, Dataset

from outfits.errors import DataError
from outfits.graphs.sampling import FixedBatches, SeededShuffle

SPLITS_OF_STAGE = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",)}
EVALUATION_BATCHES = 64  # at least, where there are as many samples, so that every rank has work


class OutfitLoaders(L.LightningDataModule):
    """Loads samples in an order that depends on the seed alone, without repeating or losing an evaluation sample.

    The samples of a split are made once, in :meth:`setup`; without a trainer call that first. Checkpoints hold the
    arguments below and none of the data.

    Args:
        batch_size: samples per batch and rank.
        num_workers: loader processes per rank.
        seed: seed of the training order.

    Attributes:
        samples: the samples of every split that was set up.
        collate: makes a batch of samples.
        samples_are: name of a sample in messages.
    """

    collate: Callable[[Sequence[Any]], Any]
    samples_are = "outfit"

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        self.save_hyperparameters("batch_size", "num_workers", "seed", logger=False)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.samples: dict[str, Dataset[Any]] = {}

    def make_samples(self, split: str) -> Dataset[Any]:
        """Makes the samples of ``train``, ``valid`` or ``test``; every data module implements it."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Makes the samples that ``fit``, ``validate`` or ``test`` needs."""
        for split in SPLITS_OF_STAGE.get(stage, ()):
            if split not in self.samples:
                self.samples[split] = self.make_samples(split)

    def train_dataloader(self) -> DataLoader[Any]:
        """Loads training batches, shuffled."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """Loads validation batches, in order."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[Any]:
        """Loads test batches, in order."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Any]:
        """Loads one split; raises DataError if it has no sample, or too few for the ranks."""
        samples = self.samples[split]
        size: int = len(samples)  # type: ignore[arg-type]
        if size == 0:
            raise DataError(
                f"the {split} split has no usable {self.samples_are}; check data.split.shares, data.limit and model.k"
            )
        ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batch_size = self.batch_size if split == "train" else min(self.batch_size, -(-size // EVALUATION_BATCHES))
        order: SeededShuffle | FixedBatches
        if split == "train":
            order, shares = SeededShuffle(size, self.seed, *ranks), size
        else:
            order, shares = FixedBatches(size, batch_size, *ranks), -(-size // batch_size)
        if shares < ranks[1]:  # raised by every rank, so that none waits for another
            raise DataError(
                f"{size} x {split} {self.samples_are} cannot be shared among {ranks[1]} ranks; use fewer devices"
            )
        return DataLoader(
            samples,
            batch_size=batch_size,
            sampler=order,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
