"""Draws outfits as an image: a row each, given items first, added ones framed."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from outfits.data.dataset import Item
from outfits.report.comparison.gallery import item_thumbnail
from outfits.report.drawing import SIZE, drawable, image_bytes
from outfits.report.style import PRINT
from outfits.storage import write_atomically
from outfits.stylist.imagining import ImaginedItem
from outfits.stylist.results import StyledOutfit

CELL = (1.5, 2.35)  # width and height of an item, inches
PIXELS = (264, 352)  # largest image, the 3:4 of most product images
FRAME, EDGE = "#2f6fde", "#d9dde3"
LETTERS = 20  # characters in a line under an item


@dataclass(frozen=True)
class Cell:
    """One image of a row: the image, or ``words`` instead of it, two lines under it, and whether it is framed."""

    image: Image.Image | None
    words: str
    above: str
    below: str
    framed: bool


def draw_outfits(outfits: Sequence[StyledOutfit], imagined: Sequence[Sequence[ImaginedItem]] = ()) -> Figure:
    """Draws at least one outfit, best first, a row each; ``imagined`` are drawn beside the added items, if given."""
    rows = [_cells(outfit, imagined[row] if imagined else ()) for row, outfit in enumerate(outfits)]
    across = max(map(len, rows))
    figure = Figure(
        figsize=(CELL[0] * max(across, 2) + 0.3, CELL[1] * len(outfits)),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06),
    )
    grid = figure.subplots(len(outfits), max(across, 2), squeeze=False)
    for number, (axes, cells, outfit) in enumerate(zip(grid, rows, outfits, strict=True), start=1):
        for axis in axes:
            axis.set_axis_off()
        for axis, cell in zip(axes, cells, strict=False):
            _draw_cell(axis, cell)
        axes[0].set_title(_title(number, outfit), loc="left", size=SIZE, color=PRINT.ink, weight="bold")
    return figure


def write_sheet(outfits: Sequence[StyledOutfit], path: Path, imagined: Sequence[Sequence[ImaginedItem]] = ()) -> None:
    """Writes :func:`draw_outfits` in the format of the file's suffix, atomically; makes a missing folder.

    The suffix is one of :data:`outfits.config.schema.complete.IMAGE_SUFFIXES`.
    """
    data = image_bytes(draw_outfits(outfits, imagined), path.suffix.removeprefix("."), dpi=110)
    write_atomically(path, lambda file: file.write(data))


def _title(number: int, outfit: StyledOutfit) -> str:
    text = "" if outfit.similarity is None else f"   similarity {outfit.similarity:.2f}"
    return f"{number}   S {outfit.score:.3f}{text}"


def _cells(outfit: StyledOutfit, imagined: Sequence[ImaginedItem]) -> list[Cell]:
    """Lists an outfit's items, each added one after what the generator had in mind for it."""
    given = len(outfit.given)
    cells = []
    for place, item in enumerate(outfit.items):
        if imagined and place >= given:
            thought = imagined[place - given]
            image = thought.image.resize((PIXELS[0], PIXELS[0]), Image.Resampling.BICUBIC)
            cells.append(Cell(image, "", "imagined", f"cosine {thought.similarity:.2f}", False))
        picture = item_thumbnail(Item(item.name, item.category, item.text, item.image_path), PIXELS)
        name = item.id or "own"
        name = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        cells.append(Cell(picture, item.text or item.name, item.category, name, bool(given) and place >= given))
    return cells


def _draw_cell(axis: Axes, cell: Cell) -> None:
    width, height = PIXELS
    axis.set_xlim(0, width)
    axis.set_ylim(height + 62, 0)
    axis.set_aspect("equal")
    image = cell.image
    if image is None:
        words = textwrap.wrap(cell.words, LETTERS)[:8]
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
        color=FRAME if cell.framed else EDGE,
        linewidth=2.2 if cell.framed else 0.8,
        clip_on=False,
    )
    for line, text in enumerate((cell.above, cell.below)):
        _write(axis, text, 0, height + 8 + 26 * line, color=PRINT.ink, va="top")


def _write(axis: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Writes a user's text as it stands: without mathematics between dollar signs."""
    words, file = drawable(text)
    axis.text(x, y, words, font=file, size=SIZE - 2, parse_math=False, **options)
