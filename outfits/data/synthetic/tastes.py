"""Users of the drawn data set: a hidden taste, and the outfits that they like by it.

A garment fits a user's taste if it has the user's style, a neutral colour or one near the user's favourite hue, a price
level that the user pays, and a category that the user wears. Users like an outfit the likelier, the more of its
garments fit. ``users.csv`` says what they like, ``tastes.csv`` what nothing but a measurement may know.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.data.dataset import Interaction
from outfits.data.synthetic.rules import hue_distance
from outfits.data.synthetic.tasks import Appearance
from outfits.data.synthetic.wardrobe import CATEGORIES, COLOURS, FORMALITY, STYLES, Garment
from outfits.data.tables import read_table

USERS, TASTES = "users.csv", "tastes.csv"
FAVOURITES_WITHIN = 60.0  # degrees on the colour wheel
UNWORN = 2  # accessories that a user does not wear
LIKED = (10, 30)  # outfits that a user likes, at least and at most, where there are enough
SHARPNESS = 10.0  # by how much a garment that fits raises the log-odds of an outfit made of such garments alone


@dataclass(frozen=True)
class Taste:
    """What a user likes.

    Attributes:
        style: one of :data:`outfits.data.synthetic.wardrobe.STYLES`.
        hue: favourite hue, degrees.
        level: the highest formality of garments, which sets their prices, that the user pays.
        unworn: names of categories that the user does not wear.
    """

    style: str
    hue: float
    level: int
    unworn: tuple[str, ...]

    def fits(self, garment: Garment) -> bool:
        """Whether a garment fits."""
        hue = garment.colour.hue
        return (
            garment.style == self.style
            and (hue is None or hue_distance(hue, self.hue) <= FAVOURITES_WITHIN)
            and garment.formality <= self.level
            and garment.kind.name not in self.unworn
        )


def draw_taste(rng: np.random.Generator) -> Taste:
    """Draws a taste; the level is one that some garment of the style exceeds, or its highest."""
    style = STYLES[int(rng.integers(len(STYLES)))]
    hues = [colour.hue for colour in COLOURS if colour.hue is not None]
    accessories = [category.name for category in CATEGORIES if category.slot == "accessory"]
    return Taste(
        style,
        hues[int(rng.integers(len(hues)))],
        int(rng.choice(sorted(set(FORMALITY[style]))[-2:])),
        tuple(sorted(rng.choice(accessories, UNWORN, replace=False).tolist())),
    )


def write_users(
    root: Path, worn: Sequence[Sequence[Appearance]], wardrobe: Sequence[Garment], rng: np.random.Generator, count: int
) -> None:
    """Writes the users of outfits and their tastes."""
    tastes = [draw_taste(rng) for _ in range(count)]
    likes = [
        (f"u{number}", worn[outfit][0].item_id.partition("_")[0])
        for number, taste in enumerate(tastes)
        for outfit in _liked(taste, worn, wardrobe, rng).tolist()
    ]
    rows = [(f"u{number}", *_row(taste)) for number, taste in enumerate(tastes)]
    for name, header, content in (
        (USERS, ("user_id", "outfit_id"), likes),
        (TASTES, ("user_id", "style", "hue", "level", "unworn"), rows),
    ):
        with (root / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *content])


def read_users(root: Path) -> list[Interaction]:
    """Reads which user likes which outfit; pairs have the split of their outfit."""
    table = read_table(root / USERS, "data.root", [("data.root", "user_id"), ("data.root", "outfit_id")])
    pairs = zip(table["user_id"], table["outfit_id"], strict=True)
    return [Interaction(user, outfit, None, f"from {table.at(row)}") for row, (user, outfit) in enumerate(pairs)]


def read_tastes(root: Path) -> dict[str, Taste]:
    """Reads the hidden tastes by user id."""
    table = read_table(root / TASTES, "data.root")
    columns = (table[name] for name in ("user_id", "style", "hue", "level", "unworn"))
    return {
        user: Taste(style, float(hue), int(level), tuple(unworn.split()))
        for user, style, hue, level, unworn in zip(*columns, strict=True)
    }


def _row(taste: Taste) -> tuple[str, float, int, str]:
    return taste.style, taste.hue, taste.level, " ".join(taste.unworn)


def _liked(
    taste: Taste, worn: Sequence[Sequence[Appearance]], wardrobe: Sequence[Garment], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws outfits with chances in proportion to exp(sharpness * share of garments that fit)."""
    fitting = np.array([np.mean([taste.fits(wardrobe[item.garment]) for item in outfit]) for outfit in worn])
    weights = np.exp(SHARPNESS * fitting)
    count = min(int(rng.integers(LIKED[0], LIKED[1] + 1)), len(worn))
    return np.sort(rng.choice(len(worn), count, replace=False, p=weights / weights.sum()))
