"""Outfits that users clicked, in the layout of HFGN (Li et al. 2020): lines of ids, apart by blanks.

There are no images and no texts; the image features of that layout are not read.
"""

from pathlib import Path

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import FillInTheBlank, Interaction, Item, RawDataset, RawOutfit
from outfits.data.files import absent, read_lines, require_some, root_of
from outfits.data.users import with_validation
from outfits.errors import DataError

OUTFITS, ITEMS = "new_fltb/fltb_train_outfit_item.txt", "new_fltb/fltb_item_cate2.txt"
USERS = {"train": "train_uo.txt", "test": "test_uo.txt"}
QUESTIONS = "new_fltb/fltb_test.txt"


def read_format(config: DataConfig) -> RawDataset:
    """Reads the folder that holds ``train_uo.txt`` and ``test_uo.txt``.

    Of what users clicked for training a seeded share is kept for validation, as its authors did; outfits have no split
    of their own, so ``data.split.mode=grouped`` draws one for S.

    Raises:
        DataError: if a file is missing, or a line has no ids.
    """
    root = root_of(config)
    require_some(root, [root / name for name in USERS.values()], f"{', '.join(USERS.values())}, {OUTFITS} and {ITEMS}")
    items = [Item(item_id, f"category {_one(rest, place)}", "", None) for place, item_id, rest in _lines(root / ITEMS)]
    outfits = [RawOutfit(outfit_id, tuple(rest), None, place) for place, outfit_id, rest in _lines(root / OUTFITS)]
    pairs = [
        Interaction(user_id, outfit_id, split, place)
        for split, name in USERS.items()
        if (root / name).is_file()
        for place, user_id, rest in _lines(root / name)
        for outfit_id in rest
    ]
    splits = with_validation([str(pair.split) for pair in pairs], config.split.valid_share, config.split.seed)
    interactions = [
        Interaction(pair.user_id, pair.outfit_id, split, pair.source) for pair, split in zip(pairs, splits, strict=True)
    ]
    questions = {"test": _questions(root / QUESTIONS)} if (root / QUESTIONS).is_file() else {}
    notes = absent(root, [*USERS.values(), QUESTIONS])
    return RawDataset("hfgn", items, outfits, questions, interactions=interactions, notes=notes)


def _lines(path: Path) -> list[tuple[str, str, list[str]]]:
    """Place, first id and the other ids of every line; DataError for a line with one id alone."""
    lines = []
    for number, line in read_lines(path):
        first, *rest = line.split()
        if not rest:
            raise DataError(f"{path}: line {number:,} has the id {first!r} alone; mend the line")
        lines.append((f"{path.name}, line {number:,}", first, rest))
    return lines


def _one(ids: list[str], place: str) -> str:
    if len(ids) != 1:
        raise DataError(f"{place}: an item has one category, not {len(ids)}; mend the line")
    return ids[0]


def _questions(path: Path) -> list[FillInTheBlank]:
    """Questions ``outfits;lengths;mask;outfit;outfit;…``, each outfit a comma list, the first true."""
    questions = []
    for number, line in read_lines(path):
        fields = line.split(";")
        worn = [tuple(ids.replace(",", " ").split()) for ids in fields[3:]]
        given = set.intersection(*map(set, worn)) if worn else set()
        answers = [[item for item in outfit if item not in given] for outfit in worn]
        if len(worn) < 2 or any(len(found) != 1 for found in answers):
            raise DataError(f"{path}: line {number:,} has no outfits that differ in one item; mend the line")
        given_in_order = tuple(item for item in worn[0] if item in given)
        questions.append(FillInTheBlank(given_in_order, tuple(found[0] for found in answers), 0))
    return questions
