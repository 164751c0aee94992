"""Samplers whose order depends on seed and epoch alone, and which neither repeat nor lose an evaluation sample."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class SeededShuffle(Sampler[tuple[int, int]]):
    """Training order: a permutation seeded by (seed, epoch), dealt to the ranks in equal shares.

    Yields ``(epoch, position)`` pairs, so that a dataset can draw its randomness from the epoch in whichever worker
    process it runs. Lightning calls :meth:`set_epoch`; a resumed run therefore sees what an uninterrupted one would.

    Args:
        size: number of samples.
        seed: seed of the order.
        rank: this process.
        world_size: number of processes; at most ``world_size - 1`` samples sit an epoch out, others in every epoch.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.size = size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch's order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for position in order[self.rank : len(self) * self.world_size : self.world_size]:
            yield self.epoch, int(position)


class RankShare(Sampler[int]):
    """Evaluation order: every ``world_size``-th sample from ``rank`` on, none repeated to even out the ranks.

    Args:
        size: number of samples.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, size: int, rank: int = 0, world_size: int = 1) -> None:
        self.share = range(rank, size, world_size)

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)
