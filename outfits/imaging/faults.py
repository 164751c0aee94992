"""Faults of catalogue images, to test what finds broken ones."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

GREY = 128  # what some decoders leave where a file is cut short
SPECKS = 0.02  # share of pixels that noise makes black or white
BLOCKY = 8  # JPEG quality
BLUR = 1.0  # pixels

Pixels = NDArray[np.uint8]
Fault = Callable[[Pixels, np.random.Generator], Pixels]


def _cut_short(image: Pixels, rng: np.random.Generator) -> Pixels:
    broken = image.copy()
    broken[_row(image, rng) :] = GREY
    return broken


def _slipped(image: Pixels, rng: np.random.Generator) -> Pixels:
    broken, row, side = image.copy(), _row(image, rng), image.shape[1]
    broken[row:] = np.roll(image[row:], int(rng.integers(side // 8, side // 2 + 1)), axis=1)
    return broken


def _specks(image: Pixels, rng: np.random.Generator) -> Pixels:
    hit = rng.random(image.shape[:2]) < SPECKS
    colour = np.where(rng.random(image.shape[:2]) < 0.5, 0, 255)[..., None]
    return np.where(hit[..., None], colour, image).astype(np.uint8)


def _blocky(image: Pixels, rng: np.random.Generator) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=BLOCKY)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _blurred(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR)))


def _row(image: Pixels, rng: np.random.Generator) -> int:
    """Draws a row of the middle half."""
    return int(rng.integers(len(image) // 4, 3 * len(image) // 4))


FAULTS: dict[str, Fault] = {
    "cut short": _cut_short,
    "rows slipped": _slipped,
    "specks": _specks,
    "red and blue exchanged": lambda image, rng: np.ascontiguousarray(image[..., ::-1]),
    "upside down": lambda image, rng: np.ascontiguousarray(image[::-1]),
    "JPEG blocks": _blocky,
    "blurred": _blurred,
}
"""What happens to images ``[S, S, 3]``: the lower rows grey, the lower rows moved sideways around the image by an
eighth to a half of its side, 2 % of the pixels black or white, channels exchanged, turned over, JPEG of quality 8,
Gaussian blur of one pixel."""


def with_fault(images: Pixels, name: str, seed: int) -> Pixels:
    """Gives every image ``[n, S, S, 3]`` a fault of :data:`FAULTS`."""
    fault = FAULTS[name]
    return np.stack([fault(image, np.random.default_rng([seed, place])) for place, image in enumerate(images)])
