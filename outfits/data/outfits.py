"""Outfits as ragged lists of catalogue positions, with the split of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outfits.errors import DataError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Outfits:
    """Outfits by position, each a set of catalogue positions.

    Attributes:
        outfit_ids: the data set's own names of the outfits, unique.
        items: int32, shape ``[Σ n_i]``, catalogue positions of all outfits one after the other.
        offsets: int64, shape ``[len + 1]``; outfit ``i`` is ``items[offsets[i]:offsets[i + 1]]``.
        split: int8, shape ``[len]``, positions in :data:`SPLITS`.
        scores: given scores in [0, 1], float32, shape ``[len]``; None where outfits are only real or not.
    """

    outfit_ids: Sequence[str]
    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    split: NDArray[np.int8]
    scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.outfit_ids) + 1 or len(self.split) != len(self.outfit_ids):
            raise ValueError("outfit_ids, offsets and split differ in length")
        if self.scores is not None and len(self.scores) != len(self.outfit_ids):
            raise ValueError(f"{len(self.scores)} scores of {len(self.outfit_ids)} outfits")

    @classmethod
    def from_lists(
        cls,
        outfit_ids: Sequence[str],
        outfits: Sequence[Sequence[int]],
        split: Sequence[int] | NDArray[np.int8],
        scores: NDArray[np.float32] | None = None,
    ) -> "Outfits":
        """Packs lists of catalogue positions."""
        offsets = np.concatenate([[0], np.cumsum([len(outfit) for outfit in outfits], dtype=np.int64)]).astype(np.int64)
        items = np.fromiter((item for outfit in outfits for item in outfit), dtype=np.int32, count=int(offsets[-1]))
        return cls(list(outfit_ids), items, offsets, np.asarray(split, dtype=np.int8), scores)

    def __len__(self) -> int:
        return len(self.outfit_ids)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.items[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of items of every outfit, shape ``[len]``."""
        return np.diff(self.offsets)

    def take(self, positions: NDArray[np.int64] | Sequence[int]) -> "Outfits":
        """Selects the outfits at these positions, in this order."""
        positions = np.asarray(positions, dtype=np.int64)
        return Outfits.from_lists(
            [self.outfit_ids[position] for position in positions],
            [self[int(position)].tolist() for position in positions],
            self.split[positions],
            None if self.scores is None else self.scores[positions],
        )

    def of(self, split: str) -> "Outfits":
        """Selects the outfits of one split; DataError if it is empty."""
        chosen = np.flatnonzero(self.split == SPLITS.index(split))
        if not len(chosen):
            raise DataError(f"the {split} split has no outfit; set data.split.shares or data.split.mode so that it has")
        return self.take(chosen)
