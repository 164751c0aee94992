"""Shows completed outfits as images: which are shown, their thumbnails, and a sheet of a few of them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from outfits.completion.completion import MethodOutcome
from outfits.config.schema.methods import methods_shown
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import Item
from outfits.encoders.images import DECODING_ERRORS, decode_image
from outfits.report.comparison.method import MethodResult, by_outfit
from outfits.report.drawing import data_uri, drawable, font, shortened
from outfits.report.examples import evenly_spread
from outfits.report.style import PRINT, colours, family, label

THUMBNAIL = (132, 176)  # width and height in pixels, the 3:4 of most product images


@dataclass(frozen=True)
class GalleryOutfit:
    """Holds one outfit of the gallery.

    Attributes:
        completions: chosen items by method; of ``original`` the removed ones, whether it was evaluated or not.
        scores: ``S`` and ``judge`` of the completed outfit, as far as they are known, by method.
    """

    outfit_id: str
    given: tuple[Item, ...]
    removed: tuple[Item, ...]
    completions: Mapping[str, tuple[Item, ...]]
    scores: Mapping[str, Mapping[str, float]]


def gallery_outfits(
    outcomes: Mapping[str, MethodOutcome], results: Mapping[str, MethodResult], catalogue: Catalogue, count: int
) -> list[GalleryOutfit]:
    """Selects ``count`` outfits, spread evenly over the evaluated ones sorted by id; all of them where there are fewer.

    Of each method that the gallery shows the call with the highest mean S is shown, where it completed the outfit.
    ``results`` are in the order of presentation.
    """
    if count < 1:
        return []
    largest = by_outfit(max(outcomes.values(), key=len))
    shown = []
    for row in evenly_spread(len(largest), count):
        outfit_id, removed = str(largest.require_outfit_ids[row]), items_at(catalogue, largest.tasks.removed[row])
        completions = {} if "original" in outcomes else {"original": removed}
        scores: dict[str, dict[str, float]] = {}
        for name in shown_methods(results):
            outcome = outcomes[name]
            known = {
                name: values for name, values in (("S", outcome.scores), ("judge", outcome.judge)) if values is not None
            }
            for place in np.flatnonzero(outcome.require_outfit_ids == outfit_id):  # one or none
                completions[name] = items_at(catalogue, outcome.chosen[place])
                scores[name] = {measure: float(values[place]) for measure, values in known.items()}
        given = items_at(catalogue, largest.tasks.given[row])
        shown.append(GalleryOutfit(outfit_id, given, removed, completions, scores))
    return shown


def items_at(catalogue: Catalogue, positions: NDArray[np.integer]) -> tuple[Item, ...]:
    """The catalogue's items at these positions."""
    return tuple(
        Item(
            catalogue.item_ids[position],
            catalogue.category_names[int(catalogue.categories[position])],
            catalogue.texts[position],
            catalogue.image_paths[position],
        )
        for position in positions.tolist()
    )


def shown_methods(results: Mapping[str, MethodResult]) -> list[str]:
    """Lists the calls that a gallery shows, in the order of the results; the first few if it shows none of them."""
    shown = methods_shown("gallery")
    calls = [[name for name in results if family(name) == method] for method in shown]
    chosen = [max(names, key=lambda name: results[name].score_mean) for names in calls if names]
    return chosen or list(results)[: len(shown)]


def item_thumbnail(item: Item, size: tuple[int, int] = THUMBNAIL) -> Image.Image | None:
    """Loads the item's image as RGB on white, no larger than ``size``; None where no image can be read.

    The stage that embeds the catalogue has reported unreadable images already.
    """
    if item.image_path is None:
        return None
    try:
        image = decode_image(item.image_path, max(size))
    except DECODING_ERRORS:
        return None
    image.thumbnail(size, Image.Resampling.LANCZOS)
    return image


def image_or_tile(item: Item, size: tuple[int, int]) -> Image.Image:
    """Loads the item's image as :func:`item_thumbnail` does; draws its category and text where none can be read."""
    small = item_thumbnail(item, size)
    return _tile(item, size) if small is None else small


@lru_cache(maxsize=2048)
def thumbnail_uri(item: Item) -> str | None:
    """Encodes the item's image as a small JPEG in a data URI; None without one."""
    small = item_thumbnail(item)
    if small is None:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80, optimize=True)
    return data_uri("jpeg", buffer.getvalue())


def write_sheet(
    outfits: Sequence[GalleryOutfit],
    path: Path,
    *,
    methods: Sequence[str] | None = None,
    rows: int = 4,
    shades: Mapping[str, str] | None = None,
) -> None:
    """Draws the first outfits, a row each, as a PNG: the given items, then every method's items with S and judge.

    Args:
        outfits: the gallery.
        path: PNG file to write.
        methods: columns, where the gallery has a call of them; all of the gallery's calls if it has none of these.
            None: those that a sheet shows.
        rows: largest number of outfits drawn.
        shades: colour of every call; None colours the columns alone.
    """
    outfits = outfits[:rows]
    present = list(outfits[0].completions) if outfits else []
    methods = methods_shown("sheet") if methods is None else methods
    columns = [name for method in methods for name in present if family(name) == method] or present
    most = max((len(outfit.given) for outfit in outfits), default=0)
    k = max((len(items) for outfit in outfits for items in outfit.completions.values()), default=0)
    across = min(most, 4)
    gap, gutter, margin, head, caption = 6, 30, 28, 44, 34
    width, height = THUMBNAIL
    row_height = height + caption + 22
    cell = k * (width + gap) - gap
    given_width = max(across * (width + gap) - gap, 120)
    total_width = 2 * margin + given_width + len(columns) * (gutter + cell)
    sheet = Image.new("RGB", (total_width, head + 10 + max(len(outfits), 1) * row_height), "white")
    draw = ImageDraw.Draw(sheet)
    shades = colours(columns, PRINT) if shades is None else shades

    def left(column: int) -> int:
        return margin + given_width + gutter + column * (cell + gutter)

    draw.text((margin, 16), "Given items", PRINT.ink, font(15, bold=True))
    for column, name in enumerate(columns):
        draw.text((left(column), 16), shortened(label(name), cell, font(15, bold=True)), PRINT.ink, font(15, bold=True))
        draw.rectangle((left(column), head - 4, left(column) + cell, head - 2), shades[name])
    draw.rectangle((margin, head - 4, margin + given_width, head - 2), PRINT.faint)
    for row, outfit in enumerate(outfits):
        top = head + 10 + row * row_height
        _paste_given(sheet, outfit.given, (margin, top, given_width, height), gap)
        for column, name in enumerate(columns):
            for place, item in enumerate(outfit.completions.get(name, ())):
                corner = (left(column) + place * (width + gap), top)
                _paste(sheet, item, corner, THUMBNAIL)
                if name != "original" and item in outfit.removed:
                    frame = (corner[0] - 3, corner[1] - 3, corner[0] + width + 2, corner[1] + height + 2)
                    draw.rounded_rectangle(frame, 5, outline=shades["original"], width=3)
            scores = "   ".join(f"{measure} {value:.2f}" for measure, value in outfit.scores.get(name, {}).items())
            draw.text((left(column), top + height + 7), scores, PRINT.muted, font(13))
    sheet.save(path, "PNG", optimize=True)


def _paste_given(sheet: Image.Image, items: Sequence[Item], box: tuple[int, int, int, int], gap: int) -> None:
    """Pastes given items at full size in one row, or smaller in as many rows as fit into the box."""
    left, top, width, height = box
    size, down = THUMBNAIL, 1
    while len(items) > down * ((width + gap) // (size[0] + gap)):
        down += 1
        tall = (height + gap) // down - gap
        size = (tall * THUMBNAIL[0] // THUMBNAIL[1], tall)
    across = max(-(-len(items) // down), 1)
    for place, item in enumerate(items):
        row, column = divmod(place, across)
        _paste(sheet, item, (left + column * (size[0] + gap), top + row * (size[1] + gap)), size)


def _paste(sheet: Image.Image, item: Item, corner: tuple[int, int], size: tuple[int, int]) -> None:
    small = image_or_tile(item, size)
    # a border, since most product images are as white as the sheet
    small = ImageOps.expand(ImageOps.contain(small, (size[0] - 2, size[1] - 2)), border=1, fill="#d9dde3")
    sheet.paste(small, (corner[0] + (size[0] - small.width) // 2, corner[1] + (size[1] - small.height) // 2))


def _tile(item: Item, size: tuple[int, int]) -> Image.Image:
    """Draws the category and text of an item without image."""
    tile = Image.new("RGB", size, "#f0f2f5")
    draw = ImageDraw.Draw(tile)
    lines = []
    for text, colour, pixels, bold in (
        (item.category, PRINT.ink, 12, True),
        (item.text or item.item_id, PRINT.muted, 11, False),
    ):
        words, file = drawable(text, bold=bold)
        face = font(pixels, bold=bold, file=file)
        lines += [(line, colour, face) for line in _wrapped(words, size[0] - 16, face)]
    for place, (line, colour, face) in enumerate(lines[: (size[1] - 16) // 16]):
        draw.text((8, 8 + 16 * place), line, colour, face)
    return tile


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
