"""Sheets of image tiles with labels, which can be understood without the page around them."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from outfits.report.drawing import font, shortened
from outfits.report.style import PRINT

SMALLEST_TILE = 96  # pixels; smaller images are enlarged
COARSE = 32  # pixels; images up to this side keep their pixels visible when enlarged
FRAME = "#d9dde3"
MARK = "#d55e00"
_LINE = (0, 114, 178)  # of a deformed grid
_BEYOND = 238  # grey where a grid has left the template
_GRID_LINES = 8  # cells of a deformed grid along a side
_GAP, _MARGIN, _PAD = 2, 14, 8


def tiles(images: Tensor, side: int | None = None) -> list[Image.Image]:
    """Images ``[n, 1 or 3, S, S]`` in [0, 1] as framed images, enlarged where they are small."""
    pixels = (images.clamp(0.0, 1.0) * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
    side = side or tile_side(pixels.shape[1])
    how = Image.Resampling.NEAREST if pixels.shape[1] <= COARSE else Image.Resampling.LANCZOS
    return [framed(Image.fromarray(image).resize((side, side), how)) for image in pixels]


def tile_side(side: int) -> int:
    """Side of the tiles that images of this side are shown as, pixels."""
    return max(SMALLEST_TILE, side)


def framed(image: Image.Image, colour: str = FRAME, width: int = 1) -> Image.Image:
    """The image with its outermost pixels as a frame; most product images are as white as the sheet."""
    inner = image.crop((width, width, image.width - width, image.height - width))
    return ImageOps.expand(inner, border=width, fill=colour)


def warp_tiles(grids: Tensor, side: int) -> list[Image.Image]:
    """A square mesh, drawn on the template and carried along by warps.

    Args:
        grids: where each pixel reads the template, [-1, 1] being its extent, shape ``[n, S, S, 2]``.
        side: side of the tiles, pixels.
    """
    return [framed(_mesh(grid, side)) for grid in grids.cpu().numpy()]


def _mesh(grid: NDArray[np.float32], side: int) -> Image.Image:
    ink = np.zeros((side, side))
    beyond = np.zeros((side, side), dtype=np.bool_)
    for axis in range(2):
        plane = Image.fromarray(np.ascontiguousarray(grid[..., axis], dtype=np.float32))
        place = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float64)
        cells = (place + 1) * _GRID_LINES / 2  # whole numbers on the mesh's lines
        steepness = np.hypot(*np.gradient(cells))  # cells per pixel
        away = np.abs(cells - np.rint(cells)) / np.maximum(steepness, 1e-6)  # pixels from the nearest line
        ink = np.maximum(ink, np.clip(1.4 - away, 0, 1))
        beyond |= np.abs(place) > 1
    ground = np.where(beyond, _BEYOND, 255)[..., None]
    pixels = ground + np.where(beyond, 0, ink)[..., None] * (np.array(_LINE) - ground)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    labels: Sequence[str] = (),
    heads: Sequence[str] = (),
    title: str = "",
    left: int = 0,
) -> Image.Image:
    """Rows of tiles of one size with words around them.

    Args:
        rows: tiles; None leaves a place free, and a row may be shorter than the others.
        labels: written left of each row, on several lines where they hold line breaks.
        heads: written above each column, cut to its width.
        title: written above everything, on several lines where it holds line breaks.
        left: least width of the labels' column, pixels, for sheets that are to stand in line.
    """
    side = next(tile.width for row in rows for tile in row if tile is not None)
    step = side + _GAP
    left = max(left, labels_width(labels))
    lines = title.split("\n") if title else []
    top = 20 * len(lines) + 4 * bool(title) + 20 * bool(heads)
    across = max(len(row) for row in rows)
    image = Image.new("RGB", (left + across * step - _GAP, top + len(rows) * step - _GAP), "white")
    draw = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        words = shortened(line, image.width - left, font(14, bold=True))
        draw.text((left, 20 * place), words, PRINT.ink, font(14, bold=True))
    for column, head in enumerate(heads):
        middle = left + column * step + side // 2
        draw.text((middle, top - 5), shortened(head, side, font(12)), PRINT.muted, font(12), anchor="ms")
    for place, row in enumerate(rows):
        upper = top + place * step
        if place < len(labels):
            draw.multiline_text((0, upper + side // 2), labels[place], PRINT.ink, font(12), anchor="lm", spacing=3)
        for column, tile in enumerate(row):
            if tile is not None:
                image.paste(tile, (left + column * step, upper))
    return image


def labels_width(labels: Sequence[str]) -> int:
    """Width of the column that these labels take, pixels; 0 without labels."""
    widest = max((_width(line) for label in labels for line in label.split("\n")), default=0)
    return widest + _PAD if widest else 0


def beside(sheets: Sequence[Image.Image], gap: int = 28) -> Image.Image:
    """Sheets in a row, their upper edges level."""
    image = Image.new("RGB", (sum(s.width for s in sheets) + gap * (len(sheets) - 1), max(s.height for s in sheets)))
    image.paste("white", (0, 0, *image.size))
    left = 0
    for part in sheets:
        image.paste(part, (left, 0))
        left += part.width + gap
    return image


def stacked(sheets: Sequence[Image.Image], gap: int = 20) -> Image.Image:
    """Sheets below one another, their left edges in line."""
    image = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets) + gap * (len(sheets) - 1)))
    image.paste("white", (0, 0, *image.size))
    upper = 0
    for part in sheets:
        image.paste(part, (0, upper))
        upper += part.height + gap
    return image


def note(words: str) -> Image.Image:
    """A line of small print, to stand below a sheet."""
    image = Image.new("RGB", (_width(words), 18), "white")
    ImageDraw.Draw(image).text((0, 0), words, PRINT.muted, font(12))
    return image


def sheet_bytes(image: Image.Image) -> bytes:
    """A sheet with a margin as PNG."""
    buffer = io.BytesIO()
    ImageOps.expand(image, border=_MARGIN, fill="white").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _width(text: str) -> int:
    return int(np.ceil(font(12).getlength(text)))
