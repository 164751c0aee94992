"""A user's own items and outfits in two tables, CSV or Parquet."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd

from outfits.config.schema.data import DataConfig, TablesConfig
from outfits.data.dataset import Item, RawDataset, RawOutfit
from outfits.data.files import read_text, root_of
from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.naming import near

SPLIT_NAMES = {**{split: split for split in SPLITS}, "val": "valid", "validation": "valid"}


@dataclass(frozen=True)
class Table:
    """A table of strings, an empty one where a value is missing.

    Attributes:
        path: its file.
        frame: its rows; the index is the place a message names: the line of a CSV file (the header is on line 1), the
            row of a Parquet file from 1.
        place: what the index counts, ``line`` or ``row``.
    """

    path: Path
    frame: pd.DataFrame
    place: str

    def __getitem__(self, column: str) -> list[str]:
        return [str(value) for value in self.frame[column]]

    def at(self, row: int) -> str:
        """The place of the row at this position, for a message."""
        return f"{self.path.name} {self.place} {int(self.frame.index[row]):,}"


def read_format(config: DataConfig) -> RawDataset:
    """The data set that the ``data`` section names, read by :func:`read_tables`."""
    return read_tables(root_of(config), config.tables)


def read_tables(root: Path, config: TablesConfig) -> RawDataset:
    """Reads an items table and an outfits table with one row per (outfit, item).

    Args:
        root: folder that the tables and images are in.
        config: file names, column names and the text template.

    Raises:
        DataError: if a file, a column or a value that the configuration names is missing, a CSV row is malformed, the
            items table lists an item twice or an outfit has rows of two splits.
    """
    root = Path(root)
    items = read_table(root / config.items, "data.tables.items")
    outfits = read_table(root / config.outfits, "data.tables.outfits")
    return RawDataset(root.resolve().name, _items(items, root, config), _outfits(outfits, config))


def read_table(path: Path, key: str) -> Table:
    """Reads a CSV or Parquet file, every value as a string.

    Args:
        path: file that ends in ``.csv``, ``.parquet`` or ``.pq``.
        key: configuration key that named the file, for messages.

    Raises:
        DataError: if the file is missing or malformed; the line is named.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; set data.root and {key} so that they name a table")
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    raise DataError(f"{path} ends in neither .csv nor .parquet; save the table as one of them and set {key}")


def _read_csv(path: Path) -> Table:
    # The csv module, because pandas.read_csv pads a row with too few fields, takes the first column for an index where
    # every row has one field too many, and knows no line numbers.
    reader = csv.reader(StringIO(read_text(path), newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if row and header is None:
                header = row
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
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: line 1 names the column {twice[0]!r} twice; rename one of them")
    return Table(path, pd.DataFrame(rows, columns=header, index=lines, dtype=str), "line")


def _read_parquet(path: Path) -> Table:
    try:
        # Nullable types, because a column of integers with a gap would else come back as 12.0.
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (ValueError, OSError) as error:  # pyarrow.ArrowInvalid is a ValueError
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not a readable Parquet file ({reason}); write it again") from None
    frame = frame.reset_index(drop=True).rename(index=lambda row: row + 1)
    return Table(path, frame.astype("string").fillna("").astype(object), "row")


def _require_columns(table: Table, columns: Sequence[tuple[str, str]]) -> None:
    """Checks that a table has the columns, pairs of configuration key and name."""
    present = [str(column) for column in table.frame.columns]
    missing = [_missing(key, column, present) for key, column in columns if column not in present]
    if missing:
        raise DataError(f"{table.path} lacks {'; '.join(missing)}. Its columns: {', '.join(present)}")


def _missing(key: str, column: str, present: Sequence[str]) -> str:
    alike = near(column, present)
    hint = f", did you mean {' or '.join(map(repr, alike))}?" if alike else ""
    return f"column {column!r} (set {key}{hint})"


def _require_values(table: Table, column: str, meaning: str) -> None:
    empty = [row for row, value in enumerate(table[column]) if not value.strip()]
    if empty:
        cases = f"{len(empty):,} such row(s)"
        raise DataError(f"{table.at(empty[0])}: column {column!r} is empty, so {meaning}; {cases}. Fill it in")


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


def _texts(items: Table, template: str) -> list[str]:
    formatter = _ColumnFormatter()
    try:
        columns = list(dict.fromkeys(formatter.fields(template)))
    except ValueError as error:
        raise DataError(f"the template {template!r} is malformed ({error}); set data.tables.text") from None
    _require_columns(items, [("data.tables.text", column) for column in columns])
    rows = zip(*(items[column] for column in columns), strict=True) if columns else iter([()] * len(items.frame))
    try:
        texts = [formatter.vformat(template, (), dict(zip(columns, row, strict=True))) for row in rows]
    except ValueError as error:
        raise DataError(f"the template {template!r} cannot be filled in ({error}); set data.tables.text") from None
    return [" ".join(text.split()) for text in texts]


def _items(table: Table, root: Path, config: TablesConfig) -> list[Item]:
    keys = [("data.tables.item_id", config.item_id), ("data.tables.category", config.category)]
    if config.image is not None:
        keys.append(("data.tables.image", config.image))
    keys += [("data.tables.attributes", column) for column in config.attributes]
    _require_columns(table, keys)
    _require_values(table, config.item_id, "the item has no name")
    _require_values(table, config.category, "the item has no category")
    item_ids = table[config.item_id]
    first: dict[str, int] = {}
    repeated = [(row, item_id) for row, item_id in enumerate(item_ids) if first.setdefault(item_id, row) != row]
    if repeated:
        row, item_id = repeated[0]
        again, before = table.at(row), table.at(first[item_id])
        cases = f"{len(repeated):,} such row(s)"
        raise DataError(f"{again}: item {item_id!r} stands already at {before}; {cases}. Remove one of them")
    images = [""] * len(item_ids) if config.image is None else table[config.image]
    columns = {name: table[name] for name in config.attributes}
    attributes = [{name: values[row].strip() for name, values in columns.items()} for row in range(len(item_ids))]
    return [
        Item(item_id, category, text, root / image if image else None, known)
        for item_id, category, text, image, known in zip(
            item_ids, table[config.category], _texts(table, config.text), images, attributes, strict=True
        )
    ]


def _outfits(table: Table, config: TablesConfig) -> list[RawOutfit]:
    keys = [("data.tables.outfit_id", config.outfit_id), ("data.tables.outfit_item_id", config.outfit_item_id)]
    if config.split is not None:
        keys.append(("data.tables.split", config.split))
    _require_columns(table, keys)
    _require_values(table, config.outfit_id, "the row belongs to no outfit")
    _require_values(table, config.outfit_item_id, "the row names no item")
    rows_of: dict[str, list[int]] = {}
    for row, outfit_id in enumerate(table[config.outfit_id]):
        rows_of.setdefault(outfit_id, []).append(row)
    item_ids = table[config.outfit_item_id]
    splits = None if config.split is None else _splits(table, config.split)
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
        outfits.append(RawOutfit(outfit_id, tuple(item_ids[row] for row in rows), split, f"from {table.at(rows[0])}"))
    return outfits


def _splits(table: Table, column: str) -> list[str]:
    splits = []
    for row, value in enumerate(table[column]):
        name = SPLIT_NAMES.get(value.strip().lower())
        if name is None:
            names = ", ".join(SPLIT_NAMES)
            raise DataError(f"{table.at(row)}: {value!r} in column {column!r} is no split; write one of {names}")
        splits.append(name)
    return splits
