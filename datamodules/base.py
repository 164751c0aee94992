"""One loader factory for every split and task."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, Dataset, Sampler

from outfits.errors import DataError
from outfits.graphs.sampling import RankShare, SeededShuffle

# Evaluation is cut into at least so many batches, where there are as many samples, so that every rank has work.
EVALUATION_BATCHES = 64


class FixedBatches(Sampler[list[int]]):
    """Evaluation batches of consecutive samples, dealt whole to the ranks: a batch is the same on any number of ranks.

    Args:
        size: number of samples.
        batch_size: samples per batch.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, size: int, batch_size: int, rank: int, world_size: int) -> None:
        self.batches = [list(range(start, min(start + batch_size, size))) for start in range(0, size, batch_size)]
        self.share = RankShare(len(self.batches), rank, world_size)

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Any:
        return (self.batches[position] for position in self.share)


class OutfitLoaders(L.LightningDataModule):
    """Loaders whose order depends on the seed alone and which neither repeat nor lose an evaluation sample.

    Args:
        batch_size: samples per batch and rank.
        num_workers: loader processes per rank.
        seed: seed of the training order.

    Attributes:
        samples_are: what messages call a sample.
    """

    samples_are = "outfit"

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    def loader(self, samples: Dataset[Any], split: str, collate: Callable[[Sequence[Any]], Any]) -> DataLoader[Any]:
        """A loader over one split; ``train`` is shuffled, every other split is in order.

        Raises:
            DataError: if the split has no sample, by name.
        """
        size = len(samples)  # type: ignore[arg-type]
        if size == 0:
            raise DataError(
                f"the {split} split has no usable {self.samples_are}; check data.split.shares, data.limit and model.k"
            )
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        options: dict[str, Any] = {
            "collate_fn": collate,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
        }
        if split != "train":
            batches = FixedBatches(size, min(self.batch_size, -(-size // EVALUATION_BATCHES)), rank, world_size)
            if len(batches.batches) < world_size:  # said by every rank, so that none waits for another
                raise DataError(f"{size} {split} outfits cannot be shared among {world_size} ranks; use fewer devices")
            return DataLoader(samples, batch_sampler=batches, **options)
        order = SeededShuffle(size, self.seed, rank, world_size)
        if len(order) == 0:
            raise DataError(f"{size} training outfits cannot be shared among {world_size} ranks; use fewer devices")
        return DataLoader(samples, sampler=order, batch_size=self.batch_size, **options)
