"""Gives the items of any format their images from Parquet files or WebDataset tars (``data.images``)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pyarrow import types

from outfits.config.schema.data import DATA_FORMATS, DataConfig
from outfits.data.dataset import Item, RawDataset
from outfits.data.files import root_of, what_is_there
from outfits.data.image_files import TAR, open_parquet, parquet_place, reading_order, tar_members
from outfits.errors import DataError
from outfits.hub import HUB, hub_folder, on_hub
from outfits.naming import named, normalised

ID_COLUMNS = ("item_id", "item_ID", "id", "__key__")
# a repository, perhaps at a revision, of which those of refs/… alone are read with their slashes, and a pattern in it
HUB_PATTERN = re.compile(rf"({HUB}[^/]+/[^/@]+(?:@refs/[^/]+/[^/]+|@[^/]+)?)(?:/(.*))?")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def with_packed_images(raw: RawDataset, config: DataConfig) -> RawDataset:
    """Returns the data set with the images that ``data.images`` names, or that the root has where no folder has them.

    Of the format's own files, ``FOLDER/SPLIT.parquet`` or ``FOLDER/SPLIT-….parquet``, those of each split hold its
    images, so that an image of two splits or folders is no repeated one.

    Items are sorted by the places of their images, which are then read in order. An item whose image is in none of the
    files has a path that does not exist, for ``data.on_missing_image``. The notes count images listed twice, and those
    of no item.

    Raises:
        DataError: if no file matches, or a file cannot be read or lacks a column.
    """
    files = packed_files(config)
    if not files or (config.images is None and any(item.image_path is not None for item in raw.items)):
        return raw
    places: dict[str, Path] = {}
    parts: dict[str, Path] = {}
    repeated: list[str] = []
    for file in files:
        part = Path() if config.images is not None else file.with_name(file.stem.partition("-")[0])
        for item_id, path in images_of(file, config):
            if places.setdefault(item_id, path) is not path and parts[item_id] == part:
                repeated.append(item_id)
            parts.setdefault(item_id, part)
    if repeated and config.on_repeated_image == "error":
        raise DataError(
            f"{files[0].parent}: item {repeated[0]!r} has more than one image in {_described(files)}; "
            f"{len(repeated):,} such image(s). Set data.on_repeated_image=first to take the first of each."
        )
    missing = files[0].parent
    items = [replace(item, image_path=places.get(item.item_id, missing / item.item_id)) for item in raw.items]
    known = {item.item_id for item in items}
    unused = sum(item_id not in known for item_id in places)
    notes = [f"images: {len(places):,} in {_described(files)}"]
    notes += [f"images listed twice, of which the first is taken: {len(repeated):,}"] if repeated else []
    notes += [f"images of no item: {unused:,}"] if unused else []
    return replace(raw, items=sorted(items, key=_order), notes=[*raw.notes, *notes])


def _order(item: Item) -> tuple[str, int]:
    return reading_order(item.image_path)


def packed_files(config: DataConfig) -> list[Path]:
    """Lists the files that hold images: those of ``data.images``, else of the root, where the format has such.

    Raises:
        DataError: if no file matches ``data.images``.
    """
    if config.images is not None:
        folder, pattern = _located(config)
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not files:
            raise DataError(
                f"data.images: no file {pattern} in {folder}; {what_is_there(folder / PurePosixPath(pattern).parts[0])}"
            )
        return files
    found = (sorted(root_of(config).glob(pattern)) for pattern in DATA_FORMATS[config.format].images)
    return next((files for files in found if files), [])


def _located(config: DataConfig) -> tuple[Path, str]:
    """The folder that ``data.images`` counts from, and the pattern in it."""
    pattern = str(config.images)
    if on_hub(pattern):
        found = HUB_PATTERN.fullmatch(pattern)
        repository, within = (pattern, None) if found is None else found.groups()
        pattern = within or "**/*.parquet"
        return hub_folder(repository, "dataset", "data.images", pattern), pattern
    path = Path(pattern)
    if path.is_absolute():
        return Path(path.anchor), path.relative_to(path.anchor).as_posix()
    return root_of(config), pattern


def images_of(file: Path, config: DataConfig) -> Iterator[tuple[str, Path]]:
    """Yields id and place of every image in a Parquet file or a tar, in its order.

    Raises:
        DataError: if the file cannot be read, or lacks the column of ids or of images.
    """
    if file.suffix.lower() == TAR:
        for member in tar_members(file):
            name = PurePosixPath(member).name
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                yield normalised(PurePosixPath(name).stem), file / member
        return
    opened = open_parquet(file)
    schema = opened.schema_arrow
    ids = [config.image_id] if config.image_id else list(ID_COLUMNS)
    key = require_column(file, schema.names, ids, "data.image_id")
    column = require_column(file, schema.names, [config.image_column], "data.image_column")
    kind = schema.field(column).type
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind)
    if not is_bytes and not (types.is_struct(kind) and "bytes" in [field.name for field in kind]):
        raise DataError(f"{file}: column {column!r} holds {kind}, not images' bytes; set data.image_column")
    row = 0
    for batch in opened.iter_batches(columns=[key]):
        for value in batch.column(0).to_pylist():
            yield normalised(value), parquet_place(file, column, row)
            row += 1


def require_column(file: Path, columns: Sequence[str], names: Sequence[str], key: str | None = None) -> str:
    """Returns the first of the names that a file has as a column.

    Raises:
        DataError: naming what is missing and what is there; ``key`` would name another column.
    """
    found = next((name for name in names if name in columns), None)
    if found is None:
        way_out = "; take the file from its publisher" if key is None else f"; set {key}"
        raise DataError(f"{file} lacks the column {' or '.join(map(repr, names))}; it has {named(columns)}{way_out}")
    return found


def _described(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1:,} more file(s)" if len(files) > 1 else ""
    return f"{files[0].name}{more}"
