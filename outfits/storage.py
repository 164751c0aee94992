"""Writes files atomically: a kill at any moment leaves the whole old file or the whole new one."""

import errno
import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# Raised by NumPy for a file that is missing, truncated or overwritten; checksums of zip members reveal changed bytes.
READING_ERRORS = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)

OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

Arrays = dict[str, NDArray[Any]]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises the errors of writing to a file, or into a folder, with its path, which a full disk's error lacks.

    An error that names an unfinished file names the path instead; one about something else passes as it is.
    """
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno in OF_WRITING
        unfinished = error.filename is not None and os.fsdecode(error.filename).endswith(".tmp")
        if not (unnamed or unfinished):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Lets ``write`` fill a file beside ``path`` and renames the complete file to it; makes a missing folder.

    Raises OSError that names ``path`` if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with writing(path):
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file, atomically; makes a missing folder."""
    write_atomically(target, lambda file: file.write(source.read_bytes()))


def reserve(path: Path) -> None:
    """Takes the disk space of a sparse file; OSError where there is too little, which would end a process that maps it.

    Does nothing on systems and file systems that cannot.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file, writing(path):
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno in OF_WRITING:
                    raise


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, atomically."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: Path, values: object) -> None:
    """Writes a JSON file, atomically, each list of numbers on one line; raises ValueError if one is not finite."""
    text = json.dumps(values, indent=2, allow_nan=False)
    # JSON strings have no line breaks, so none matches
    text = re.sub(r"\[\n[-+.\deE,\s]*\]", lambda found: " ".join(found[0].split()), text)
    write_text(path, text + "\n")


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Writes named arrays as an uncompressed ``.npz``, atomically and without pickle."""
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def arrays_as_bytes(arrays: Arrays) -> bytes:
    """The content of the file of :func:`write_arrays`."""
    content = BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def read_arrays(path: Path) -> Arrays | None:
    """Reads the arrays of :func:`write_arrays`; None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except READING_ERRORS:
        return None
