"""Writes the built-in data set where it is missing, and reads it with its true factors."""

from dataclasses import replace
from pathlib import Path

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import FurtherImage, RawDataset
from outfits.data.maryland import read_maryland
from outfits.data.synthetic.factors import FACTORS, read_factors
from outfits.data.synthetic.tastes import read_users
from outfits.data.synthetic.writing import MOVED, PAIRS, SCORE, write_synthetic
from outfits.data.tables import read_table
from outfits.errors import DataError


def read_format(config: DataConfig) -> RawDataset:
    """Returns the data set of the ``data`` section, with its factors as attributes of the items.

    Raises:
        DataError: if the root has other contents, or lacks the factors of an item.
    """
    root = Path(config.root)
    write_synthetic(root, config.synthetic)
    raw = read_maryland(root, SCORE if config.synthetic.graded else None)
    factors = read_factors(root)
    missing = [item.item_id for item in raw.items if item.item_id not in factors]
    if missing:
        raise DataError(
            f"{root / FACTORS} lacks item {missing[0]!r}; {len(missing):,} such item(s). Delete {root} and run again"
        )
    items = [replace(item, attributes=factors[item.item_id]) for item in raw.items]
    interactions = read_users(root) if config.synthetic.users else ()
    further: list[FurtherImage] = []
    if config.synthetic.further_images:
        pairs = read_table(root / PAIRS, "data.format")
        rows = zip(pairs["item_id"], pairs["image"], strict=True)
        further = [FurtherImage(item_id, root / image, MOVED) for item_id, image in rows]
    return replace(raw, name="synthetic", items=items, interactions=interactions, further_images=further)
