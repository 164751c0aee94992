"""Polyvore-U in the layout of Fashion Hash Net (Lu et al. 2019): tuples of a user, tops, a bottom and shoes.

``image_list_{top,bottom,shoe}`` have an image name a line, whose line numbers the tuples count from 0. The images are
read from ``images/`` if it is there, by the same names.
"""

from pathlib import Path

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import FillInTheBlank, Interaction, Item, RawDataset, RawOutfit
from outfits.data.files import csv_rows, image_folder, name_of, read_lines, read_text, require_some, root_of
from outfits.errors import DataError

CATEGORIES = ("top", "bottom", "shoe")
FILES = {"train": "tuples_train_posi", "valid": "tuples_val_posi", "test": "tuples_test_posi"}
QUESTIONS = "fill_in_blank_test"
LAYOUT = f"image_list_{{{','.join(CATEGORIES)}}} and {', '.join(FILES.values())}"


def read_format(config: DataConfig) -> RawDataset:
    """Reads a folder such as ``tuples_519``, all splits official.

    An outfit of four wrong or true answers of a question differs from the first one in one place.

    Raises:
        DataError: if a file is missing, a tuple is malformed or counts beyond the end of an image list.
    """
    root = root_of(config)
    require_some(root, [root / name for name in FILES.values()], LAYOUT)
    names = {category: _image_names(root / f"image_list_{category}") for category in CATEGORIES}
    folder = image_folder(root)
    items = [
        Item(_item_id(category, number), category, "", None if folder is None else folder / name)
        for category, listed in names.items()
        for number, name in enumerate(listed)
    ]
    outfits: dict[tuple[str, ...], RawOutfit] = {}
    interactions = []
    for split, name in FILES.items():
        for place, user, worn in _tuples(root / name, names) if (root / name).is_file() else ():
            outfit = outfits.setdefault(worn, RawOutfit(str(len(outfits)), worn, split, place))
            interactions.append(Interaction(user, outfit.outfit_id, split, place))
    return RawDataset(
        f"fashion_hash_net {name_of(config)}",
        items,
        list(outfits.values()),
        {"test": list(_questions(root / QUESTIONS, names))} if (root / QUESTIONS).is_file() else {},
        interactions=interactions,
    )


def _image_names(path: Path) -> list[str]:
    """Image names of a list; DataError for a blank line, since tuples count the lines."""
    names = []
    for number, line in read_lines(path):
        names.append(line)
        if number != len(names):
            raise DataError(f"{path}: line {len(names):,} is blank, but tuples count its lines; fetch the file again")
    return names


def _item_id(category: str, number: int) -> str:
    return f"{category}_{number}"


def _tuples(path: Path, names: dict[str, list[str]]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Place, user and items of every row below the header ``user,top[,top],bottom,shoe``."""
    rows = csv_rows(read_text(path))
    header = next(rows, [])
    if header[:1] != ["user"] or set(header[1:]) != set(CATEGORIES):
        raise DataError(f"{path}: line 1 is {','.join(header)!r}, not user,top,bottom,shoe; fetch the file again")
    return [
        (place := f"{path.name}, line {rows.line_num:,}", row[0], _worn(row[1:], header[1:], names, place))
        for row in rows
        if row
    ]


def _worn(numbers: list[str], categories: list[str], names: dict[str, list[str]], place: str) -> tuple[str, ...]:
    """Item ids of a tuple; -1 is no item."""
    worn = []
    if len(numbers) != len(categories):
        raise DataError(
            f"{place}: {','.join(numbers)!r} has not an item for each of {','.join(categories)}; mend the line"
        )
    for number, category in zip(numbers, categories, strict=True):
        try:
            position = int(number)
        except ValueError:
            position = -2
        if not -1 <= position < len(names[category]):
            raise DataError(
                f"{place}: {','.join(numbers)!r} names no {category} of image_list_{category}; mend the line"
            )
        if position >= 0:
            worn.append(_item_id(category, position))
    return tuple(worn)


def _questions(path: Path, names: dict[str, list[str]]) -> list[FillInTheBlank]:
    """Questions of a file whose lines have several outfits, a user before each, the first being true.

    The first line may name the columns.
    """
    questions = []
    for number, line in read_lines(path):
        numbers = line.replace(",", " ").split()
        if number == 1 and numbers[0] == "user":
            continue
        place = f"{path.name}, line {number:,}"
        width = next((width for width in (5, 4) if len(numbers) % width == 0 and len(set(numbers[::width])) == 1), 0)
        if not width:
            raise DataError(f"{place}: no outfits of one user, a user before each; mend the line")
        categories = ["top", *["top"] * (width == 5), "bottom", "shoe"]
        worn = [
            set(_worn(numbers[at + 1 : at + width], categories, names, place)) for at in range(0, len(numbers), width)
        ]
        given = set.intersection(*worn)
        if any(len(outfit - given) != 1 for outfit in worn):
            raise DataError(f"{place}: its outfits differ in more than one item; mend the line")
        questions.append(
            FillInTheBlank(tuple(sorted(given)), tuple((outfit - given).pop() for outfit in worn), 0, numbers[0])
        )
    return questions
