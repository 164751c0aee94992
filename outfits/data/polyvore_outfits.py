"""The Polyvore Outfits data set (Vasileva et al. 2018, arXiv 1803.09196) as its official files have it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from outfits.data.dataset import FillInTheBlank, Item, LabelledOutfit, RawDataset, RawOutfit
from outfits.data.files import (
    IMAGES,
    absent,
    csv_rows,
    get_list,
    get_name,
    image_folder,
    read_json,
    read_json_list,
    read_labelled_lines,
    read_text,
    require_some,
)
from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.naming import normalised

LAYOUT = (
    "polyvore_item_metadata.json, categories.csv, images/ITEMID.jpg and the folders disjoint and nondisjoint, each "
    "with {train,valid,test}.json, compatibility_{train,valid,test}.txt and fill_in_blank_{train,valid,test}.json"
)
TEXT_FIELDS = ("title", "url_name", "description")


@dataclass(frozen=True)
class SplitFile:
    """One ``{train,valid,test}.json``.

    Attributes:
        outfits: its outfits, items by ``item_id``.
        item_ids: ``item_id`` by the name ``SETID_INDEX`` that compatibility and fill-in-the-blank files use.
    """

    outfits: list[RawOutfit]
    item_ids: dict[str, str]


def read_polyvore_outfits(root: Path, variant: str, category_level: str, *, packed: bool = False) -> RawDataset:
    """Reads a root in the Polyvore Outfits layout.

    The catalogue is every item of ``polyvore_item_metadata.json``, which both variants share. An item's text is its
    title, else its ``url_name``, else its description, else empty. A root may be partial: the splits, official tasks
    and images that are absent are left out; without a folder ``images`` no item has an image.

    Args:
        root: folder with the official files.
        variant: ``disjoint`` or ``nondisjoint``.
        category_level: ``fine`` takes the category id's fine name (several ids share one, ``dress`` for instance, and
            are then one category), ``semantic`` the item's semantic category.
        packed: whether files hold the images, so that a folder of them is not missed.

    Raises:
        DataError: if no split file, no metadata or no ``categories.csv`` is there, or a file is not as the layout has
            it.
    """
    root = Path(root)
    folder = root / variant
    files = {split: folder / f"{split}.json" for split in SPLITS}
    require_some(root, list(files.values()), LAYOUT)
    items = read_items(root, category_level)
    of_splits = {
        split: SplitFiles(path, folder / f"fill_in_blank_{split}.json", folder / f"compatibility_{split}.txt")
        for split, path in files.items()
    }
    tasks = read_splits(of_splits, read_split_file, read_fill_in_blank_file, read_compatibility_file)
    optional = [path.relative_to(root).as_posix() for paths in of_splits.values() for path in paths]
    notes = absent(root, [*([] if packed else [IMAGES]), *optional])
    return RawDataset(f"polyvore_outfits {variant}", items, *tasks, notes)


class SplitFiles(NamedTuple):
    """Files of one split: outfits, fill-in-the-blank questions, labelled outfits."""

    outfits: Path
    questions: Path
    labelled: Path


def read_splits(
    files: Mapping[str, SplitFiles],
    read_outfits: Callable[[Path, str], SplitFile],
    read_questions: Callable[[Path, Mapping[str, str]], list[FillInTheBlank]],
    read_labelled: Callable[[Path, Mapping[str, str]], list[LabelledOutfit]],
) -> tuple[list[RawOutfit], dict[str, list[FillInTheBlank]], dict[str, list[LabelledOutfit]]]:
    """Reads the splits whose outfits are there, and of their official tasks those that are."""
    outfits: list[RawOutfit] = []
    fitb: dict[str, list[FillInTheBlank]] = {}
    labelled: dict[str, list[LabelledOutfit]] = {}
    for split, paths in files.items():
        if not paths.outfits.is_file():
            continue
        content = read_outfits(paths.outfits, split)
        outfits += content.outfits
        if paths.questions.is_file():
            fitb[split] = read_questions(paths.questions, content.item_ids)
        if paths.labelled.is_file():
            labelled[split] = read_labelled(paths.labelled, content.item_ids)
    return outfits, fitb, labelled


def read_items(root: Path, category_level: str) -> list[Item]:
    """Items of ``polyvore_item_metadata.json`` with the names of ``categories.csv``."""
    path = root / "polyvore_item_metadata.json"
    metadata = read_json(path)
    if not isinstance(metadata, dict):
        raise DataError(f"{path}: holds no JSON object from item_id to metadata; fetch the file again")
    names = read_category_names(root / "categories.csv")
    images = image_folder(root)
    items = []
    for item_id, entry in metadata.items():
        place = f"{path}: item {item_id}"
        category_id = get_name(entry, "category_id", place)
        fine, semantic = names.get(category_id, ("", ""))
        category = normalised(entry.get("semantic_category") or semantic) if category_level == "semantic" else fine
        image = None if images is None else images / f"{item_id}.jpg"
        items.append(Item(normalised(item_id), category or f"category {category_id}", item_text(entry), image))
    return items


def item_text(entry: Mapping[str, Any]) -> str:
    """Title of an item, else its ``url_name``, else its description, else an empty text."""
    texts = (str(entry.get(name) or "").strip() for name in TEXT_FIELDS)
    return next((text for text in texts if text), "")


def read_category_names(path: Path) -> dict[str, tuple[str, str]]:
    """Fine and semantic name by category id: rows ``ID,fine name,semantic category`` without a header."""
    names = {}
    rows = csv_rows(read_text(path))
    for row in rows:
        if not row:
            continue
        if len(row) != 3:
            raise DataError(f"{path}: line {rows.line_num:,} has {len(row)} fields, not ID,fine name,semantic category")
        category_id, fine, semantic = map(normalised, row)
        names[category_id] = (fine, semantic)
    return names


def read_split_file(path: Path, split: str, read: Callable[[Path], list[Any]] = read_json_list) -> SplitFile:
    """Reads ``train.json``, ``valid.json`` or ``test.json``: a list of ``{"set_id", "items": [{"item_id", "index"}]}``.

    Args:
        path: the file.
        split: the official split it is.
        read: reads the file's list.
    """
    outfits: list[RawOutfit] = []
    names: dict[str, str] = {}
    for number, entry in enumerate(read(path), start=1):
        set_id = get_name(entry, "set_id", f"{path}: outfit number {number:,}")
        item_ids = []
        for item in get_list(entry, "items", f"{path}: outfit {set_id}"):
            place = f"{path}: an item of outfit {set_id}"
            item_id = get_name(item, "item_id", place)
            names[f"{set_id}_{get_name(item, 'index', place)}"] = item_id
            item_ids.append(item_id)
        source = f"{path.parent.name}/{path.name}, outfit number {number:,}"
        outfits.append(RawOutfit(set_id, tuple(item_ids), split, source))
    return SplitFile(outfits, names)


def read_compatibility_file(path: Path, item_ids: Mapping[str, str]) -> list[LabelledOutfit]:
    """Reads rows ``LABEL SETID_INDEX SETID_INDEX ...``.

    Args:
        path: the file.
        item_ids: :attr:`SplitFile.item_ids` of the same split.

    Raises:
        DataError: if a row names an item that the split does not have.
    """
    return [
        LabelledOutfit(tuple(resolved(name, item_ids, place) for name in names), compatible)
        for place, compatible, names in read_labelled_lines(path)
    ]


def read_fill_in_blank_file(path: Path, item_ids: Mapping[str, str]) -> list[FillInTheBlank]:
    """Reads questions ``{"question", "answers", "blank_position"}``.

    The true answer is the one named ``SETID_INDEX`` with the question's set and ``blank_position`` as index; it need
    not come first.

    Args:
        path: the file.
        item_ids: :attr:`SplitFile.item_ids` of the same split.

    Raises:
        DataError: if a question has no true answer or names an item that the split does not have.
    """
    questions = []
    for number, entry in enumerate(read_json_list(path), start=1):
        place = f"{path}: question number {number:,}"
        question = [normalised(name) for name in get_list(entry, "question", place)]
        answers = [normalised(name) for name in get_list(entry, "answers", place)]
        set_ids = {name.rpartition("_")[0] for name in question}
        if len(set_ids) != 1:
            raise DataError(f"{place} is not on one outfit but on {len(set_ids)}; mend the file or fetch it again")
        true_answer = f"{set_ids.pop()}_{get_name(entry, 'blank_position', place)}"
        if answers.count(true_answer) != 1:
            raise DataError(f"{place}: its true answer {true_answer} is not among its answers; fetch the file again")
        questions.append(
            FillInTheBlank(
                tuple(resolved(name, item_ids, place) for name in question),
                tuple(resolved(name, item_ids, place) for name in answers),
                correct=answers.index(true_answer),
            )
        )
    return questions


def resolved(name: str, item_ids: Mapping[str, str], place: str) -> str:
    """Looks up the item id of a name ``SETID_INDEX``; raises :class:`DataError` if the split does not have it."""
    if name not in item_ids:
        raise DataError(f"{place}: {name!r} is in no outfit of this split; take all files from one variant folder")
    return item_ids[name]
