"""The Maryland Polyvore data set (Han et al. 2017, arXiv 1707.05691) as its official files have it."""

from pathlib import Path

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import FillInTheBlank, Item, LabelledOutfit, RawDataset, RawOutfit
from outfits.data.files import (
    IMAGES,
    absent,
    as_score,
    get,
    get_list,
    get_name,
    image_folder,
    read_json_list,
    read_labelled_lines,
    read_lines,
    require_some,
    root_of,
)
from outfits.data.outfits import SPLITS
from outfits.data.packed_images import packed_files
from outfits.errors import DataError
from outfits.naming import normalised

LAYOUT = (
    "{train,valid,test}_no_dup.json, category_id.txt, fill_in_blank_test.json, fashion_compatibility_prediction.txt "
    "and images/SETID/INDEX.jpg"
)


def read_format(config: DataConfig) -> RawDataset:
    """The data set that the ``data`` section names, read by :func:`read_maryland`."""
    return read_maryland(root_of(config), "likes" if config.likes else None, packed=bool(packed_files(config)))


def read_maryland(root: Path, score: str | None = None, *, packed: bool = False) -> RawDataset:
    """Reads a root in the Maryland layout.

    An item is named ``SETID_INDEX``, so no item stands in two outfits. A root may be partial: the splits, official
    tasks and images that are absent are left out; without a folder ``images`` no item has an image. A category id
    that ``category_id.txt`` lacks becomes the category ``category ID``, apart from every named one.

    Args:
        root: folder with the official files.
        score: field of an outfit that scores it; None: none.
        packed: whether files hold the images, so that a folder of them is not missed.

    Raises:
        DataError: if no split file or no ``category_id.txt`` is there, or a file is not as the layout has it.
    """
    root = Path(root)
    files = {split: root / f"{split}_no_dup.json" for split in SPLITS}
    require_some(root, list(files.values()), LAYOUT)
    names = read_category_names(root / "category_id.txt")
    images = image_folder(root)
    items: list[Item] = []
    outfits: list[RawOutfit] = []
    for split, path in files.items():
        if path.is_file():
            split_items, split_outfits = read_split_file(path, split, names, images, score)
            items += split_items
            outfits += split_outfits
    questions, rows = root / "fill_in_blank_test.json", root / "fashion_compatibility_prediction.txt"
    fitb = {"test": read_fill_in_blank_file(questions)} if questions.is_file() else {}
    labelled = {"test": read_compatibility_file(rows)} if rows.is_file() else {}
    notes = absent(root, [*([] if packed else [IMAGES]), *(path.name for path in (*files.values(), questions, rows))])
    return RawDataset("maryland", items, outfits, fitb, labelled, notes)


def read_category_names(path: Path) -> dict[str, str]:
    """Names of the category ids: one line ``ID NAME`` each."""
    names = {}
    for number, line in read_lines(path):
        category_id, _, name = normalised(line).partition(" ")
        if not name:
            raise DataError(f"{path}: line {number:,}: {line!r} is not 'ID NAME'; mend the line")
        names[category_id] = name
    return names


def read_split_file(
    path: Path, split: str, names: dict[str, str], images: Path | None, score: str | None = None
) -> tuple[list[Item], list[RawOutfit]]:
    """Items and outfits of one ``*_no_dup.json``.

    Args:
        path: the file.
        split: the official split it is.
        names: category names by category id.
        images: folder of ``SETID/INDEX.jpg``; None: no item has an image.
        score: field of an outfit that scores it; None: none.
    """
    items: list[Item] = []
    outfits: list[RawOutfit] = []
    for number, entry in enumerate(read_json_list(path), start=1):
        set_id = get_name(entry, "set_id", f"{path}: outfit number {number:,}")
        place = f"{path.name}, outfit number {number:,}"
        item_ids = []
        for item in get_list(entry, "items", f"{path}: outfit {set_id}"):
            item_place = f"{path}: an item of outfit {set_id}"
            index = get_name(item, "index", item_place)
            category_id = get_name(item, "categoryid", item_place)
            image = None if images is None else images / set_id / f"{index}.jpg"
            category = names.get(category_id, f"category {category_id}")
            text = str(get(item, "name", item_place) or "").strip()
            items.append(Item(f"{set_id}_{index}", category, text, image))
            item_ids.append(f"{set_id}_{index}")
        scores = () if score is None else (as_score(entry.get(score)),)
        outfits.append(RawOutfit(set_id, tuple(item_ids), split, place, scores))
    return items, outfits


def read_fill_in_blank_file(path: Path) -> list[FillInTheBlank]:
    """Official questions; the first answer is the true one."""
    questions = []
    for number, entry in enumerate(read_json_list(path), start=1):
        place = f"{path}: question number {number:,}"
        question, answers = get_list(entry, "question", place), get_list(entry, "answers", place)
        if not question or not answers:
            raise DataError(f"{place} lacks items or answers; mend the file or fetch it again")
        questions.append(FillInTheBlank(tuple(map(normalised, question)), tuple(map(normalised, answers)), correct=0))
    return questions


def read_compatibility_file(path: Path) -> list[LabelledOutfit]:
    """Official labelled rows ``LABEL ID ID ...``."""
    return [LabelledOutfit(tuple(ids), compatible) for _, compatible, ids in read_labelled_lines(path)]
