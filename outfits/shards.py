"""Cuts long work into shards, with one whole file per shard, so that a kill loses at most the unfinished shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.errors import ArtifactError
from outfits.storage import Arrays, read_arrays, write_arrays

ShardWork = Callable[[torch.device], Callable[[Any], object]]
"""Moves models to a device; returns a function that computes and writes a shard, given its number or its input."""


class ShardStore:
    """Stores arrays about many rows (tasks or items) in a folder, one file per shard of rows.

    Files are written atomically, so several processes may write different shards at once; one that nevertheless cannot
    be read or does not fit is pending again. A shard holds the same rows on every rank, so results depend neither on
    the number of ranks nor on interruptions.

    Args:
        folder: folder of the files.
        rows: number of rows.
        shard_size: rows per shard.
        what: the contents in messages.
        counted: name of an array with one entry per row, whose length shows that a file fits.

    Attributes:
        sink: takes a finished shard instead of the folder, in a process that does not share it; None: the folder does.
    """

    def __init__(self, folder: Path, rows: int, shard_size: int, what: str, counted: str = "") -> None:
        if rows < 1 or shard_size < 1:
            raise ValueError(f"the numbers of rows and of rows per shard must be positive, not {rows} and {shard_size}")
        self.folder = folder
        self.rows = rows
        self.shard_size = shard_size
        self.what = what
        self.counted = counted
        self.sink: Callable[[int, Arrays], object] | None = None

    def __len__(self) -> int:
        """Counts the shards."""
        return -(-self.rows // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Returns the first row of a shard and the one after its last."""
        if not 0 <= shard < len(self):
            raise ValueError(f"shard {shard} is not one of {len(self)}")
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.rows)

    def rows_of(self, shard: int) -> NDArray[np.int64]:
        """Lists the rows of a shard, ascending."""
        return np.arange(*self.bounds(shard), dtype=np.int64)

    def path(self, shard: int) -> Path:
        """Names the file of a shard."""
        return self.folder / f"shard-{shard:06d}.npz"

    def fits(self, shard: int, arrays: Arrays) -> bool:
        """Returns whether a file's arrays are those of the shard."""
        return len(arrays.get(self.counted, ())) == len(self.rows_of(shard))

    def pending(self) -> list[int]:
        """Lists the shards whose file is missing, damaged or of something else."""
        return [shard for shard in range(len(self)) if self.read(shard) is None]

    def read(self, shard: int) -> Arrays | None:
        """Reads the arrays of a shard; None if it is pending."""
        arrays = read_arrays(self.path(shard))
        return arrays if arrays is not None and self.fits(shard, arrays) else None

    def read_all(self) -> list[Arrays]:
        """Reads the arrays of every shard; raises ArtifactError if one is pending."""
        parts = [part for part in map(self.read, range(len(self))) if part is not None]
        if len(parts) < len(self):
            raise ArtifactError(
                f"{self.what} in {self.folder}: {len(self) - len(parts)} of {len(self)} shards are missing or damaged; "
                "start the run again, it makes only what is missing"
            )
        return parts

    def write(self, shard: int, arrays: Arrays) -> None:
        """Writes a shard's file, atomically, or hands the shard to :attr:`sink`."""
        if self.sink is None:
            write_arrays(self.path(shard), arrays)
        else:
            self.sink(shard, arrays)

    def name(self, shard: int) -> str:
        """Names a shard by its folder and file, for a store of many folders; the folder's name tells its content."""
        return f"{self.folder.parent.name}/{self.folder.name}/{self.path(shard).name}"
