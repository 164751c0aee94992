"""Writes and reads ``factors.csv``, the true factors of every image, to evaluate representations."""

import csv
from collections.abc import Sequence
from pathlib import Path

from outfits.data.synthetic.placement import Placement
from outfits.data.synthetic.tasks import Appearance
from outfits.data.synthetic.wardrobe import PLAIN, Garment
from outfits.data.tables import read_table

FACTORS = "factors.csv"
_ITEM_ID = "item_id"


def write_factors(
    root: Path, items: Sequence[Appearance], wardrobe: Sequence[Garment], placements: Sequence[Placement] | None
) -> None:
    """Writes a row per item; without ``placements`` all are alike, so size and place are no factors."""
    rows = []
    for item in items:
        row = {_ITEM_ID: item.item_id, **_of_garment(wardrobe[item.garment])}
        if placements is not None:
            row |= _of_placement(placements[item.garment])
        rows.append(row)
    with (root / FACTORS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _of_garment(garment: Garment) -> dict[str, str]:
    return {
        "shape": garment.kind.name,
        "style": garment.style,
        "warmth": str(garment.warmth),
        "formality": str(garment.formality),
        "colour": garment.colour.name,
        "shade": garment.shade or PLAIN,
        "pattern": garment.pattern,
        "variant": str(garment.variant),
    }


def _of_placement(placement: Placement) -> dict[str, str]:
    return {
        "size": str(placement.size),
        "horizontal": str(placement.horizontal),
        "vertical": str(placement.vertical),
    }


def read_factors(root: Path) -> dict[str, dict[str, str]]:
    """Reads the factors of every item, by item id and by name; DataError if the file is missing or malformed."""
    table = read_table(root / FACTORS, "data.format")
    names = list(table.columns)
    rows = (dict(zip(names, row, strict=True)) for row in zip(*(table[name] for name in names), strict=True))
    return {row.pop(_ITEM_ID, ""): row for row in rows}
