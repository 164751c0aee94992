"""FashionIQ (Wu et al. 2021): dresses, shirts and tops, and in words how one differs from another.

``captions/cap.CLASS.{train,val}.json`` have ``{candidate, target, captions}`` and
``image_splits/split.CLASS.{train,val}.json`` the names of a split's images, which are ``images/NAME.jpg``; classes are
dress, shirt and toptee. Published figures are of the ``val`` files, which are the test split here; some refinements of
``train`` are kept for validation.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Item, RawDataset, RawRefinement
from outfits.data.files import absent, get_list, get_name, image_folder, read_json_list, require_some, root_of
from outfits.errors import DataError
from outfits.naming import normalised

CLASSES = ("dress", "shirt", "toptee")
FILES = {"train": "train", "val": "test"}
"""Splits by the names of their files."""
LAYOUT = "captions/cap.CLASS.{train,val}.json, image_splits/split.CLASS.{train,val}.json and images/NAME.jpg"
STREAM = 41  # first number of the seed of what is kept for validation


def read_format(config: DataConfig) -> RawDataset:
    """Reads a root in the official layout; classes that it lacks are left out.

    Raises:
        DataError: if a file is missing or malformed, or a refinement names an image of no split.
    """
    root = root_of(config)
    require_some(root, [root / "captions" / f"cap.{name}.train.json" for name in CLASSES], LAYOUT)
    classes = [name for name in CLASSES if (root / "captions" / f"cap.{name}.train.json").is_file()]
    folder, items = image_folder(root), dict[str, Item]()
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    refinements: list[RawRefinement] = []
    rng = np.random.default_rng([config.split.seed, STREAM])
    for name in classes:
        for file, split in FILES.items():
            for image in read_json_list(root / "image_splits" / f"split.{name}.{file}.json"):
                item_id = f"{name}_{normalised(image)}"
                path = None if folder is None else folder / f"{normalised(image)}.jpg"
                items.setdefault(item_id, Item(item_id, name, "", path))
                splits[split].append(item_id)
            rows = list(_rows(root / "captions" / f"cap.{name}.{file}.json", name, split, items))
            kept = rng.random(len(rows)) < config.split.valid_share if split == "train" else np.zeros(len(rows), bool)
            for row, valid in zip(rows, kept.tolist(), strict=True):
                refinements.append(RawRefinement(row.reference, row.target, row.captions, "valid") if valid else row)
                if valid:
                    splits["valid"] += [row.reference, row.target]
    notes = [
        f"{config.split.valid_share:.0%} of the refinements of train are kept for validation; val is the test split"
    ]
    notes += absent(root, ["images"])
    members = {split: list(dict.fromkeys(names)) for split, names in splits.items()}
    return RawDataset("fashion_iq", list(items.values()), [], notes=notes, item_splits=members, refinements=refinements)


def _rows(path: Path, name: str, split: str, items: dict[str, Item]) -> Iterator[RawRefinement]:
    for number, entry in enumerate(read_json_list(path)):
        place = f"{path}: entry {number:,}"
        reference, target = (f"{name}_{get_name(entry, field, place)}" for field in ("candidate", "target"))
        for item_id in (reference, target):
            if item_id not in items:
                image = item_id.removeprefix(f"{name}_")
                raise DataError(f"{place}: image {image!r} is in no split.{name} file; complete image_splits")
        captions = [str(text).strip() for text in _texts(entry, place)]
        yield RawRefinement(reference, target, tuple(text for text in captions if text), split)


def _texts(entry: Any, place: str) -> list[Any]:
    texts = get_list(entry, "captions", place)
    if not any(str(text).strip() for text in texts):
        raise DataError(f"{place} has no caption; mend the file or fetch it again")
    return texts
