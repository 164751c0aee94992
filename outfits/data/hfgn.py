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
    notes, questions = absent(root, [*USERS.values(), QUESTIONS]), list[FillInTheBlank]()
    if (root / QUESTIONS).is_file():
        trained = {frozenset(outfit.item_ids) for outfit in outfits}
        found = _questions(root / QUESTIONS)
        questions = [one for one in found if one is not None and not _about(one, trained)]
        if len(questions) < len(found):
            what = "whose outfits do not differ in one item, or whose true outfit is one of the outfits"
            notes.append(f"questions {what}, left out: {len(found) - len(questions):,}")
    return RawDataset(
        "hfgn",
        items,
        outfits,
        {"test": questions} if questions else {},
        interactions=interactions,
        notes=notes,
        questions_apart=True,
    )


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


def _questions(path: Path) -> list[FillInTheBlank | None]:
    """Questions ``outfit id;length;place of the blank;outfit;outfit;…``, each outfit a comma list, the first true.

    Lists may be padded at their end. None stands for a line whose outfits do not differ in one place alone.
    """
    questions: list[FillInTheBlank | None] = []
    for number, line in read_lines(path):
        fields = [field.strip() for field in line.split(";")]
        if len(fields) < 5 or not fields[1].isdecimal():
            raise DataError(
                f"{path}: line {number:,}: {line[:60]!r} is not OUTFIT;LENGTH;PLACE;ITEM,…;ITEM,…; mend the line"
            )
        worn = [ids.replace(",", " ").split()[: int(fields[1])] for ids in fields[3:]]
        places = list(zip(*worn, strict=False))
        blanks = [place for place, items in enumerate(places) if len(set(items)) > 1]
        if len(blanks) != 1 or len({len(outfit) for outfit in worn}) > 1:
            questions.append(None)
            continue
        given = tuple(item for place, item in enumerate(worn[0]) if place != blanks[0])
        questions.append(FillInTheBlank(given, places[blanks[0]], 0))
    return questions


def _about(question: FillInTheBlank, outfits: set[frozenset[str]]) -> bool:
    """Returns whether the true outfit of a question is one of these."""
    return frozenset((*question.question, question.answers[question.correct])) in outfits
