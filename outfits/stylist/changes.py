"""Items that join and leave a run's catalogue while it is in use.

They lie in an SQLite file within the run's folder, since several processes change and read them at once, and a change
is whole or not there. The exported catalogue stays as it was; embeddings of added items stand in the file.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from outfits import run_files
from outfits.errors import ArtifactError, DataError, one_line
from outfits.storage import write_atomically

SECONDS_FOR_ANOTHER = 10  # that a change waits for one of another process
COLUMNS = "item_id, category, text, vector, present, image"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS catalogue (key TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        item_id TEXT NOT NULL UNIQUE,
        category INTEGER,
        text TEXT,
        vector BLOB,
        present BLOB,
        image TEXT
    )""",
)


@dataclass(frozen=True)
class AddedItem:
    """An item that joins a catalogue.

    Attributes:
        item_id: its id, new to the catalogue.
        category: number of its category.
        text: its description; empty for none.
        vector: its embedding, float32, shape ``[d]``.
        present: whether it has an image, a text, bool, shape ``[2]``.
        image: name of its image in the folder of added images; None for none.
    """

    item_id: str
    category: int
    text: str
    vector: NDArray[np.float32]
    present: NDArray[np.bool_]
    image: str | None = None


@dataclass(frozen=True)
class CatalogueChanges:
    """What became of a catalogue: items that joined, in their order, and ids of exported items that left or changed.

    ``version`` grows with every change; 0 is the catalogue as it was exported.
    """

    version: int = 0
    added: tuple[AddedItem, ...] = ()
    gone: frozenset[str] = frozenset()


class ChangeStore:
    """Changes of one run's catalogue on the disk.

    Args:
        folder: the run's folder of what its stylist needs.
        key: content key of the exported catalogue's embeddings, to which the changes belong.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.file = folder / run_files.STYLIST_CHANGES
        self._key = key
        self.images = folder / run_files.STYLIST_ADDED_IMAGES

    def version(self) -> int:
        """Number of the last change, 0 without any; what it takes to see whether there are new ones."""
        if not self.file.is_file():
            return 0
        with self._open() as base:
            if base is None:
                return 0
            return int(base.execute("SELECT COALESCE(MAX(number), 0) FROM changes").fetchone()[0])

    def read(self) -> CatalogueChanges:
        """Reads all changes; raises :class:`ArtifactError` if they belong to another catalogue."""
        if not self.file.is_file():
            return CatalogueChanges()
        with self._open() as base:
            if base is None:
                return CatalogueChanges()
            # one statement, so that the version is that of these rows whatever is added meanwhile
            rows = base.execute(f"SELECT number, {COLUMNS} FROM changes ORDER BY number").fetchall()
            added = tuple(
                AddedItem(
                    item_id, category, text, np.frombuffer(vector, np.float32), np.frombuffer(present, np.bool_), image
                )
                for _, item_id, category, text, vector, present, image in rows
                if vector is not None
            )
            return CatalogueChanges(rows[-1][0] if rows else 0, added, frozenset(row[1] for row in rows))

    def add(self, items: Sequence[AddedItem], exported: frozenset[str], images: Mapping[str, bytes]) -> None:
        """Adds items, all or none; a catalogue item that was removed may come back changed.

        Args:
            items: the items.
            exported: those of their ids that the exported catalogue has.
            images: their images by name, from :func:`image_file`.

        Raises:
            DataError: if the catalogue has an item of one of their ids, or two of them have the same.
        """
        with self._change() as base:
            for item in items:
                found = base.execute("SELECT vector FROM changes WHERE item_id = ?", (item.item_id,)).fetchone()
                there = item.item_id in exported if found is None else found[0] is not None
                if there:
                    raise DataError(f"there is an item {item.item_id!r} already; remove it first, or give another id")
                vector, present = item.vector.astype(np.float32).tobytes(), item.present.astype(np.bool_).tobytes()
                self._put(base, (item.item_id, item.category, item.text, vector, present, item.image))
            # within the transaction, so that no other process deletes an image meanwhile
            for name, content in images.items():
                if not (self.images / name).is_file():
                    write_atomically(self.images / name, partial(_write, content))

    def remove(self, item_id: str) -> None:
        """Removes an item that the caller knows to be there; the image of an added one too."""
        with self._change() as base:
            found = base.execute("SELECT image FROM changes WHERE item_id = ?", (item_id,)).fetchone()
            self._put(base, (item_id, None, None, None, None, None))
        if found is None or found[0] is None:
            return
        # after the commit, which may fail, and in a transaction, in which no item with the same image can join
        with self._change() as base:
            if not base.execute("SELECT 1 FROM changes WHERE image = ?", found).fetchone():
                (self.images / found[0]).unlink(missing_ok=True)

    @staticmethod
    def _put(base: sqlite3.Connection, row: tuple[object, ...]) -> None:
        # REPLACE gives the row a new number, so that the version grows
        base.execute(f"INSERT OR REPLACE INTO changes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Begins a transaction that has the file alone and ends it, by a commit or, at an error, a rollback."""
        with self._connected() as base, base:
            base.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                base.execute(statement)
            base.execute("INSERT INTO catalogue SELECT ? WHERE NOT EXISTS (SELECT 1 FROM catalogue)", (self._key,))
            self._check_key(base)
            yield base

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """Opens the file for reading; None while it has no tables, which another process is about to make."""
        with self._connected() as base:
            if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'catalogue'").fetchone() is None:
                yield None
            else:
                self._check_key(base)
                yield base

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # no implicit transactions: a change begins its own before it looks
            with closing(sqlite3.connect(self.file, timeout=SECONDS_FOR_ANOTHER, isolation_level=None)) as base:
                yield base
        except sqlite3.Error as error:
            raise ArtifactError(f"{self.file}: changes of the catalogue cannot be kept ({one_line(error)})") from error

    def _check_key(self, base: sqlite3.Connection) -> None:
        found = base.execute("SELECT key FROM catalogue").fetchone()
        if found is not None and found[0] != self._key:
            raise ArtifactError(
                f"{self.file} has changes of another catalogue than the run's; move the file away to serve "
                "the catalogue as it was exported"
            )


def image_file(image: Image.Image) -> tuple[str, bytes]:
    """Encodes an image as a file, and returns a name made of its content, and the content."""
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=90)
    return f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:32]}.jpg", buffer.getvalue()


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
