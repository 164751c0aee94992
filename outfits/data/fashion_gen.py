"""FashionGen (Rostamzadeh et al. 2018) as FAME-ViL (Han et al. 2023) lays it out: photos of products with texts.

``{train,val}_info.json`` are lists of products with ``id``, ``title``, ``description``, ``subcategory_id`` and
``images``, names of files in ``train/`` and ``val/``, or all in ``images/``. Every photo is an item, whose text is
title and description. Published
figures are of ``val``, which is the test split here; some products of ``train`` are kept for validation.
"""

from pathlib import Path

import numpy as np

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Item, RawDataset
from outfits.data.files import absent, get, get_list, get_name, image_folder, read_json_list, require_some, root_of

FILES = {"train": "train", "val": "test"}
"""Splits by the names of their files and folders."""
STREAM = 42  # first number of the seed of what is kept for validation


def read_format(config: DataConfig) -> RawDataset:
    """Reads a root with both files; raises DataError if one is missing or malformed."""
    root = root_of(config)
    layout = "train_info.json, val_info.json and the folders train and val, or images"
    require_some(root, [root / f"{name}_info.json" for name in FILES], layout)
    items, without = list[Item](), list[str]()
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    rng = np.random.default_rng([config.split.seed, STREAM])
    for name, split in FILES.items():
        file = root / f"{name}_info.json"
        folder = root / name if (root / name).is_dir() else image_folder(root)
        without += [name] if folder is None else []
        for number, product in enumerate(read_json_list(file)):
            place = f"{file}: product {number:,}"
            product_id = get_name(product, "id", place)
            text = ". ".join(part for field in ("title", "description") if (part := _text(product, field, place)))
            category = f"subcategory {get_name(product, 'subcategory_id', place)}"
            kept = "valid" if split == "train" and rng.random() < config.split.valid_share else split
            for view, image in enumerate(get_list(product, "images", place)):
                path = None if folder is None else folder / Path(str(image))
                items.append(Item(f"{product_id}_{view}", category, text, path))
                splits[kept].append(items[-1].item_id)
    notes = [f"{config.split.valid_share:.0%} of the products of train are kept for validation; val is the test split"]
    notes += absent(root, without)
    return RawDataset("fashion_gen", items, [], notes=notes, item_splits=splits)


def _text(product: object, field: str, place: str) -> str:
    return str(get(product, field, place)).strip().rstrip(".")
