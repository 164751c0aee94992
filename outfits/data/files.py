"""Reading text and JSON files so that a mistake in one names the file, the line and the column."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from outfits.config.schema.data import DataConfig
from outfits.errors import DataError


def root_of(config: DataConfig) -> Path:
    """The folder of the configured data set.

    Raises:
        DataError: if it does not exist.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; set data.root to the folder of the {config.format} data set")
    return root


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        DataError: if the file is missing or is not UTF-8; the line of the first bad byte is named.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; set data.root to the folder that holds it") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line:,} is not UTF-8 text; save the file as UTF-8") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataError: if the file is missing or is not JSON; line and column are named.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno:,}, column {error.colno:,}"
        raise DataError(f"{path}: {place}: invalid JSON ({error.msg}); mend the file or fetch it again") from None


def read_json_list(path: Path) -> list[Any]:
    """The value of a JSON file that has to be a list."""
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"{path}: holds a JSON {type(value).__name__} where a list is expected; fetch the file again")
    return value


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The non-blank lines of a file, each with its number from 1."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def get(entry: Any, name: str, place: str) -> Any:
    """``entry[name]`` of a JSON object.

    Args:
        entry: the parsed value that should be an object with this name.
        name: the field.
        place: file and position of the entry, for the message.

    Raises:
        DataError: if the entry is no object or lacks the field.
    """
    if not isinstance(entry, dict) or name not in entry:
        raise DataError(f"{place} has no field {name!r}; mend the file or fetch it again")
    return entry[name]


def get_list(entry: Any, name: str, place: str) -> list[Any]:
    """``entry[name]`` of a JSON object, which has to be a list."""
    value = get(entry, name, place)
    if not isinstance(value, list):
        raise DataError(f"{place}: the field {name!r} holds no list; mend the file or fetch it again")
    return value


def read_labelled_lines(path: Path) -> Iterator[tuple[str, bool, list[str]]]:
    """The rows ``LABEL ID ID ...`` of a compatibility file, each with its place, its label and its ids.

    Raises:
        DataError: if a label is neither 0 nor 1 or a row names no item.
    """
    for number, line in read_lines(path):
        label, *ids = line.split()
        place = f"{path}: line {number:,}"
        if label not in ("0", "1") or not ids:
            raise DataError(f"{place}: {line[:60]!r} is not 'LABEL ID ID ...' with label 0 or 1; mend the line")
        yield place, label == "1", ids


def require_some(root: Path, paths: Sequence[Path], layout: str) -> None:
    """Checks that a root has at least one of its split files.

    Raises:
        DataError: naming what a full root has.
    """
    if not any(path.is_file() for path in paths):
        names = ", ".join(path.relative_to(root).as_posix() for path in paths)
        raise DataError(f"{root} has none of {names}; set data.root to a folder with {layout}")
