"""Draws outfits as an image: a row each, given items first, added ones framed."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from outfits.data.dataset import Item
from outfits.report.comparison.gallery import item_thumbnail
from outfits.report.drawing import SIZE, drawable, image_bytes
from outfits.report.style import PRINT
from outfits.storage import write_atomically
from outfits.stylist.results import ItemRef, StyledOutfit

CELL = (1.5, 2.35)  # width and height of an item, inches
PIXELS = (264, 352)  # largest image, the 3:4 of most product images
FRAME, EDGE = "#2f6fde", "#d9dde3"
LETTERS = 20  # characters in a line under an item


def draw_outfits(outfits: Sequence[StyledOutfit]) -> Figure:
    """Draws at least one outfit, best first, a row each."""
    across = max(len(outfit.items) for outfit in outfits)
    figure = Figure(
        figsize=(CELL[0] * max(across, 2) + 0.3, CELL[1] * len(outfits)),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06),
    )
    grid = figure.subplots(len(outfits), max(across, 2), squeeze=False)
    for number, (row, outfit) in enumerate(zip(grid, outfits, strict=True), start=1):
        given = len(outfit.given)
        for place, axis in enumerate(row):
            axis.set_axis_off()
            if place < len(outfit.items):
                _draw_item(axis, outfit.items[place], framed=bool(given) and place >= given)
        row[0].set_title(_title(number, outfit), loc="left", size=SIZE, color=PRINT.ink, weight="bold")
    return figure


def write_sheet(outfits: Sequence[StyledOutfit], path: Path) -> None:
    """Writes :func:`draw_outfits` in the format of the file's suffix, atomically; makes a missing folder.

    The suffix is one of :data:`outfits.config.schema.complete.IMAGE_SUFFIXES`.
    """
    data = image_bytes(draw_outfits(outfits), path.suffix.removeprefix("."), dpi=110)
    write_atomically(path, lambda file: file.write(data))


def _title(number: int, outfit: StyledOutfit) -> str:
    text = "" if outfit.similarity is None else f"   similarity {outfit.similarity:.2f}"
    return f"{number}   S {outfit.score:.3f}{text}"


def _draw_item(axis: Axes, item: ItemRef, *, framed: bool) -> None:
    width, height = PIXELS
    axis.set_xlim(0, width)
    axis.set_ylim(height + 62, 0)
    axis.set_aspect("equal")
    image = item_thumbnail(Item(item.name, item.category, item.text, item.image_path), PIXELS)
    if image is None:
        words = textwrap.wrap(item.text or item.name, LETTERS)[:8]
        _write(axis, "\n".join(words), width / 2, height / 2, color=PRINT.muted, ha="center", va="center")
    else:
        scale = min(width / image.width, height / image.height)
        wide, tall = image.width * scale, image.height * scale
        left, top = (width - wide) / 2, (height - tall) / 2
        axis.imshow(image, extent=(left, left + wide, top + tall, top), interpolation="antialiased")
        axis.set_xlim(0, width)
        axis.set_ylim(height + 62, 0)
    axis.plot(
        [1, width - 1, width - 1, 1, 1],
        [1, 1, height - 1, height - 1, 1],
        color=FRAME if framed else EDGE,
        linewidth=2.2 if framed else 0.8,
        clip_on=False,
    )
    for line, text in enumerate((item.category, textwrap.shorten(item.id or "own", LETTERS, placeholder="…"))):
        _write(axis, text, 0, height + 8 + 26 * line, color=PRINT.ink, va="top")


def _write(axis: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Writes a user's text as it stands: without mathematics between dollar signs."""
    words, file = drawable(text)
    axis.text(x, y, words, font=file, size=SIZE - 2, parse_math=False, **options)
