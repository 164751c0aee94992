"""Draws sheets of image tiles with labels, to be read without the page around them."""

import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor
from torchvision.utils import make_grid

from outfits.report.drawing import drawable, font, shortened
from outfits.report.style import PRINT

SMALLEST_TILE = 96  # pixels; smaller images are enlarged
COARSE = 32  # pixels; images up to this side keep their pixels visible when enlarged
FRAME = "#d9dde3"
MARK = "#d55e00"
_LINE = "#0072b2"  # of a deformed grid
_BEYOND = 238 / 255  # grey where a grid has left the template
_GRID_LINES = 8  # cells of a deformed grid along a side
_GAP, _MARGIN, _PAD = 2, 14, 8


def tiles(images: Tensor) -> Tensor:
    """Frames images ``[n, 1 or 3, S, S]`` in [0, 1] as ``[n, 3, side, side]``, small ones enlarged."""
    side = tile_side(images.shape[-1])
    images = images.float().clamp(0.0, 1.0).expand(-1, 3, -1, -1).cpu()
    if images.shape[-1] <= COARSE:
        return framed(F.interpolate(images, side, mode="nearest-exact"))
    return framed(F.interpolate(images, side, mode="bicubic", antialias=True).clamp(0.0, 1.0))


def tile_side(side: int) -> int:
    """Returns the side of the tiles of images of this side, pixels."""
    return max(SMALLEST_TILE, side)


def framed(images: Tensor, colour: str = FRAME, width: int = 1) -> Tensor:
    """Draws a frame on the outermost pixels of images, since most product images are as white as the sheet."""
    frames = torch.tensor(to_rgb(colour))[:, None, None].repeat(len(images), 1, *images.shape[2:])
    frames[..., width:-width, width:-width] = images[..., width:-width, width:-width]
    return frames


def warp_tiles(grids: Tensor, side: int) -> Tensor:
    """Draws a square mesh on the template, deformed by warps, as framed images ``[n, 3, side, side]``.

    ``grids`` ``[n, S, S, 2]`` hold where each pixel reads the template, whose extent is [-1, 1].
    """
    places = F.interpolate(grids.float().cpu().permute(0, 3, 1, 2), side, mode="bilinear", align_corners=False)
    cells = (places + 1) * _GRID_LINES / 2  # [n, 2, side, side], whole numbers on the mesh's lines
    steepness = torch.hypot(*torch.gradient(cells, dim=(2, 3)))  # cells per pixel
    away = (cells - cells.round()).abs() / steepness.clamp(min=1e-6)  # pixels from the nearest line
    beyond = (places.abs() > 1).any(dim=1, keepdim=True)
    ground = torch.where(beyond, _BEYOND, 1.0)
    ink = torch.where(beyond, 0.0, (1.4 - away).clamp(0, 1).amax(dim=1, keepdim=True))
    return framed(ground + ink * (torch.tensor(to_rgb(_LINE))[:, None, None] - ground))


def sheet(
    rows: Sequence[Tensor],
    labels: Sequence[str] = (),
    heads: Sequence[str] = (),
    title: str = "",
    left: int = 0,
) -> Image.Image:
    """Draws rows of tiles of one size with labels around them.

    Args:
        rows: tiles of each row, shape ``[n, 3, side, side]``; a row may have fewer than the others.
        labels: written left of each row, on several lines where they hold line breaks.
        heads: written above each column, cut to its width.
        title: written above everything, on several lines where it holds line breaks.
        left: least width of the labels' column, pixels, to align several sheets.
    """
    side, across = rows[0].shape[-1], max(len(row) for row in rows)
    blank = torch.ones(1, 3, side, side)
    filled = [torch.cat([row, blank.repeat(across - len(row), 1, 1, 1)]) for row in rows]
    # one tile more than is shown, as make_grid pads no single tile
    grid = make_grid(torch.cat([*filled, blank]), nrow=across, padding=_GAP, pad_value=1.0)
    step = side + _GAP
    grid = grid[:, _GAP : len(rows) * step, _GAP : across * step]
    pixels = Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy())
    left = max(left, labels_width(labels))
    lines = title.split("\n") if title else []
    top = 20 * len(lines) + 4 * bool(title) + 20 * bool(heads)
    image = Image.new("RGB", (left + pixels.width, top + pixels.height), "white")
    image.paste(pixels, (left, top))
    draw = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        words, file = drawable(line, bold=True)
        face = font(14, bold=True, file=file)
        draw.text((left, 20 * place), shortened(words, image.width - left, face), PRINT.ink, face)
    for column, head in enumerate(heads):
        middle = left + column * step + side // 2
        words, file = drawable(head)
        face = font(12, file=file)
        draw.text((middle, top - 5), shortened(words, side, face), PRINT.muted, face, anchor="ms")
    for place, label in enumerate(labels):
        middle = top + place * step + side // 2
        words, file = drawable(label)
        draw.multiline_text((0, middle), words, PRINT.ink, font(12, file=file), anchor="lm", spacing=3)
    return image


def labels_width(labels: Sequence[str]) -> int:
    """Returns the width of the column of these labels, pixels; 0 without labels."""
    widest = max((_width(line) for label in labels for line in label.split("\n")), default=0)
    return widest + _PAD if widest else 0


def joined(sheets: Sequence[Image.Image], gap: int, *, down: bool = True) -> Image.Image:
    """Joins sheets below one another, their left edges aligned; or side by side, their upper edges aligned."""
    sizes = np.array([part.size for part in sheets])  # [n, 2]: width and height
    corners = np.zeros_like(sizes)
    corners[1:, int(down)] = np.cumsum(sizes[:-1, int(down)] + gap)
    width, height = (corners + sizes).max(axis=0).tolist()
    image = Image.new("RGB", (width, height), "white")
    for part, (left, upper) in zip(sheets, corners.tolist(), strict=True):
        image.paste(part, (left, upper))
    return image


def note(words: str) -> Image.Image:
    """Draws a line of small print, to be joined below a sheet."""
    image = Image.new("RGB", (_width(words), 18), "white")
    ImageDraw.Draw(image).text((0, 0), words, PRINT.muted, font(12))
    return image


def sheet_bytes(image: Image.Image) -> bytes:
    """Encodes a sheet with a margin as PNG."""
    buffer = io.BytesIO()
    ImageOps.expand(image, border=_MARGIN, fill="white").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _width(text: str) -> int:
    words, file = drawable(text)
    return int(np.ceil(font(12, file=file).getlength(words)))
