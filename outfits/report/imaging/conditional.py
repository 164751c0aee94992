"""Sheets of the report on conditional generation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.imaging.attributes import CATEGORY, AttributeCode
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.views import VIEW
from outfits.report.imaging.result import ImageSheet
from outfits.report.representation.sheets import sheet, tiles

STEPS = 7  # of a view, and of a mixture


@torch.inference_mode()
def drawn_sheet(
    model: ConditionalGenerator, codes: Tensor, images: Tensor, masks: Tensor, means: Tensor, heads: Sequence[str]
) -> ImageSheet:
    """Shows test images ``[n, 3, S, S]``, what is drawn from their codes ``[n, d]``, and their categories' means."""
    drawn, drawn_masks = model(codes)
    rows = [tiles(part) for part in (images, drawn, masks, drawn_masks, means)]
    labels = ["Test image", "Drawn from its\nattributes", "Mask", "Drawn mask", "Category's\nmean image"]
    return ImageSheet("drawn", "Test items", sheet(rows, labels, heads), "No test image was trained on.")


@torch.inference_mode()
def view_sheet(model: ConditionalGenerator, codes: Tensor, heads: Sequence[str]) -> ImageSheet:
    """Draws one item of each code ``[n, d]`` under views that change one number, a row each."""
    rows, labels = [], []
    steps = torch.linspace(-1.0, 1.0, STEPS)
    for place, name in enumerate(VIEW):
        code = codes[place % len(codes)].expand(STEPS, -1)
        views = torch.zeros(STEPS, len(VIEW))
        views[:, place] = steps
        rows.append(tiles(model(code, views)[0]))
        labels.append(f"{heads[place % len(codes)]}\n{name}")
    return ImageSheet("views", "Views", sheet(rows, labels, [f"{step:+.2f}" for step in steps.tolist()]))


@torch.inference_mode()
def mixture_sheet(model: ConditionalGenerator, codes: Tensor, heads: Sequence[str]) -> ImageSheet:
    """Draws mixtures between each item of codes ``[n, d]`` and the next."""
    shares = torch.linspace(0.0, 1.0, STEPS)[:, None]
    pairs = [(place, place + 1) for place in range(0, len(codes) - 1, 2)]
    rows = [tiles(model((1.0 - shares) * codes[one] + shares * codes[other])[0]) for one, other in pairs]
    labels = [f"{heads[one]} to\n{heads[other]}" for one, other in pairs]
    shown = [f"{share:.2f}" for share in shares[:, 0].tolist()]
    return ImageSheet("mixtures", "Mixtures of two items", sheet(rows, labels, shown))


@torch.inference_mode()
def changed_sheet(model: ConditionalGenerator, code: AttributeCode, codes: Tensor, heads: Sequence[str]) -> ImageSheet:
    """Draws items of codes ``[n, d]`` with one attribute changed to each of its values."""
    name = max((name for name in code.values if name != CATEGORY), key=lambda name: _effect(model, code, codes, name))
    place, values = code.place(name), code.values[name]
    rows = []
    for one in codes:
        changed = one.repeat(len(values), 1)
        changed[:, place] = torch.eye(len(values))
        rows.append(tiles(model(changed)[0]))
    title = f"Items with another {name}"
    note = f"Of all attributes, {name} changes the drawn images most."
    return ImageSheet("changed", title, sheet(rows, heads, list(values)), note)


def _effect(model: ConditionalGenerator, code: AttributeCode, codes: Tensor, name: str) -> float:
    """How much the values of an attribute change the images."""
    place, count = code.place(name), len(code.values[name])
    changed = codes[:, None].repeat(1, count, 1)
    changed[:, :, place] = torch.eye(count)
    images = model(changed.flatten(0, 1))[0].unflatten(0, (len(codes), count))
    return float(images.std(dim=1).mean())


def mean_images(
    pixels: NDArray[np.uint8], categories: NDArray[np.integer], wanted: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Mean images and masks ``[n, S, S, 4]`` of the categories ``wanted`` ``[n]``; of all items where one has none."""
    found = {}
    for category in np.unique(wanted).tolist():
        rows = np.flatnonzero(categories == category)
        found[category] = pixels[rows if len(rows) else slice(None)].mean(axis=0, dtype=np.float64) / 255.0
    return np.stack([found[category] for category in wanted.tolist()]).astype(np.float32)
