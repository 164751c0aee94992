"""Small catalogues with drawn images for the tests of encoders."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from outfits.data.catalogue import Catalogue

COLOURS = ("red", "navy", "olive", "black", "orange", "teal")
KINDS = ("shirt", "trousers", "bag")


def draw_garment(kind: str, colour: str, width: int = 40, height: int = 56) -> Image.Image:
    """A one-coloured garment of a kind's outline on a white wall."""
    image = Image.new("RGB", (width, height), (246, 246, 246))
    pen = ImageDraw.Draw(image)
    if kind == "shirt":
        pen.rectangle((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=colour)
    elif kind == "trousers":
        pen.rectangle((width // 4, 5, width // 2 - 3, height - 5), fill=colour)
        pen.rectangle((width // 2 + 3, 5, 3 * width // 4, height - 5), fill=colour)
    else:
        pen.ellipse((width // 3, height // 2, 2 * width // 3, height - 8), fill=colour)
    return image


def write_catalogue(root: Path, items: int = 24, *, suffix: str = "jpg", seed: int = 0) -> Catalogue:
    """A catalogue with an image and a text per item, under ``root/images``."""
    rng = np.random.default_rng([seed, items])
    (root / "images").mkdir(parents=True)
    categories, texts, paths = [], [], []
    for item in range(items):
        kind = item % len(KINDS)
        colour = COLOURS[int(rng.integers(len(COLOURS)))]
        path = root / "images" / f"{item}.{suffix}"
        draw_garment(KINDS[kind], colour, 40 + int(rng.integers(8)), 56 + int(rng.integers(8))).save(path)
        categories.append(kind)
        texts.append(f"{colour} {KINDS[kind]} in {('cotton', 'wool', 'linen')[int(rng.integers(3))]}")
        paths.append(path)
    ids = [f"item-{item}" for item in range(items)]
    return Catalogue(ids, np.array(categories, dtype=np.int32), list(KINDS), texts, paths)
