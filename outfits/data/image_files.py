"""Image files by their paths, also inside Parquet files and tars, which are addressed as if they were folders.

``FILE.parquet/COLUMN/ROW`` is the image in a row of a column of bytes, or of structures with a field ``bytes`` as the
``datasets`` library writes them; ``FILE.tar/MEMBER`` is a member of a tar. Files are memory-mapped. Of Parquet, whole
row groups are decoded; the last ones stay in memory, so that reading images in the order of their rows decodes each
group once.
"""

import mmap
import tarfile
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import compute, parquet

from outfits.errors import DataError, one_line

PARQUET = (".parquet", ".pq")
TAR = ".tar"
CONTAINERS = (*PARQUET, TAR)
KEPT_BYTES = 256 * 2**20
"""Decoded row groups that a process keeps, but at least the last two: threads read across the end of one; bytes."""


def image_exists(path: Path) -> bool:
    """Tells whether there is a file, a member of a tar, or a row of a Parquet file with bytes."""
    place = _inside(path)
    if place is None:
        return path.is_file()
    file, member = place
    return _tar(file).has(member) if file.suffix.lower() == TAR else _parquet(file).has(member)


def image_content(path: Path) -> bytes:
    """Reads the bytes of an image.

    Raises:
        FileNotFoundError: if there is no such file, member or row.
    """
    place = _inside(path)
    if place is None:
        return path.read_bytes()
    file, member = place
    content = _tar(file).read(member) if file.suffix.lower() == TAR else _parquet(file).read(member)
    if content is None:
        raise FileNotFoundError(f"{file} has no image {member}")
    return content


def is_inside(path: Path) -> bool:
    """Tells whether a path leads into a Parquet file or a tar."""
    return _inside(path) is not None


def parquet_place(file: Path, column: str, row: int) -> Path:
    """Returns the path of the image in a row of a column."""
    return file / column / str(row)


def reading_order(path: Path | None) -> tuple[str, int]:
    """Sorts images into the order in which they are read fastest: by file, then by row; other images stay in front."""
    place = None if path is None else _inside(path)
    if place is None:
        return "", 0
    row = place[1].rpartition("/")[2]
    return str(place[0]), int(row) if row.isdigit() and place[0].suffix.lower() in PARQUET else 0


def tar_members(file: Path) -> list[str]:
    """Lists the names of a tar's files, in its order; raises :class:`DataError` if it is no uncompressed tar."""
    return list(_tar(file).places)


def open_parquet(file: Path) -> parquet.ParquetFile:
    """Opens a Parquet file, memory-mapped; raises :class:`DataError` if it cannot be read."""
    try:
        return parquet.ParquetFile(file, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable Parquet file ({one_line(error, 160)}); fetch it again") from None


def _inside(path: Path) -> tuple[Path, str] | None:
    """The file that a path leads into and the rest of the path; None for a path of folders alone."""
    for parent in path.parents:
        if parent.suffix.lower() in CONTAINERS and _is_file(parent):
            return parent, path.relative_to(parent).as_posix()
    return None


@lru_cache(maxsize=4096)
def _is_file(path: Path) -> bool:
    return path.is_file()


class _Groups:
    """Decoded columns of row groups of a process's Parquet files, the last ones kept."""

    def __init__(self) -> None:
        self.loads = 0
        self._kept: OrderedDict[tuple[Path, str, int], pyarrow.ChunkedArray] = OrderedDict()
        self._lock = Lock()

    def column(self, opened: "_Parquet", name: str, group: int) -> pyarrow.ChunkedArray:
        key = opened.path, name, group
        with self._lock:
            if key not in self._kept:
                self._kept[key] = opened.decode(name, group)
                self.loads += 1
                while len(self._kept) > 2 and sum(column.nbytes for column in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


GROUPS = _Groups()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_parquet(path)
        metadata = self.file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._filled: dict[tuple[str, int], NDArray[np.bool_] | None] = {}

    def has(self, member: str) -> bool:
        column, _, row = member.rpartition("/")
        if column not in self.file.schema_arrow.names or not row.isdigit() or int(row) >= self.starts[-1]:
            return False
        group, place = self._place(int(row))
        filled = self._rows_with_bytes(column, group)
        return filled is None or bool(filled[place])

    def _place(self, row: int) -> tuple[int, int]:
        """The row group of a row, and its place in it."""
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        return group, row - int(self.starts[group])

    def _rows_with_bytes(self, name: str, group: int) -> NDArray[np.bool_] | None:
        """Which rows of a group have bytes; None: all of them. Decodes the group only where the file does not say."""
        key = name, group
        if key not in self._filled:
            if self._nulls(name, group) == 0:
                self._filled[key] = None
            else:
                column = GROUPS.column(self, name, group)
                nested = pyarrow.types.is_struct(column.type)
                content = compute.struct_field(column, "bytes") if nested else column
                self._filled[key] = content.is_valid().to_numpy()
        return self._filled[key]

    def _nulls(self, name: str, group: int) -> int | None:
        """How many rows of a group have no bytes; None where the file does not say."""
        stored = self.file.metadata.row_group(group)
        for number in range(stored.num_columns):
            column = stored.column(number)
            if column.path_in_schema in (name, f"{name}.bytes"):
                facts = column.statistics
                return facts.null_count if facts is not None and facts.has_null_count else None
        return None

    def decode(self, name: str, group: int) -> pyarrow.ChunkedArray:
        try:
            nested = pyarrow.types.is_struct(self.file.schema_arrow.field(name).type)
            return self.file.read_row_group(group, columns=[f"{name}.bytes" if nested else name]).column(0)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{self.path}: row group {group} of column {name!r} cannot be read ({one_line(error, 160)}); fetch the "
                "file again"
            ) from None

    def read(self, member: str) -> bytes | None:
        if not self.has(member):
            return None
        column, _, row = member.rpartition("/")
        group, place = self._place(int(row))
        value = GROUPS.column(self, column, group)[place].as_py()
        return value.get("bytes") if isinstance(value, dict) else value


class _Tar:
    def __init__(self, path: Path) -> None:
        try:
            with tarfile.open(path, "r:") as tar:
                files = [member for member in tar if member.isfile()]
        except (tarfile.TarError, OSError) as error:
            raise DataError(
                f"{path} is no uncompressed tar ({one_line(error, 160)}); unpack a compressed one, or fetch it again"
            ) from None
        self.places = {member.name.removeprefix("./"): (member.offset_data, member.size) for member in files}
        with path.open("rb") as file:
            self.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def has(self, member: str) -> bool:
        return member in self.places

    def read(self, member: str) -> bytes | None:
        if member not in self.places:
            return None
        start, size = self.places[member]
        return self.content[start : start + size]


@lru_cache(maxsize=1024)
def _parquet(path: Path) -> _Parquet:
    return _Parquet(path)


@lru_cache(maxsize=1024)
def _tar(path: Path) -> _Tar:
    return _Tar(path)
