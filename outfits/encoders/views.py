"""Makes further views of an item's prepared image: lit otherwise, moved, cropped, occluded.

Images are those of :func:`outfits.encoders.learned.prepare_image`: RGB and foreground, uint8, shape ``[S, S, 4]``. A
view is uint8, shape ``[S, S, 3]``. Whatever its kind, it is also lit otherwise.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

VERSION = 1  # raise it when the same seed would give another view
GARMENT = 96  # foreground from which on a pixel counts as the garment's
SIZES = (0.4, 0.8)  # of a moved garment's longer side, shares of the image's
WINDOWS = (0.45, 0.65)  # side of a crop, shares of the garment's longer side
COVERED = (0.5, 0.75)  # sides of what occludes a garment, shares of the garment's
LEAST_SHOWN = 0.35  # of a crop's pixels that show the garment
TRIES = 20


def bounding_box(image: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the garment, pixels; those of the image where no foreground was found."""
    mask = image[..., 3] >= GARMENT
    if not mask.any():
        return 0, 0, image.shape[1], image.shape[0]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def plain(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """The image as it is."""
    return image[..., :3]


def moved(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """The garment, cut out, at another size and place on white."""
    side = image.shape[0]
    left, top, right, bottom = bounding_box(image)
    cut = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]), "RGBA")
    scale = rng.uniform(*SIZES) * side / max(cut.size)
    small = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (side, side), "white")
    room = side - small.width, side - small.height
    canvas.paste(small, (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))), small)
    return np.asarray(canvas)


def cropped(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """A square window within the garment, enlarged; of several the first that shows enough of the garment."""
    side = image.shape[0]
    left, top, right, bottom = bounding_box(image)
    longer = max(right - left, bottom - top)
    best, shown = image, -1.0
    for _ in range(TRIES):
        window = max(2, round(rng.uniform(*WINDOWS) * longer))
        x = int(rng.integers(min(left, side - window), max(min(right, side) - window, left) + 1))
        y = int(rng.integers(min(top, side - window), max(min(bottom, side) - window, top) + 1))
        x, y = min(x, side - window), min(y, side - window)
        found = image[y : y + window, x : x + window]
        share = float((found[..., 3] >= GARMENT).mean())
        if share > shown:
            best, shown = found, share
        if share >= LEAST_SHOWN:
            break
    enlarged = Image.fromarray(np.ascontiguousarray(best[..., :3])).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def occluded(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """The image with a rectangle before the garment: a part of another item's image, or of one colour."""
    found = np.array(image[..., :3])
    left, top, right, bottom = bounding_box(image)
    width, height = (max(1, round(rng.uniform(*COVERED) * length)) for length in (right - left, bottom - top))
    x = left + int(rng.integers(right - left - width + 1))
    y = top + int(rng.integers(bottom - top - height + 1))
    colour = rng.integers(256, size=3)
    if rng.random() < 0.5:
        found[y : y + height, x : x + width] = colour
    else:
        box = bounding_box(other)
        cover = Image.fromarray(np.ascontiguousarray(other[..., :3])).crop(box).resize((width, height))
        found[y : y + height, x : x + width] = np.asarray(cover)
    return found


def lit(view: Pixels, rng: np.random.Generator) -> Pixels:
    """Changes brightness by up to a tenth and the colour of the light by up to 3 percent."""
    gain = rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, size=3)
    return np.clip(np.rint(view * gain), 0, 255).astype(np.uint8)


VIEWS: Mapping[str, Callable[[Pixels, Pixels, np.random.Generator], Pixels]] = {
    "plain": plain,
    "moved": moved,
    "cropped": cropped,
    "occluded": occluded,
}


def make_view(kind: str, image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Makes a view of a kind of :data:`VIEWS`; ``other`` is another item's image, which may occlude."""
    return lit(VIEWS[kind](image, other, rng), rng)
