"""Writes the synthetic data set in the Maryland layout, atomically."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from outfits.config.schema.data import SyntheticConfig
from outfits.data.synthetic.drawing import draw_garment
from outfits.data.synthetic.factors import FACTORS, write_factors
from outfits.data.synthetic.naming import item_name
from outfits.data.synthetic.placement import Placement, draw_placements
from outfits.data.synthetic.rules import Stylist
from outfits.data.synthetic.tasks import Appearance, TaskMaker
from outfits.data.synthetic.tastes import write_users
from outfits.data.synthetic.wardrobe import CATEGORIES, Garment, make_wardrobe
from outfits.errors import DataError
from outfits.storage import writing

MANIFEST = "synthetic.json"
SCORE = "score"  # field of a graded outfit
PAIRS = "pairs.csv"  # further images of items, in the folder FURTHER
FURTHER = "further_images"
MOVED = "moved"  # kind of further images
# Raise this with every change of the written files.
GENERATOR_VERSION = 2
SHARES: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
_FILES = (
    *(f"{split}_no_dup.json" for split in SHARES),
    "category_id.txt",
    "fill_in_blank_test.json",
    "fashion_compatibility_prediction.txt",
    FACTORS,
    "images",
)
_FIRST_SET_ID = 100_000_001
_JPEG_QUALITY = 88
# Each subject has its own stream, so that a change of one (more words, say) leaves the others unchanged.
_WARDROBE, _OUTFITS, _ITEMS, _PICTURES, _TASKS, _PLACEMENTS, _GRADES, _USERS, _FURTHER = range(9)


def is_complete(root: Path, config: SyntheticConfig) -> bool:
    """Tells whether a complete data set of these settings and this generator version is there.

    The manifest ``synthetic.json`` marks it: it appears together with all other files or not at all.
    """
    return _manifest(root) == _expected(config) and not _missing(root)


def write_synthetic(root: Path, config: SyntheticConfig) -> None:
    """Writes the data set to ``root``, unless it is there already; equal settings and Pillow versions give equal bytes.

    Writes all files to a temporary folder beside ``root`` and renames it at the end: a killed write leaves only that
    hidden folder, and of several processes the first to finish wins and the others use its files.

    Raises:
        DataError: if ``root`` has other contents, which are never touched, or the settings ask for more distinct
            outfits than the garments allow.
    """
    root = Path(root)
    if _is_there(root, config):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = root.with_name(f".{root.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        with writing(root):
            _write(temporary, config)
        try:
            temporary.rename(root)
        except OSError:
            # Another process was faster; this raises unless its files are complete.
            if not _is_there(root, config):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_there(root: Path, config: SyntheticConfig) -> bool:
    """Like :func:`is_complete`, but raises DataError for other contents of ``root``."""
    if is_complete(root, config):
        return True
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found, expected = _manifest(root), _expected(config)
    if found is None:
        raise DataError(
            f"{root} exists and is no synthetic data set; set data.root to a folder that does not exist yet, or "
            "data.format to the layout of what is there"
        )
    if found == expected:
        raise DataError(f"{root} is a synthetic data set without {_missing(root)[0]}; delete the folder and run again")
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    values = ", ".join(f"{key}={found.get(key)} not {expected.get(key)}" for key in differing)
    raise DataError(
        f"{root} is a synthetic data set of other settings ({values}); set data.root to another folder, or "
        "delete this one"
    )


def _expected(config: SyntheticConfig) -> dict[str, object]:
    settings = asdict(config)
    for choice in ("graded", "users", "further_images"):
        if not settings[choice]:
            del settings[choice]  # data sets written before there was this choice are still what they were
    return {"generator_version": GENERATOR_VERSION, **settings}


def _manifest(root: Path) -> dict[str, object] | None:
    """Reads the manifest; None if it is missing or malformed."""
    try:
        content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


def _missing(root: Path) -> list[str]:
    return [name for name in _FILES if not (root / name).exists()]


def _write(root: Path, config: SyntheticConfig) -> None:
    root.mkdir()
    wardrobe = make_wardrobe(config.items, np.random.default_rng([config.seed, _WARDROBE]))
    stylist = Stylist(wardrobe, np.random.default_rng([config.seed, _OUTFITS]))
    rng = np.random.default_rng([config.seed, _ITEMS])
    chosen = stylist.outfits(config.outfits)
    if config.graded:
        grades = np.random.default_rng([config.seed, _GRADES])
        chosen = [stylist.spoilt(outfit, grades) if grades.random() < config.graded else outfit for outfit in chosen]
    worn = [_wear(number, outfit, wardrobe, rng) for number, outfit in enumerate(chosen)]
    for split, outfits in _split(worn).items():
        entries = [_set_entry(outfit, wardrobe, rng) for outfit in outfits]
        scores = [stylist.grade([item.garment for item in outfit]) for outfit in outfits]
        if config.graded:
            entries = [{**entry, SCORE: score} for entry, score in zip(entries, scores, strict=True)]
            outfits = [outfit for outfit, score in zip(outfits, scores, strict=True) if score == 1]
        _dump(entries, root / f"{split}_no_dup.json")
        if split == "test":
            maker = TaskMaker(outfits, stylist.matches, np.random.default_rng([config.seed, _TASKS]))
            _dump(maker.questions(), root / "fill_in_blank_test.json")
            lines = [f"{label} {' '.join(item_ids)}\n" for label, item_ids in maker.labelled()]
            (root / "fashion_compatibility_prediction.txt").write_text("".join(lines), encoding="utf-8")
    lines = [f"{_category_id(number)} {category.name}\n" for number, category in enumerate(CATEGORIES)]
    (root / "category_id.txt").write_text("".join(lines), encoding="utf-8")
    # Without variation every placement is the whole image: its levels are drawn but not written.
    placements = draw_placements(len(wardrobe), np.random.default_rng([config.seed, _PLACEMENTS]))
    appearances = [item for outfit in worn for item in outfit]
    if config.users:
        write_users(root, worn, wardrobe, np.random.default_rng([config.seed, _USERS]), config.users)
    write_factors(root, appearances, wardrobe, placements if config.vary else None)
    _write_pictures(root / "images", worn, wardrobe, placements, config)
    if config.further_images:
        _write_further(root, worn, wardrobe, config)
    _dump(_expected(config), root / MANIFEST)


def _category_id(category: int) -> int:
    return category + 1


def _wear(
    number: int, outfit: Sequence[int], wardrobe: Sequence[Garment], rng: np.random.Generator
) -> list[Appearance]:
    """Names the items; leaves an index out now and then, as the official files do."""
    indices = np.cumsum(1 + (rng.random(len(outfit)) < 0.05))
    set_id = _FIRST_SET_ID + number
    return [
        Appearance(f"{set_id}_{index}", garment, wardrobe[garment].category)
        for index, garment in zip(indices, outfit, strict=True)
    ]


def _split(worn: Sequence[list[Appearance]]) -> dict[str, list[list[Appearance]]]:
    """Returns the outfits, already in random order, by official split."""
    bounds = np.round(np.cumsum([0, *SHARES.values()]) * len(worn)).astype(int)
    return {split: list(worn[bounds[place] : bounds[place + 1]]) for place, split in enumerate(SHARES)}


def _set_entry(
    outfit: Sequence[Appearance], wardrobe: Sequence[Garment], rng: np.random.Generator
) -> dict[str, object]:
    """Returns an outfit with the fields of the official files; URLs are empty."""
    items = []
    for item in outfit:
        garment = wardrobe[item.garment]
        priced = rng.random() < 0.9
        items.append(
            {
                "index": int(item.item_id.partition("_")[2]),
                "name": item_name(garment, rng),
                "price": float(round(15 * 2.2**garment.formality * rng.lognormal(0, 0.4))) if priced else -1,
                "likes": int(rng.geometric(0.005)),
                "image": "",
                "categoryid": _category_id(garment.category),
            }
        )
    set_id = outfit[0].item_id.partition("_")[0]
    return {
        "name": f"Look {int(set_id) - _FIRST_SET_ID + 1}",
        "views": int(rng.geometric(0.002)),
        "items": items,
        "image": "",
        "likes": int(rng.geometric(0.02)),
        "date": "",
        "set_url": "",
        "set_id": set_id,
        "desc": "",
    }


def _write_pictures(
    folder: Path,
    worn: Sequence[Sequence[Appearance]],
    wardrobe: Sequence[Garment],
    placements: Sequence[Placement],
    config: SyntheticConfig,
) -> None:
    """Draws each garment once and writes its image for each of its appearances."""
    places: dict[int, list[Path]] = {}
    for outfit in worn:
        for item in outfit:
            set_id, _, index = item.item_id.partition("_")
            places.setdefault(item.garment, []).append(folder / set_id / f"{index}.jpg")
        (folder / outfit[0].item_id.partition("_")[0]).mkdir(parents=True)
    for garment, paths in places.items():
        content = _picture(garment, wardrobe, placements[garment], config.vary, config)
        for path in paths:
            path.write_bytes(content)


def _picture(
    garment: int, wardrobe: Sequence[Garment], placement: Placement, vary: float, config: SyntheticConfig
) -> bytes:
    """A garment's image as JPEG; its folds and pattern are the same at every place and size."""
    rng = np.random.default_rng([config.seed, _PICTURES, garment])
    buffer = BytesIO()
    side, left, top = placement.square(config.image_size, vary)
    image = Image.new("RGB", (config.image_size, config.image_size), "white")
    image.paste(draw_garment(wardrobe[garment], side, rng), (left, top))
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _write_further(
    root: Path, worn: Sequence[Sequence[Appearance]], wardrobe: Sequence[Garment], config: SyntheticConfig
) -> None:
    """Draws each garment again at other places and sizes, and writes which items these images show."""
    folder, rows = root / FURTHER, ["item_id,image"]
    folder.mkdir()
    appearances = sorted((item.garment, item.item_id) for outfit in worn for item in outfit)
    for garment in dict.fromkeys(garment for garment, _ in appearances):
        rng = np.random.default_rng([config.seed, _FURTHER, garment])
        for number, placement in enumerate(draw_placements(config.further_images, rng)):
            content = _picture(garment, wardrobe, placement, 1.0, config)
            (folder / f"{garment}_{number}.jpg").write_bytes(content)
    for garment, item_id in appearances:
        rows += [f"{item_id},{FURTHER}/{garment}_{number}.jpg" for number in range(config.further_images)]
    (root / PAIRS).write_text("\n".join([*rows, ""]), encoding="utf-8")


def _dump(content: object, path: Path) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
