"""Small but complete roots in every layout the parsers read: images, texts, official splits and official tasks.

The outfits follow one rule that a scorer can learn: all items of an outfit have one colour.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 60, 190), "sand": (210, 190, 140)}
CATEGORIES = ("dress", "coat", "boots", "bag", "hat", "scarf", "belt", "earrings")
OUTFITS = {"train": 32, "valid": 12, "test": 12}
POOL = {"train": 2, "valid": 1, "test": 1}  # items of each colour and category that only this split's outfits have


@dataclass(frozen=True)
class Garment:
    number: int
    colour: str
    category: str
    pool: str

    @property
    def item_id(self) -> str:
        return str(1000 + self.number)

    @property
    def text(self) -> str:
        return f"{self.colour} {self.category} number {self.number}"

    def save_picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(self.number).integers(-25, 26, size=(24, 24, 3))
        pixels = np.full((24, 24, 3), 255)
        row = 2 * CATEGORIES.index(self.category)
        pixels[row : row + 10, 4:20] = np.array(COLOURS[self.colour])
        Image.fromarray(np.clip(pixels + shade, 0, 255).astype(np.uint8)).save(path, quality=90)


@dataclass(frozen=True)
class Look:
    """An outfit of the fixtures."""

    set_id: str
    split: str
    garments: tuple[Garment, ...]


def garments() -> list[Garment]:
    """128 garments: every colour in every category, twice for train, once for valid and test."""
    kinds = [
        (colour, category, pool)
        for pool, copies in POOL.items()
        for _ in range(copies)
        for colour in COLOURS
        for category in CATEGORIES
    ]
    return [Garment(number, *kind) for number, kind in enumerate(kinds)]


def looks(seed: int = 0, *, disjoint: bool = True) -> list[Look]:
    """56 distinct outfits of 4 to 6 garments of one colour, all of different categories.

    Args:
        seed: seed of the outfits.
        disjoint: every split has its own garments.
    """
    rng = np.random.default_rng(seed)
    made: list[Look] = []
    seen: set[frozenset[int]] = set()
    for split, wanted in OUTFITS.items():
        while sum(look.split == split for look in made) < wanted:
            colour = str(rng.choice(list(COLOURS)))
            categories = rng.choice(CATEGORIES, size=rng.integers(4, 7), replace=False)
            chosen = []
            for category in categories:
                fitting = [g for g in garments() if g.colour == colour and g.category == category]
                fitting = [g for g in fitting if g.pool == split or not disjoint]
                chosen.append(fitting[rng.integers(len(fitting))])
            if (numbers := frozenset(g.number for g in chosen)) not in seen:
                seen.add(numbers)
                made.append(Look(str(200_000 + len(made)), split, tuple(chosen)))
    return made


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _index(position: int) -> int:
    """Index of the item at this position: not consecutive, as in the official files."""
    return position + 1 + (position >= 2)


def _names(look: Look) -> list[str]:
    return [f"{look.set_id}_{_index(position)}" for position in range(len(look.garments))]


def _tasks(of_split: list[Look], *, true_first: bool) -> tuple[list[dict[str, object]], list[str]]:
    """Fill-in-the-blank questions and labelled rows of one split, items named ``SETID_INDEX``."""
    rng = np.random.default_rng(len(of_split))
    questions: list[dict[str, object]] = []
    rows = []
    for number, look in enumerate(of_split):
        names = _names(look)
        blank = int(rng.integers(len(names)))
        others = [name for other in of_split if other is not look for name in _names(other)]
        answers = [names[blank], *(str(name) for name in rng.choice(others, size=3, replace=False))]
        if not true_first:
            answers = [answers[i] for i in rng.permutation(4)]
        question = [name for name in names if name != names[blank]]
        questions.append({"question": question, "answers": answers, "blank_position": _index(blank)})
        rows.append(f"1 {' '.join(names)}")
        wrong = [_names(of_split[(number + step) % len(of_split)])[step % 4] for step in range(len(names))]
        rows.append(f"0 {' '.join(wrong)}")
    return questions, rows


def write_maryland_root(root: Path, seed: int = 0, *, images: bool = True) -> None:
    """Writes a full Maryland root: 32 + 12 + 12 outfits of 4 to 6 items, about 280 items in 8 categories."""
    made = looks(seed)
    root.mkdir(parents=True, exist_ok=True)
    (root / "category_id.txt").write_text(
        "".join(f"{number} {name.title()}\n" for number, name in enumerate(CATEGORIES, start=2)), encoding="utf-8"
    )
    for split in OUTFITS:
        entries = []
        for look in (look for look in made if look.split == split):
            items = []
            for position, garment in enumerate(look.garments):
                index = _index(position)
                category_id = CATEGORIES.index(garment.category) + 2
                items.append(
                    {
                        "index": index,
                        "name": garment.text,
                        "price": 10.0,
                        "likes": 1,
                        "image": "",
                        "categoryid": category_id,
                    }
                )
                if images:
                    garment.save_picture(root / "images" / look.set_id / f"{index}.jpg")
            entries.append({"name": "a look", "set_id": look.set_id, "items": items})
        write_json(root / f"{split}_no_dup.json", entries)
    questions, rows = _tasks([look for look in made if look.split == "test"], true_first=True)
    write_json(root / "fill_in_blank_test.json", questions)
    (root / "fashion_compatibility_prediction.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_polyvore_root(root: Path, seed: int = 0, *, images: bool = True) -> None:
    """Writes a full Polyvore Outfits root, both variants: 32 + 12 + 12 outfits each, 128 items in 8 categories."""
    root.mkdir(parents=True, exist_ok=True)
    metadata = {}
    for garment in garments():
        # Every third item has no title and every sixth neither title nor url_name, as many of the real ones.
        metadata[garment.item_id] = {
            "title": "" if garment.number % 3 == 0 else garment.text,
            "url_name": "" if garment.number % 6 == 0 else garment.text.replace(" ", "-"),
            "description": f"A {garment.text}.",
            "category_id": str(CATEGORIES.index(garment.category) + 2),
            "semantic_category": f"semantic-{CATEGORIES.index(garment.category) // 2}",
        }
        if images:
            garment.save_picture(root / "images" / f"{garment.item_id}.jpg")
    write_json(root / "polyvore_item_metadata.json", metadata)
    with (root / "categories.csv").open("w", encoding="utf-8", newline="") as file:
        for number, name in enumerate(CATEGORIES):
            csv.writer(file).writerow([number + 2, name, f"semantic-{number // 2}"])
    for variant in ("disjoint", "nondisjoint"):
        made = looks(seed, disjoint=variant == "disjoint")
        write_json(root / "polyvore_outfit_titles.json", {look.set_id: {"title": "a look"} for look in made})
        for split in OUTFITS:
            of_split = [look for look in made if look.split == split]
            entries = [
                {
                    "set_id": look.set_id,
                    "items": [{"item_id": g.item_id, "index": _index(i)} for i, g in enumerate(look.garments)],
                }
                for look in of_split
            ]
            write_json(root / variant / f"{split}.json", entries)
            questions, rows = _tasks(of_split, true_first=False)
            write_json(root / variant / f"fill_in_blank_{split}.json", questions)
            (root / variant / f"compatibility_{split}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_tables_root(root: Path, seed: int = 0, *, images: bool = True) -> None:
    """Writes ``items.csv`` (item_id, category, colour, name, image) and ``outfits.csv`` (outfit_id, item_id, split)."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [["item_id", "category", "colour", "name", "image"]]
    for garment in garments():
        image = f"photos/{garment.item_id}.jpg" if images else ""
        rows.append([garment.item_id, garment.category, garment.colour, f"{garment.category}, {garment.number}", image])
        if images:
            garment.save_picture(root / image)
    write_csv(root / "items.csv", rows)
    pairs = [[look.set_id, garment.item_id, look.split] for look in looks(seed) for garment in look.garments]
    write_csv(root / "outfits.csv", [["outfit_id", "item_id", "split"], *pairs])


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
