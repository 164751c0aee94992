"""POG, outfits of Alibaba's iFashion (Chen et al. 2019, arXiv 1905.01866) and who clicked them, in its raw files."""

from collections.abc import Iterator
from pathlib import Path
from sys import intern

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Interaction, Item, RawDataset, RawOutfit
from outfits.data.files import absent, image_folder, require_some, root_of, what_is_there
from outfits.errors import DataError
from outfits.naming import normalised

OUTFITS, ITEMS, USERS = "outfit_data.txt", "item_data.txt", "user_data.txt"
LAYOUT = f"{OUTFITS} (lines OUTFIT,ITEM;ITEM;…) and {ITEMS} (lines ITEM,CATEGORY,URL,TITLE)"


def read_format(config: DataConfig) -> RawDataset:
    """Reads the data set that the ``data`` section names, by :func:`read_pog`."""
    return read_pog(root_of(config))


def read_pog(root: Path) -> RawDataset:
    """Reads outfits, those items that stand in one, and the outfit that each line of the users' file ends with.

    Most of the published items stand in no outfit; the items that a user clicked before the outfit are not read.

    Images are published as addresses only: an item has one if the root has ``images/ITEM.jpg`` files. There is no
    official split.

    Raises:
        DataError: if a file is missing, or a line is not as the layout has it.
    """
    outfits_file, items_file = root / OUTFITS, root / ITEMS
    require_some(root, [outfits_file], LAYOUT)
    outfits = []
    for number, line in _lines(outfits_file):
        outfit_id, comma, names = line.partition(",")
        item_ids = tuple(normalised(name) for name in names.split(";") if name.strip())
        if not comma or not item_ids:
            raise DataError(f"{outfits_file}: line {number:,}: {line[:60]!r} is not OUTFIT,ITEM;ITEM;…; mend the line")
        outfits.append(RawOutfit(normalised(outfit_id), item_ids, None, f"{OUTFITS} line {number:,}"))
    worn = {item_id for outfit in outfits for item_id in outfit.item_ids}
    images = image_folder(root)
    items, unused = [], 0
    for number, line in _lines(items_file):
        fields = line.split(",", 3)  # titles hold commas
        if len(fields) != 4:
            raise DataError(
                f"{items_file}: line {number:,}: {line[:60]!r} is not ITEM,CATEGORY,URL,TITLE; mend the line"
            )
        item_id, category, _, title = fields
        name = normalised(item_id)
        if name not in worn:
            unused += 1
            continue
        image = None if images is None else images / f"{name}.jpg"
        items.append(Item(name, f"category {normalised(category)}", title.strip(), image))
    notes = [f"items in no outfit, not read: {unused:,}", *absent(root, ["images", USERS])]
    return RawDataset("pog", items, outfits, interactions=_clicked(root / USERS), notes=notes)


def _clicked(file: Path) -> list[Interaction]:
    """A user and the outfit that was clicked, of every line USER,ITEM;ITEM;…,OUTFIT; none without the file."""
    clicked = []
    for number, line in _lines(file) if file.is_file() else ():
        fields = line.split(",")
        if len(fields) != 3 or not fields[0].strip() or not fields[2].strip():
            raise DataError(f"{file}: line {number:,}: {line[:60]!r} is not USER,ITEM;ITEM;…,OUTFIT; mend the line")
        user, outfit = (intern(normalised(field)) for field in (fields[0], fields[2]))  # a thousand of each name
        clicked.append(Interaction(user, outfit, None, USERS, line=number))
    return clicked


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, which may be larger than the memory, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; a root has {LAYOUT}; {what_is_there(path)}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
