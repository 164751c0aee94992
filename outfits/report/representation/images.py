"""Draws the images of a representation's report: latents, coordinates and neighbours."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from outfits.report.representation.items import BATCH, EncodedItems
from outfits.report.representation.metrics import Direction, neighbours
from outfits.report.representation.sheets import (
    MARK,
    framed,
    joined,
    labels_width,
    note,
    sheet,
    tile_side,
    tiles,
    warp_tiles,
)
from outfits.representations.base import ImageModel
from outfits.representations.deforming import DeformingAutoencoder
from outfits.representations.warping import transformed, warped

PAIRS = 3  # interpolations within a category, and as many between two
SAMPLED_ROWS = 3
LOW, HIGH = 0.05, 0.95  # quantiles of a coordinate that a traversal goes between


def reconstructions(items: EncodedItems, chosen: NDArray[np.int64]) -> Image.Image:
    """Draws images of some items above their reconstructions."""
    rows = [_originals(items, chosen), _drawn(items.model, items.latent_tensor(chosen))]
    names = items.categories[chosen].tolist()
    return sheet(rows, ["image", "reconstruction"], names, "Held-out images and their reconstructions")


def interpolations(items: EncodedItems, among: NDArray[np.int64], steps: int, seed: int) -> Image.Image | None:
    """Draws straight lines through the latent between two items of one category, and of two; None without pairs."""
    pairs = _pairs(items, among, seed)
    if not pairs:
        return None
    along = torch.linspace(0, 1, steps).to(items.model.centre)[:, None]
    rows = []
    for pair in map(np.array, pairs):
        ends, originals = items.latent_tensor(pair), _originals(items, pair)
        drawn = _drawn(items.model, ends[:1] + along * (ends[1:] - ends[:1]))
        rows.append(torch.cat([originals[:1], drawn, originals[1:]]))
    names = [(items.categories[one], items.categories[other]) for one, other in pairs]
    labels = [one if one == other else f"{one}\nto {other}" for one, other in names]
    heads = ["image", *(f"{share:.0%}" for share in along[:, 0].tolist()), "image"]
    return sheet(rows, labels, heads, "From one held-out item's latent straight to another's")


def _pairs(items: EncodedItems, among: NDArray[np.int64], seed: int) -> list[tuple[int, int]]:
    """Returns pairs within each of some categories, then pairs across categories."""
    order = items.spread(among, len(among), seed + 1).tolist()
    by_category: dict[str, list[int]] = {}
    for row in order:
        by_category.setdefault(str(items.categories[row]), []).append(row)
    alike = [(rows[0], rows[1]) for rows in by_category.values() if len(rows) > 1][:PAIRS]
    firsts = [rows[-1] for rows in by_category.values()]
    apart = list(zip(firsts[0::2], firsts[1::2], strict=False))[:PAIRS]
    return alike + apart


def moving_coordinates(items: EncodedItems, count: int) -> NDArray[np.int64]:
    """Returns the coordinates whose latents vary most, in descending order."""
    return np.argsort(-items.latents.var(axis=0), kind="stable")[:count]


def traversals(
    items: EncodedItems,
    row: int,
    coordinates: NDArray[np.int64],
    steps: int,
    factors: Sequence[tuple[str, float] | None],
) -> Image.Image:
    """Moves one coordinate after another over most of its range, all else as in the latent of item ``row``.

    ``factors`` holds for each of the latent's ``d`` coordinates the factor that it matters most for, and its importance
    for it; it may be empty. ``steps`` is the number of images per coordinate.
    """
    low, high = np.quantile(items.latents, [LOW, HIGH], axis=0)
    here = items.latent_tensor(np.array([row]))
    rows, labels = [], []
    for coordinate in coordinates.tolist():
        latents = here.repeat(steps, 1)
        latents[:, coordinate] = torch.linspace(float(low[coordinate]), float(high[coordinate]), steps).to(latents)
        rows.append(_drawn(items.model, latents))
        label = f"{coordinate}{_part(items.model, coordinate)}"
        factor = factors[coordinate] if factors else None
        labels.append(label if factor is None else f"{label}\n{factor[0]} {factor[1]:.0%}")
    first = torch.cat([_originals(items, np.array([row])), _drawn(items.model, here)])
    heads = [f"{LOW:.0%}", *[""] * (steps - 2), f"{HIGH:.0%}"]
    above = sheet([first], heads=["image", "as encoded"], title="One held-out item", left=labels_width(labels))
    return joined([above, sheet(rows, labels, heads, "Its latent with one coordinate changed, from low to high")], 20)


def _part(model: ImageModel, coordinate: int) -> str:
    """Names the part of the latent that a coordinate belongs to; empty where the latent has no parts."""
    if not isinstance(model, DeformingAutoencoder):
        return ""
    part = int(np.searchsorted(np.cumsum(model.parts), coordinate, side="right"))
    return f", {('shape', 'appearance', 'class')[part]} part"


def arithmetic(items: EncodedItems, steps: Sequence[Direction], count: int, seed: int) -> Image.Image | None:
    """Adds the step from one value of a factor to another to the latents of items; None without a step."""
    if not steps:
        return None
    blocks = []
    for direction in steps:
        chosen = _of_source(items, direction, count, seed)
        latents, step = items.latent_tensor(chosen), torch.from_numpy(direction.step).to(items.model.centre)
        rows = [
            _originals(items, chosen),
            *(_drawn(items.model, latents + share * step) for share in (0.0, 0.5, 1.0)),
        ]
        labels = ["image", "as encoded", "+ half", "+ whole"]
        blocks.append(sheet(rows, labels, title=f"{direction.factor}:\n{direction.source} to {direction.target}"))
    return joined([joined(blocks[place : place + 2], 28, down=False) for place in range(0, len(blocks), 2)], 26)


def _of_source(items: EncodedItems, direction: Direction, count: int, seed: int) -> NDArray[np.int64]:
    """Selects items of the value that a step starts from: held-out ones, training items where these are too few."""
    has = items.factors[direction.factor] == direction.source
    held_out = np.flatnonzero(has & items.held_out)
    chosen = items.spread(held_out, count, seed + 2)
    if len(chosen) < count:
        learned = items.distinct(has & items.train)
        chosen = np.concatenate([chosen, items.spread(learned, count - len(chosen), seed + 2)])
    return chosen


def samples(model: ImageModel, across: int, seed: int) -> Image.Image:
    """Decodes latents drawn from the model's prior, or from a normal distribution where it has none."""
    latents = model.sample_latents(SAMPLED_ROWS * across, torch.Generator().manual_seed(seed))
    return sheet(torch.split(_drawn(model, latents), across), title="Images of random latents")


@torch.inference_mode()
def deformation(items: EncodedItems, chosen: NDArray[np.int64]) -> Image.Image | None:
    """Draws the parts of a deforming model's images, item by item, and of the mean latent; None for other models."""
    model = items.model
    if not isinstance(model, DeformingAutoencoder):
        return None
    latents = torch.cat([items.latent_tensor(chosen), model.centre[None]])
    made = model.deform(latents)
    grids = transformed(made.grid, made.affine)
    # the template of the next item, read through this item's warp
    swapped = warped(made.template[:-1].roll(-1, dims=0), grids[:-1])
    rows = {
        "image": _originals(items, chosen),
        "reconstruction": tiles(made.image),
        "appearance\n(the template)": tiles(made.template),
    }
    if made.albedo is not None and made.shading is not None:
        rows["albedo"] = tiles(made.albedo)
        rows["shading"] = tiles(made.shading)
    rows["warp"] = warp_tiles(grids, tile_side(model.image_size))
    if len(chosen) > 1:
        rows["this warp with\nthe next item's\nappearance"] = tiles(swapped)
    heads = [*items.categories[chosen].tolist(), "mean latent"]
    return sheet(list(rows.values()), list(rows), heads, "Held-out items taken apart")


def neighbour_sheet(items: EncodedItems, chosen: NDArray[np.int64], count: int) -> Image.Image:
    """Draws items beside the nearest by cosine, copies left out; a coloured frame marks another category."""
    distinct = items.distinct()
    places = np.searchsorted(distinct, _representatives(items, distinct, chosen))
    nearest = distinct[neighbours(items.vectors[distinct], places, count)]
    rows = []
    for row, others in zip(chosen, nearest, strict=True):
        shown = _originals(items, others)
        other = torch.from_numpy(items.categories[others] != items.categories[row])
        marked = torch.where(other[:, None, None, None], framed(shown, MARK, 3), shown)
        rows.append(torch.cat([_originals(items, np.array([row])), marked]))
    heads = ["item", *(str(place) for place in range(1, nearest.shape[1] + 1))]
    names = items.categories[chosen].tolist()
    nearest_items = sheet(rows, names, heads, "Held-out items and the nearest by cosine")
    return joined([nearest_items, note("Orange frame: of another category than the item.")], 8)


def _representatives(items: EncodedItems, distinct: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the distinct item that is a copy of each chosen one."""
    of_group = {int(items.groups[row]): int(row) for row in distinct}
    return np.array([of_group[int(items.groups[row])] for row in chosen], dtype=np.int64)


def _originals(items: EncodedItems, rows: NDArray[np.int64]) -> Tensor:
    return tiles(items.maps(rows)[:, :3])


@torch.inference_mode()
def _drawn(model: ImageModel, latents: Tensor) -> Tensor:
    return torch.cat([tiles(model.decode(some)) for some in torch.split(latents, BATCH)])
