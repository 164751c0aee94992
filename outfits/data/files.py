"""Reading text and JSON files so that a mistake in one names the file, the line and the column."""

import _csv
import codecs
import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from outfits.config.schema.data import DataConfig
from outfits.errors import DataError
from outfits.hub import HUB, hub_folder, on_hub
from outfits.naming import named, near, normalised

IMAGES = "images"  # the folder of images in a root
# Marks at the start of a text; the longer one comes first, since it begins like the shorter one.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def root_of(config: DataConfig) -> Path:
    """The folder of the configured data set, of one on a hub that in the hub's cache.

    Raises:
        ArtifactError: if a hub's data set is neither in the cache nor can be fetched.
        DataError: if it does not exist.
    """
    root = hub_folder(config.root, "dataset", "data.root") if on_hub(config.root) else Path(config.root)
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; set data.root to the folder of the {config.format} data set; "
            f"{what_is_there(root)}"
        )
    return root


def name_of(config: DataConfig) -> str:
    """The name of a data set that has none but that of its root: its folder's, or its repository's on a hub."""
    return config.root.removeprefix(HUB) if on_hub(config.root) else root_of(config).resolve().name


def what_is_there(path: Path) -> str:
    """What the nearest folder above a missing path holds instead, near names first, as the end of a message."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    gone = path.relative_to(folder).parts[0]
    if (folder / gone).exists():
        return f"{folder / gone} is a {'folder' if (folder / gone).is_dir() else 'file'}"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    there = named(list(dict.fromkeys([*near(gone, names), *names])))
    return f"{folder} has no {gone!r} but {there}" if names else f"{folder} is empty"


def read_text(path: Path) -> str:
    """The text of a file; encodings and errors as of :func:`decoded`."""
    return decoded(path)[0]


def decoded(path: Path) -> tuple[str, str]:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with their mark, and the encoding's name.

    Raises:
        DataError: if the file is missing or in another encoding; the line of the first bad byte is named.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; set data.root to the folder that holds it; {what_is_there(path)}"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); mend that, or set data.root") from None
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
        before, zero, _ = text.partition("\0")  # as UTF-16 without its mark has everywhere
        line = before.count("\n") + 1 if zero else 0
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    if line:
        raise DataError(f"{path}: line {line:,} is not UTF-8 text; save the file as UTF-8")
    return text, encoding


def csv_rows(text: str, separator: str = ",", *, strict: bool = False) -> _csv.Reader:
    """A reader of the rows of a CSV text, whose fields may be as long as the text."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return csv.reader(StringIO(text, newline=""), delimiter=separator, strict=strict)


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


def read_json_rows(path: Path) -> list[Any]:
    """The values of a file that holds a JSON list, or a JSON value a line.

    Raises:
        DataError: if the file is missing or neither; the line is named.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        return read_json_list(path)
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}: line {number:,}: invalid JSON ({error.msg}); fetch the file again") from None
    return rows


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


def get_name(entry: Any, name: str, place: str) -> str:
    """``entry[name]`` of a JSON object as a name or id, in the form in which it is compared."""
    return normalised(get(entry, name, place))


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
        label, *ids = map(normalised, line.split())
        place = f"{path}: line {number:,}"
        if label not in ("0", "1") or not ids:
            raise DataError(f"{place}: {line[:60]!r} is not 'LABEL ID ID ...' with label 0 or 1; mend the line")
        yield place, label == "1", ids


def require_some(root: Path, paths: Sequence[Path], layout: str) -> None:
    """Checks that a root has at least one of its split files.

    Raises:
        DataError: naming what a full root has, and the folder above or below that has it, or what is there.
    """
    if not any(path.is_file() for path in paths):
        names = [path.relative_to(root).as_posix() for path in paths]
        folders = [root.resolve().parent, *sorted(folder for folder in root.iterdir() if folder.is_dir())]
        found = [folder for folder in folders if any((folder / name).is_file() for name in names)]
        hint = f"data.root={found[0]} has them" if found else what_is_there(paths[0])
        raise DataError(f"{root} has none of {', '.join(names)}; set data.root to a folder with {layout}; {hint}")


def absent(root: Path, names: Sequence[str]) -> list[str]:
    """A line for the log on the files and folders that a root lacks and may lack; none where it has them all."""
    gone = [name for name in names if not (root / name).exists()]
    return [f"not found and left out: {', '.join(gone)}; {what_is_there(root / gone[0])}"] if gone else []


def image_folder(root: Path) -> Path | None:
    """The folder ``images`` of a root; None where there is none, so that no item has an image there."""
    return root / IMAGES if (root / IMAGES).is_dir() else None


def as_score(value: object) -> float:
    """Reads a number, or the text of one; NaN if it is none."""
    try:
        return math.nan if isinstance(value, bool) or value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
