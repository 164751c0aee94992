"""Polyvore Outfits in its public forms: the official files, and what owj0421 published on the Hugging Face Hub.

In the latter, a root has the JSON files of ``owj0421/polyvore-outfits``, in the folders ``VARIANT_default``,
``VARIANT_compatibility`` and ``VARIANT_fill_in_the_blank``; the items come from the Parquet files of
``owj0421/polyvore``, which lie there too or are named by ``data.images``.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import FillInTheBlank, Item, LabelledOutfit, RawDataset
from outfits.data.files import absent, get_list, get_name, read_json_rows, root_of
from outfits.data.image_files import open_parquet
from outfits.data.outfits import SPLITS
from outfits.data.packed_images import ID_COLUMNS, packed_files, require_column
from outfits.data.polyvore_outfits import SplitFiles, read_polyvore_outfits, read_split_file, read_splits, resolved
from outfits.errors import ConfigError, DataError
from outfits.naming import normalised

LAYOUT = (
    "{disjoint,nondisjoint}_{default,compatibility,fill_in_the_blank}/{train,valid,test}.json and data/*.parquet with "
    "the columns item_id, image, title, url_name, description and category"
)
TEXT_COLUMNS = ("title", "url_name", "description")


def read_format(config: DataConfig) -> RawDataset:
    """Reads the data set that the ``data`` section names in whichever form the root has.

    The official files may have their images in a folder or in Parquet files.
    """
    root, packed = root_of(config), packed_files(config)
    if has_rows(root, config.variant):
        return read_polyvore_rows(root, config.variant, config.category_level, packed)
    return read_polyvore_outfits(root, config.variant, config.category_level, packed=bool(packed))


def has_rows(root: Path, variant: str) -> bool:
    """Tells whether a root has splits in this form."""
    return any((root / f"{variant}_default" / f"{split}.json").is_file() for split in SPLITS)


def read_polyvore_rows(root: Path, variant: str, category_level: str, tables: Sequence[Path]) -> RawDataset:
    """Reads a root in owj0421's form; splits and official tasks that are absent are left out.

    Args:
        root: folder with the JSON files.
        variant: ``disjoint`` or ``nondisjoint``.
        category_level: ``semantic``, since the tables have no finer one.
        tables: Parquet files with the items.

    Raises:
        ConfigError: for another category level.
        DataError: if there is no table, or a file is not as the form has it.
    """
    if category_level != "semantic":
        raise ConfigError(
            [
                f"data.category_level: this form of Polyvore Outfits has no {category_level} categories; "
                "set it to semantic, or take the official files"
            ]
        )
    if not tables:
        raise DataError(
            f"{root} has splits but no items; put {LAYOUT} there, or name the files with data.images, as in "
            "data.images=hf://owj0421/polyvore/data/*.parquet"
        )
    items = [item for table in tables for item in read_item_table(table)]
    tasks = ("default", "fill_in_the_blank", "compatibility")
    files = {split: SplitFiles(*(root / f"{variant}_{task}" / f"{split}.json" for task in tasks)) for split in SPLITS}
    read_outfits = partial(read_split_file, read=read_json_rows)
    read = read_splits(files, read_outfits, _read_questions, _read_labelled)
    notes = absent(root, [path.relative_to(root).as_posix() for paths in files.values() for path in paths])
    return RawDataset(f"polyvore_outfits {variant}", items, *read, notes)


def read_item_table(path: Path) -> list[Item]:
    """Reads the items of one Parquet file; their images are found later, by ``data.images``."""
    opened = open_parquet(path)
    columns = opened.schema_arrow.names
    key = require_column(path, columns, ID_COLUMNS[:2])
    category = require_column(path, columns, ["category"])
    texts = [name for name in TEXT_COLUMNS if name in columns] or [require_column(path, columns, TEXT_COLUMNS)]
    items = []
    for batch in opened.iter_batches(columns=[key, category, *texts]):
        for row in batch.to_pylist():
            text = next((text for name in texts if (text := str(row[name] or "").strip())), "")
            items.append(Item(normalised(row[key]), normalised(row[category] or ""), text, None))
    return items


def _read_labelled(path: Path, item_ids: Mapping[str, str]) -> list[LabelledOutfit]:
    rows = []
    for number, entry in enumerate(read_json_rows(path), start=1):
        place = f"{path}: row {number:,}"
        label = get_name(entry, "label", place)
        if label not in ("0", "1"):
            raise DataError(f"{place}: the label {label!r} is neither 0 nor 1; fetch the file again")
        rows.append(LabelledOutfit(_ids(entry, "items", item_ids, place), label == "1"))
    return rows


def _read_questions(path: Path, item_ids: Mapping[str, str]) -> list[FillInTheBlank]:
    questions = []
    for number, entry in enumerate(read_json_rows(path), start=1):
        place = f"{path}: question number {number:,}"
        answers = _ids(entry, "candidates", item_ids, place)
        label = get_name(entry, "label", place)
        if not label.isdigit() or int(label) >= len(answers):
            raise DataError(f"{place}: the label {label!r} is not the place of a candidate; fetch the file again")
        given = _ids(entry, "items", item_ids, place)
        questions.append(FillInTheBlank(given, answers, int(label)))
    return questions


def _ids(entry: Any, name: str, item_ids: Mapping[str, str], place: str) -> tuple[str, ...]:
    return tuple(resolved(normalised(item), item_ids, place) for item in get_list(entry, name, place))
