"""Arrays about tasks in a folder, one whole file per shard."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.errors import ArtifactError
from outfits.storage import Arrays, read_arrays, write_arrays


class ShardFiles:
    """Files of a piece of work on tasks that is cut into shards.

    Args:
        folder: where they lie.
        tasks: number of tasks.
        shard_size: tasks per shard.
        counted: name of an array with one row per task, by which a file is known to be sound.
        what: the files in messages.
    """

    def __init__(self, folder: Path, tasks: int, shard_size: int, counted: str, what: str) -> None:
        self.folder = folder
        self.tasks = tasks
        self.shard_size = shard_size
        self.counted = counted
        self.what = what
        self.shards = -(-tasks // shard_size)

    def rows(self, shard: int) -> NDArray[np.int64]:
        """Positions of a shard's tasks."""
        return np.arange(shard * self.shard_size, min((shard + 1) * self.shard_size, self.tasks), dtype=np.int64)

    def pending(self) -> list[int]:
        """Shards whose file is missing or damaged."""
        return [shard for shard in range(self.shards) if self._read(shard) is None]

    def write(self, shard: int, arrays: Arrays) -> None:
        """Writes a shard's file, atomically."""
        write_arrays(self._path(shard), arrays)

    def all(self) -> list[Arrays]:
        """The arrays of every shard.

        Raises:
            ArtifactError: if a shard is missing.
        """
        parts = [part for part in map(self._read, range(self.shards)) if part is not None]
        if len(parts) < self.shards:
            raise ArtifactError(
                f"{self.what} in {self.folder}: {self.shards - len(parts)} of {self.shards} shards are missing or "
                "damaged; run train.py with stages=[targets] to make them"
            )
        return parts

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.npz"

    def _read(self, shard: int) -> Arrays | None:
        arrays = read_arrays(self._path(shard))
        return arrays if arrays is not None and len(arrays.get(self.counted, ())) == len(self.rows(shard)) else None
