"""A user's own items and outfits in two tables, CSV or Parquet, and what users like in a third."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Any

import pyarrow
from pyarrow import compute, parquet

from outfits.config.schema.data import DataConfig, TablesConfig
from outfits.data.dataset import FurtherImage, Interaction, Item, RawDataset, RawOutfit
from outfits.data.files import as_score, csv_rows, decoded, name_of, root_of, what_is_there
from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.naming import near, normalised

SPLIT_NAMES = {**{split: split for split in SPLITS}, "val": "valid", "validation": "valid"}
PAIRED = "paired"  # kind of further images of which the table says none
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
HEADER = 100_000  # characters that hold the header
SHARING = {"data.tables.attributes", "data.tables.text"}  # keys that may name a column that another key names too

Columns = Sequence[tuple[str, str]]
"""Columns that are read: the configuration key that names each, and its name."""


@dataclass(frozen=True)
class Table:
    """Those columns of a table that the configuration names.

    Attributes:
        path: its file.
        columns: values by normalised name, as the file has them; an empty string where one is missing.
        places: the place of every row that a message names: the line of a CSV file (the header is on line 1), the row
            of a Parquet file from 1.
        place: what ``places`` counts, ``line`` or ``row``.
        notes: how it was read, for the log.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[int]
    place: str
    notes: Sequence[str] = ()

    def __getitem__(self, column: str) -> list[str]:
        return [str(value) for value in self.columns[normalised(column)]]

    def names(self, column: str) -> list[str]:
        """Ids or names, in the form in which they are compared."""
        return [normalised(value) for value in self.columns[normalised(column)]]

    def at(self, row: int) -> str:
        """The place of the row at this position, for a message."""
        return f"{self.path.name} {self.place} {self.places[row]:,}"


def read_format(config: DataConfig) -> RawDataset:
    """The data set that the ``data`` section names, read by :func:`read_tables`."""
    return replace(read_tables(root_of(config), config.tables), name=name_of(config))


def read_tables(root: Path, config: TablesConfig) -> RawDataset:
    """Reads a table of items, one with a row per (outfit, item) and, if named, one with a row per (user, outfit).

    Args:
        root: folder that the tables and images are in.
        config: file names, column names and the text template.

    Raises:
        DataError: if a file, a column or a value that the configuration names is missing, a CSV row is malformed, the
            items table lists an item twice or an outfit has rows of two splits.
    """
    root = Path(root)
    of_items = [("item_id", config.item_id), ("category", config.category), ("image", config.image)]
    of_items += [*(("attributes", name) for name in config.attributes), *(("text", n) for n in _fields(config.text))]
    of_outfits: list[tuple[str, str | None]] = [
        ("outfit_id", config.outfit_id),
        ("outfit_item_id", config.outfit_item_id),
        ("split", config.split),
        ("score", config.score),
    ]
    items, outfits = (
        read_table(
            root / name, f"data.tables.{key}", [(f"data.tables.{at}", name) for at, name in named if name is not None]
        )
        for name, key, named in ((config.items, "items", of_items), (config.outfits, "outfits", of_outfits))
    )
    notes = [*items.notes, *outfits.notes]
    interactions: list[Interaction] = []
    if config.users is not None:
        of_users: list[tuple[str, str | None]] = [
            ("user_id", config.user_id),
            ("user_outfit_id", config.user_outfit_id),
            ("user_split", config.user_split),
            ("user_time", config.user_time),
        ]
        columns = [(f"data.tables.{at}", name) for at, name in of_users if name is not None]
        users = read_table(root / config.users, "data.tables.users", columns)
        notes += users.notes
        interactions = _interactions(users, config)
    further: list[FurtherImage] = []
    if config.pairs is not None:
        of_pairs = [("pair_item_id", config.pair_item_id), ("pair_image", config.pair_image)]
        of_pairs += [] if config.pair_kind is None else [("pair_kind", config.pair_kind)]
        named_columns = [(f"data.tables.{at}", name) for at, name in of_pairs]
        pairs = read_table(root / config.pairs, "data.tables.pairs", named_columns)
        notes += pairs.notes
        further = _further_images(pairs, root, config)
    return RawDataset(
        root.resolve().name,
        _items(items, root, config),
        _outfits(outfits, config),
        interactions=interactions,
        notes=notes,
        further_images=further,
    )


def read_table(path: Path, key: str, wanted: Columns | None = None) -> Table:
    """Reads columns of a CSV or Parquet file; what else the file holds may be of any form.

    Args:
        path: file that ends in ``.csv``, ``.parquet`` or ``.pq``.
        key: configuration key that named the file, for messages.
        wanted: the columns; None: all of a CSV file.

    Raises:
        DataError: if the file or a column is missing or malformed; the line or column is named.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(
            f"{path} does not exist; set data.root and {key} so that they name a table; {what_is_there(path)}"
        )
    if path.is_dir() and suffix not in (".parquet", ".pq"):  # Parquet may lie in several files in a folder
        raise DataError(f"{path} is a folder; set {key} to the table in it")
    if suffix == ".csv":
        return _read_csv(path, wanted)
    if suffix in (".parquet", ".pq"):
        return _read_parquet(path, wanted or ())
    raise DataError(f"{path} ends in neither .csv nor .parquet; save the table as one of them and set {key}")


def _read_csv(path: Path, wanted: Columns | None) -> Table:
    # The csv module, because pandas.read_csv pads a row with too few fields, takes the first column for an index where
    # every row has one field too many, and knows no line numbers.
    text, encoding = decoded(path)
    stated = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)  # as Excel reads and writes it
    if stated:
        text = "\n" + text[stated.end() :]  # line numbers stay
    separator = stated[1] if stated else _separator(text, wanted or ())
    reader = csv_rows(text, separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if row and header is None:
                header = _header(path, row, wanted or (), f"line {start:,}")
            elif row and header is not None:
                if len(row) != len(header):
                    raise DataError(
                        f"{path}: line {start:,} has {len(row)} fields where the header has {len(header)}; "
                        "mend the line"
                    )
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: the row that starts on line {start:,} is malformed ({error}); mend the row") from None
    if header is None:
        raise DataError(f"{path} is empty; it needs a header line and rows")
    names = header if wanted is None else [normalised(name) for _, name in wanted]
    places = {name: header.index(name) for name in names}
    columns = {name: [row[place] for row in rows] for name, place in places.items()}
    said = [] if separator == "," else [f"separated by {SEPARATORS.get(separator, repr(separator))}"]
    said += [] if encoding == "utf-8-sig" else [f"in {encoding.upper()}"]
    return Table(path, columns, lines, "line", [f"{path.name} is {' and '.join(said)}"] if said else [])


def _separator(text: str, wanted: Columns) -> str:
    """The separator under which the header has most wanted columns, then most columns; the comma before others."""

    def columns(separator: str) -> tuple[int, int]:
        header: list[str] = next((row for row in csv_rows(text[:HEADER], separator) if row), [])
        return len({normalised(name) for _, name in wanted} & set(map(normalised, header))), len(header)

    return max(SEPARATORS, key=columns)


def _read_parquet(path: Path, wanted: Columns) -> Table:
    try:
        dataset = parquet.ParquetDataset(path)
        stored = dataset.schema.names  # those of a DataFrame's index too
        header = _header(path, stored, wanted, "its schema")
        keys = {normalised(name): key for key, name in reversed(wanted)}
        read = dataset.read([stored[header.index(name)] for name in keys])
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not a readable Parquet file ({reason}); write it again") from None
    columns = {name: _values(path, name, key, read[stored[header.index(name)]]) for name, key in keys.items()}
    return Table(path, columns, range(1, len(read) + 1), "row")


def _values(path: Path, name: str, key: str, column: pyarrow.ChunkedArray) -> list[Any]:
    """Values of a Parquet column, an empty string where there is none."""
    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    if pyarrow.types.is_float16(kind) or pyarrow.types.is_float32(kind):
        column = compute.cast(compute.cast(column, pyarrow.string()), pyarrow.float64())  # 0.1, not 0.10000000149
    try:
        if pyarrow.types.is_nested(kind):
            raise ValueError
        values = (value.decode() if isinstance(value, bytes) else value for value in column.to_pylist())
        return ["" if value is None or value != value else value for value in values]
    except ValueError:  # UnicodeDecodeError is one
        raise DataError(
            f"{path}: column {name!r} holds values of type {kind}, which are no text; {key} takes one text, number or "
            "date a row"
        ) from None


def _header(path: Path, names: Sequence[str], wanted: Columns, place: str) -> list[str]:
    """The names of a table's columns, normalised; checks that each of the wanted ones is there once."""
    header = [normalised(name) for name in names]
    twice = next((name for _, name in wanted if header.count(normalised(name)) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: {place} names the column {normalised(twice)!r} twice; rename one of them")
    missing = [
        _missing(key, normalised(name), header, wanted) for key, name in wanted if normalised(name) not in header
    ]
    if missing:
        raise DataError(f"{path} lacks {'; '.join(missing)}. Its columns: {', '.join(header)}")
    return header


def _missing(key: str, column: str, header: Sequence[str], wanted: Columns) -> str:
    taken = {normalised(name) for other, name in wanted if not {key, other} & SHARING}
    alike = near(column, [name for name in header if name not in taken])
    hint = f", did you mean {' or '.join(map(repr, alike))}?" if alike else ""
    return f"column {column!r} (set {key}{hint})"


def _required(table: Table, column: str, meaning: str) -> list[str]:
    """Names in a column; DataError if one is empty."""
    names = table.names(column)
    empty = [row for row, name in enumerate(names) if not name]
    if empty:
        cases = f"{len(empty):,} such row(s)"
        raise DataError(f"{table.at(empty[0])}: column {column!r} is empty, so {meaning}; {cases}. Fill it in")
    return names


class _ColumnFormatter(Formatter):
    """``str.format`` whose field names are column names as they stand, dots and brackets included."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[field_name], field_name

    def fields(self, template: str) -> Iterator[str]:
        """Field names of a template, those inside format specifications included."""
        for _, name, spec, _ in self.parse(template):
            if name is not None:
                yield name
                yield from self.fields(spec or "")


def _fields(template: str) -> list[str]:
    """Names of the columns in a template."""
    try:
        return list(dict.fromkeys(_ColumnFormatter().fields(template)))
    except ValueError as error:
        raise DataError(f"the template {template!r} is malformed ({error}); set data.tables.text") from None


def _texts(items: Table, template: str) -> list[str]:
    formatter, columns = _ColumnFormatter(), _fields(template)
    rows = zip(*(items[column] for column in columns), strict=True) if columns else iter([()] * len(items.places))
    try:
        texts = [formatter.vformat(template, (), dict(zip(columns, row, strict=True))) for row in rows]
    except ValueError as error:
        raise DataError(f"the template {template!r} cannot be filled in ({error}); set data.tables.text") from None
    return [" ".join(text.split()) for text in texts]


def _items(table: Table, root: Path, config: TablesConfig) -> list[Item]:
    item_ids = _required(table, config.item_id, "the item has no name")
    categories = _required(table, config.category, "the item has no category")
    first: dict[str, int] = {}
    repeated = [(row, item_id) for row, item_id in enumerate(item_ids) if first.setdefault(item_id, row) != row]
    if repeated:
        row, item_id = repeated[0]
        again, before = table.at(row), table.at(first[item_id])
        cases = f"{len(repeated):,} such row(s)"
        raise DataError(f"{again}: item {item_id!r} stands already at {before}; {cases}. Remove one of them")
    images = [""] * len(item_ids) if config.image is None else table[config.image]
    columns = {normalised(name): table.names(name) for name in config.attributes}
    attributes = [{name: values[row] for name, values in columns.items()} for row in range(len(item_ids))]
    return [
        Item(item_id, category, text, root / image.strip() if image.strip() else None, known)
        for item_id, category, text, image, known in zip(
            item_ids, categories, _texts(table, config.text), images, attributes, strict=True
        )
    ]


def _outfits(table: Table, config: TablesConfig) -> list[RawOutfit]:
    outfit_ids = _required(table, config.outfit_id, "the row belongs to no outfit")
    item_ids = _required(table, config.outfit_item_id, "the row names no item")
    rows_of: dict[str, list[int]] = {}
    for row, outfit_id in enumerate(outfit_ids):
        rows_of.setdefault(outfit_id, []).append(row)
    splits = None if config.split is None else _splits(table, config.split)
    scores = None if config.score is None else [as_score(value) for value in table.columns[normalised(config.score)]]
    outfits = []
    for outfit_id, rows in rows_of.items():
        if splits is not None:
            odd = next((row for row in rows if splits[row] != splits[rows[0]]), None)
            if odd is not None:
                raise DataError(
                    f"{table.at(odd)}: outfit {outfit_id!r} is in split {splits[odd]!r} here and in split "
                    f"{splits[rows[0]]!r} at {table.at(rows[0])}; give all its rows one split or set "
                    "data.tables.split=null"
                )
        split = None if splits is None else splits[rows[0]]
        given = tuple(dict.fromkeys(scores[row] for row in rows)) if scores is not None else ()
        outfits.append(
            RawOutfit(outfit_id, tuple(item_ids[row] for row in rows), split, f"from {table.at(rows[0])}", given)
        )
    return outfits


def _interactions(table: Table, config: TablesConfig) -> list[Interaction]:
    rows = len(table.places)
    if not rows:
        raise DataError(f"{table.path} has no rows; set data.tables.users=null for data without users")
    user_ids = _required(table, config.user_id, "the row belongs to no user")
    outfit_ids = _required(table, config.user_outfit_id, "the row names no outfit")
    splits: Sequence[str | None] = [None] * rows if config.user_split is None else _splits(table, config.user_split)
    times = [math.nan] * rows
    if config.user_time is not None:
        times = [as_score(value) for value in table.columns[normalised(config.user_time)]]
        bad = [row for row, time in enumerate(times) if not math.isfinite(time)]
        if bad:
            text = f"{table.at(bad[0])}: the time {table[config.user_time][bad[0]]!r} is no number"
            raise DataError(f"{text}; {len(bad):,} such row(s). Write numbers, or set data.tables.user_time=null")
    return [
        Interaction(user_id, outfit_id, split, f"from {table.at(row)}", time)
        for row, (user_id, outfit_id, split, time) in enumerate(zip(user_ids, outfit_ids, splits, times, strict=True))
    ]


def _further_images(table: Table, root: Path, config: TablesConfig) -> list[FurtherImage]:
    item_ids = _required(table, config.pair_item_id, "the row names no item")
    _required(table, config.pair_image, "the row names no image")
    kinds = [PAIRED] * len(item_ids)
    if config.pair_kind is not None:
        kinds = _required(table, config.pair_kind, "the image is of no kind")
    rows = zip(item_ids, table[config.pair_image], kinds, strict=True)
    return [FurtherImage(item_id, root / str(image).strip(), kind) for item_id, image, kind in rows]


def _splits(table: Table, column: str) -> list[str]:
    splits = []
    for row, value in enumerate(table.names(column)):
        name = SPLIT_NAMES.get(value.casefold())
        if name is None:
            names = ", ".join(SPLIT_NAMES)
            raise DataError(f"{table.at(row)}: {value!r} in column {column!r} is no split; write one of {names}")
        splits.append(name)
    return splits
