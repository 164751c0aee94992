"""SHIFT15M (Kimura et al. 2021, arXiv 2108.12992), outfits of IQON from 2010 to 2020 without images.

Its features, of a VGG16, are not read: items are known by their categories and prices alone.
"""

import math
from pathlib import Path

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Item, RawDataset, RawOutfit
from outfits.data.files import as_score, get, get_list, get_name, read_json_rows, require_some, root_of

LABELS = ("label/iqon_outfits.json", "iqon_outfits.json")
LAYOUT = "label/iqon_outfits.json, a list of outfits with set_id, like_num and items"


def read_format(config: DataConfig) -> RawDataset:
    """Reads the data set that the ``data`` section names, by :func:`read_shift15m`."""
    return read_shift15m(root_of(config), likes=config.likes)


def read_shift15m(root: Path, *, likes: bool = False) -> RawDataset:
    """Reads outfits and their items; ``likes`` scores outfits by ``like_num``.

    An item's category is its ``category_id2``; its text names both categories and the price in steps of a half octave,
    as words for the text encoder. An item of several outfits is described by the first.

    Raises:
        DataError: if the file is missing or not as the layout has it.
    """
    files = [root / name for name in LABELS]
    require_some(root, files, LAYOUT)
    path = next(file for file in files if file.is_file())
    items: dict[str, Item] = {}
    outfits = []
    for number, entry in enumerate(read_json_rows(path), start=1):
        set_id = get_name(entry, "set_id", f"{path}: outfit number {number:,}")
        item_ids = []
        for item in get_list(entry, "items", f"{path}: outfit {set_id}"):
            place = f"{path}: an item of outfit {set_id}"
            item_id = get_name(item, "item_id", place)
            top, fine = (get_name(item, name, place) for name in ("category_id1", "category_id2"))
            text = f"category{top} type{fine} {_price(get(item, 'price', place))}".strip()
            items.setdefault(item_id, Item(item_id, f"category {fine}", text, None))
            item_ids.append(item_id)
        scores = (as_score(entry.get("like_num")),) if likes else ()
        outfits.append(RawOutfit(set_id, tuple(item_ids), None, f"{path.name}, outfit number {number:,}", scores))
    return RawDataset("shift15m", list(items.values()), outfits, notes=["no images: items have categories and prices"])


def _price(price: object) -> str:
    """A word for a price, the same for prices within a half octave; empty for an unknown one."""
    value = as_score(price)
    return f"price{round(2 * math.log2(value))}" if value > 0 else ""
