"""IQON3000 (Song et al. 2019, "GP-BPR"), one JSON file an outfit, ``USER/SETID/….json``, with its images beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Interaction, Item, RawDataset, RawOutfit
from outfits.data.files import get, get_list, get_name, read_json, root_of, what_is_there
from outfits.errors import DataError
from outfits.naming import normalised

LAYOUT = "USER/SETID/….json, each with setId and items, and USER/SETID/ITEMID_m.jpg"
COLOURED = "category x color"
TIMES = (" x ", " × ", "×")  # between category and colour


def read_format(config: DataConfig) -> RawDataset:
    """Reads the data set that the ``data`` section names, by :func:`read_iqon3000`."""
    return read_iqon3000(root_of(config))


def read_iqon3000(root: Path) -> RawDataset:
    """Reads every outfit and its user; an item of several is described by the first, in the order of file names.

    The published archive has files that are no whole JSON, which are left out and counted.

    An item's category is the part of its ``category x color`` before the colour, as published, in Japanese. There is no
    official split. An item has an image if the first of its outfits has ``ITEMID_m.jpg`` beside the JSON file, and none
    otherwise, if there are no images at all.

    Raises:
        DataError: if there is no outfit, or a file is not as the layout has it.
    """
    files = sorted(root.glob("*/*/*.json"))
    if not files:
        raise DataError(
            f"{root} has no USER/SETID/….json; set data.root to a folder with {LAYOUT}; {what_is_there(root / 'USER')}"
        )
    with_images = any(next(file.parent.glob("*_m.jpg"), None) for file in files[:100])
    items: dict[str, Item] = {}
    outfits, interactions, different, broken = [], [], set[str](), list[str]()
    for file in files:
        try:
            entry = read_json(file)
        except DataError:
            broken.append(file.relative_to(root).as_posix())
            continue
        outfit_id, item_ids = get_name(entry, "setId", str(file)), []
        for item in _items(entry, file, with_images):
            item_ids.append(item.item_id)
            first = items.setdefault(item.item_id, item)
            if (first.category, first.text) != (item.category, item.text):
                different.add(item.item_id)
        source = file.relative_to(root).as_posix()
        outfits.append(RawOutfit(outfit_id, tuple(item_ids), None, source))
        interactions.append(Interaction(normalised(file.parent.parent.name), outfit_id, None, source))
    notes = [] if with_images else ["no images beside the outfits; items have none"]
    notes += [f"files that are no JSON, left out: {len(broken):,}, the first {broken[0]}"] if broken else []
    notes += [f"items that outfits describe differently, the first taken: {len(different):,}"] if different else []
    return RawDataset("iqon3000", list(items.values()), outfits, interactions=interactions, notes=notes)


def _items(entry: Any, file: Path, with_images: bool) -> Iterator[Item]:
    for item in get_list(entry, "items", str(file)):
        place = f"{file}: an item"
        item_id = get_name(item, "itemId", place)
        image = file.parent / f"{item_id}_m.jpg" if with_images else None
        text = str(get(item, "itemName", place) or "").strip()
        yield Item(item_id, _category(str(item.get(COLOURED) or "")), text, image)


def _category(coloured: str) -> str:
    """The part before the colour; ``unknown`` where it is empty, as where an item has none."""
    for sign in TIMES:
        coloured = coloured.partition(sign)[0]
    return normalised(coloured) or "unknown"
