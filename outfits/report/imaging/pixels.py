"""Sheets of the report on models of images pixel by pixel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.imaging.faults import FAULTS, with_fault
from outfits.imaging.pixel_model import PixelModel
from outfits.report.imaging.result import ImageSheet
from outfits.report.representation.sheets import sheet, tiles

BLACK = 24.0  # bits of a pixel that is drawn black, a third of them per channel value
GREY = 0.5  # of pixels that are not given


@dataclass(frozen=True)
class PixelImages:
    """Images ``[n, S, S, 3]``, uint8, with the numbers ``[n]`` and names of their categories."""

    pixels: NDArray[np.uint8]
    categories: NDArray[np.int64]
    names: Sequence[str]

    def take(self, rows: NDArray[np.integer]) -> "PixelImages":
        """Selects some images, in this order."""
        return PixelImages(self.pixels[rows], self.categories[rows], [self.names[row] for row in rows])

    @property
    def tensor(self) -> Tensor:
        """The images in [0, 1], shape ``[n, 3, S, S]``."""
        return _tensor(self.pixels)


def sample_sheet(model: PixelModel[Any], images: PixelImages, count: int, seed: int) -> ImageSheet:
    """Draws samples of the images' categories below them."""
    told = torch.from_numpy(images.categories)
    drawn = [model.sample(told, seed + number) for number in range(count)]
    rows = [tiles(images.tensor), *map(tiles, drawn)]
    labels = ["Test image", *(f"Sample {number + 1}" for number in range(count))]
    note = "Each sample is drawn from its category alone, pixel by pixel."
    return ImageSheet("samples", "Samples", sheet(rows, labels, images.names), note)


def completion_sheet(model: PixelModel[Any], images: PixelImages, known: int, count: int, seed: int) -> ImageSheet:
    """Completes the lower rows of images, ``known`` rows given."""
    told, whole = torch.from_numpy(images.categories), images.tensor
    given = whole.clone()
    given[:, :, known:] = GREY
    drawn = [model.sample(told, seed + number, whole, known) for number in range(count)]
    rows = [tiles(part) for part in (whole, given, *drawn)]
    labels = ["Test image", "Given", *(f"Completion {number + 1}" for number in range(count))]
    note = f"The upper {known} of {whole.shape[-1]} rows and the category are given."
    return ImageSheet("completions", "Completed images", sheet(rows, labels, images.names), note)


def fault_sheet(model: PixelModel[Any], images: PixelImages, seed: int) -> ImageSheet:
    """Shows each fault and, below it, the bits of every pixel."""
    rows, labels = [], []
    broken = {"whole": images.pixels, **{name: with_fault(images.pixels, name, seed) for name in FAULTS}}
    bits = {name: model.pixel_bits(pixels, images.categories) for name, pixels in broken.items()}
    for place, category in enumerate(images.names):
        rows += [
            tiles(torch.cat([_tensor(pixels[place : place + 1]) for pixels in broken.values()])),
            tiles(torch.cat([_heat(values[place : place + 1]) for values in bits.values()])),
        ]
        labels += [category, "Bits"]
    note = f"Below each image the bits of its pixels, from none (white) to {BLACK:.0f} or more (black)."
    return ImageSheet("faults", "Faults", sheet(rows, labels, list(broken)), note)


def odd_sheet(images: PixelImages, scores: Mapping[str, NDArray[np.float64]], shown: int) -> ImageSheet:
    """Shows the oddest and the most regular test images."""
    orders = {
        "Most bits": -scores["bits"],
        "Most bits\nabove WebP": -scores["excess"],
        "Worst row": -scores["row"],
        "Fewest bits": scores["bits"],
    }
    rows = [tiles(images.take(np.argsort(order, kind="stable")[:shown]).tensor) for order in orders.values()]
    return ImageSheet("odd", "Odd and regular test images", sheet(rows, list(orders)))


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255.0


def _heat(bits: NDArray[np.float64]) -> Tensor:
    """Draws bits per channel value ``[n, S, S]`` as grey images ``[n, 1, S, S]``."""
    return 1.0 - torch.from_numpy(bits * 3.0 / BLACK).float().clamp(0.0, 1.0)[:, None]
