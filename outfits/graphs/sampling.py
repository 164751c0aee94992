"""Samplers whose order depends on seed and epoch alone, without repeated or lost evaluation samples."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler


class SeededShuffle(DistributedSampler[tuple[int, int]]):
    """Training order: a permutation seeded by (seed, epoch), distributed to the ranks in equal shares.

    Yields ``(epoch, position)`` pairs, so that a dataset can draw its randomness from the epoch in any worker process.
    Lightning calls :meth:`set_epoch`, so a resumed run sees the order of an uninterrupted one. The base class stops
    Lightning from distributing the samples to the ranks once more. At most ``world_size - 1`` samples are left out of
    an epoch, others in every epoch.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(range(size), world_size, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset))  # type: ignore[arg-type]
        for position in order[self.rank : self.total_size : self.num_replicas]:
            yield self.epoch, int(position)


class FixedBatches(DistributedSampler[int]):
    """Evaluation order: whole batches of consecutive samples, distributed to the ranks in turn.

    A loader with the same ``batch_size`` makes the same batches on any number of ranks, and repeats none to even out
    the ranks.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(range(size), world_size, rank, shuffle=False)  # type: ignore[arg-type]
        starts = range(0, size, batch_size)[rank::world_size]
        self.share = [position for start in starts for position in range(start, min(start + batch_size, size))]

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)
