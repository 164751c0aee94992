"""What an imaging model made and how it was measured, as its report shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from PIL import Image

Value = float | int | str | None


@dataclass(frozen=True)
class MetricTable:
    """A table of metrics.

    Attributes:
        name: of the table, in files.
        title: its heading.
        columns: heads of the columns.
        rows: values of each row, in the order of the columns; None where there is none.
        note: how to read it.
        digits: decimals shown of numbers that are no integers.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Value]]
    note: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        uneven = [row for row, values in self.rows.items() if len(values) != len(self.columns)]
        if uneven:
            raise ValueError(f"row {uneven[0]!r} of table {self.name} has not one value per column")

    def shown(self, value: Value) -> str:
        """Formats a value."""
        if value is None:
            return "–"
        return f"{value:,.{self.digits}f}" if isinstance(value, float) else str(value)

    def text(self) -> str:
        """Formats the table for the terminal."""
        cells = [["", *self.columns], *([row, *map(self.shown, values)] for row, values in self.rows.items())]
        widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
        lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
        return "\n".join([self.title, "", *lines])


@dataclass(frozen=True)
class ImageSheet:
    """A sheet of images: a PNG named ``name`` beside the page, with its heading and what it shows."""

    name: str
    title: str
    image: Image.Image
    note: str = ""


@dataclass(frozen=True)
class ImagingResult:
    """Holds images and metrics of an imaging model.

    Attributes:
        kind: name of the model.
        title: its name for readers.
        lead: what it does, a sentence or two.
        dataset: name of the data set.
        seed: seed of the run.
        facts: sizes, steps, receptive fields and times, by name.
        tables, sheets: in the order of presentation.
    """

    kind: str
    title: str
    lead: str
    dataset: str
    seed: int
    facts: Mapping[str, Value]
    tables: Sequence[MetricTable] = field(default_factory=tuple)
    sheets: Sequence[ImageSheet] = field(default_factory=tuple)

    def text(self) -> str:
        """Formats facts and tables for the terminal."""
        facts = ", ".join(f"{name}: {value}" for name, value in self.facts.items())
        return "\n\n".join([f"{self.title}, {self.dataset}\n{facts}", *(table.text() for table in self.tables)])

    def frame(self) -> pd.DataFrame:
        """Lists every value with its table, row and column."""
        return pd.DataFrame(
            [
                {"table": table.name, "row": row, "column": column, "value": value}
                for table in self.tables
                for row, values in table.rows.items()
                for column, value in zip(table.columns, values, strict=True)
            ],
            columns=["table", "row", "column", "value"],
        )

    def to_json(self) -> dict[str, Any]:
        """Converts to JSON values."""
        return {
            "kind": self.kind,
            "dataset": self.dataset,
            "seed": self.seed,
            "facts": dict(self.facts),
            "tables": {
                table.name: {row: dict(zip(table.columns, values, strict=True)) for row, values in table.rows.items()}
                for table in self.tables
            },
            "sheets": {sheet.name: sheet.title for sheet in self.sheets},
        }
