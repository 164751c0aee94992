"""Draws smooth parts of cloth with pattern, folds and outline, using Pillow."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from outfits.data.synthetic.wardrobe import WINTER, Garment

FABRIC_SIZE = 160  # of a garment whose fabric is drawn alone, pixels
SIZE = 240  # Drawn at this many pixels and then reduced, which smooths the edges.
Points = Sequence[tuple[float, float]]
RGB = tuple[int, int, int]
METAL: RGB = (196, 164, 92)
STEEL: RGB = (150, 155, 162)
INK: RGB = (46, 44, 48)
TAN: RGB = (176, 126, 82)
RUBBER: RGB = (244, 243, 239)

_AXIS = np.arange(SIZE, dtype=np.float32) / SIZE
_ROWS, _COLUMNS = _AXIS[:, None], _AXIS[None]


class Canvas:
    """A white image on which a garment is drawn part by part; coordinates go from (0, 0), top left, to (1, 1).

    ``rng`` draws folds and the pattern's offset; with ``ribs`` winter cloth is knitwear. ``main`` is the garment's
    colour, ``accent`` a contrasting one.
    """

    def __init__(self, garment: Garment, rng: np.random.Generator, *, ribs: bool = False) -> None:
        self.image = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
        self._pen = ImageDraw.Draw(self.image)
        self.main = cloth_colour(garment)
        luminance = float(np.dot(self.main, (0.299, 0.587, 0.114)))
        self.accent: RGB = RUBBER if luminance < 190 else (92, 96, 110)
        self.dark = _scale(self.main, 0.72)
        self.outline = _scale(self.main, 0.5) if luminance > 70 else (92, 92, 98)
        if luminance > 225:
            self.outline = (150, 150, 154)
        self._shade = _folds(rng) * (_ribs() if ribs and garment.warmth == WINTER else 1.0)
        self._cloth = self._texture(_patterned(self.main, garment.pattern, rng))
        self._textures: dict[RGB, Image.Image] = {}

    def part(
        self, points: Points, fill: RGB | None = None, *, smooth: int = 2, width: float = 0.009, patterned: bool = True
    ) -> None:
        """Draws a closed shape with outline.

        Args:
            points: its corners, rounded off ``smooth`` times; a corner given twice stays sharp.
            fill: its colour; None is the garment's cloth.
            smooth: number of corner cuttings.
            width: width of the outline, 0 for none.
            patterned: whether cloth shows the garment's pattern.
        """
        corners = _pixels(points, smooth)
        left, top = (max(int(v), 0) for v in corners.min(axis=0))
        right, bottom = (min(int(v) + 2, SIZE) for v in corners.max(axis=0))
        texture = self._cloth if fill is None and patterned else self._flat(fill if fill is not None else self.main)
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in corners], fill=255)
        self.image.paste(texture.crop((left, top, right, bottom)), (left, top), mask)
        if width:
            edge = self.outline if fill is None else _scale(fill, 0.62)
            path = [*map(tuple, corners), tuple(corners[0]), tuple(corners[1])]
            self._pen.line(path, fill=edge, width=max(1, round(width * SIZE)), joint="curve")

    def half(
        self, points: Points, fill: RGB | None = None, *, smooth: int = 2, width: float = 0.009, patterned: bool = True
    ) -> None:
        """Draws a shape symmetric about the middle; arguments as in :meth:`part`.

        ``points`` is its right half from the middle of the top to that of the bottom edge, x counted from the middle.
        """
        right = [(0.5 + x, y) for x, y in points]
        left = [(0.5 - x, y) for x, y in reversed(points)]
        self.part(right + left, fill, smooth=smooth, width=width, patterned=patterned)

    def both(
        self, points: Points, fill: RGB | None = None, *, smooth: int = 2, width: float = 0.009, patterned: bool = True
    ) -> None:
        """Draws a shape right of the middle, x counted from the middle, and its mirror image."""
        for side in (1, -1):
            shape = [(0.5 + side * x, y) for x, y in points]
            self.part(shape, fill, smooth=smooth, width=width, patterned=patterned)

    def line(self, points: Points, fill: RGB | None = None, width: float = 0.009, *, smooth: int = 2) -> None:
        """Draws an open line, by default in the outline's colour."""
        path = [tuple(corner) for corner in _pixels(points, smooth, closed=False)]
        self._pen.line(path, fill=fill or self.outline, width=max(1, round(width * SIZE)), joint="curve")

    def lines(self, points: Points, fill: RGB | None = None, width: float = 0.009, *, smooth: int = 2) -> None:
        """Draws an open line right of the middle, x counted from the middle, and its mirror image."""
        for side in (1, -1):
            self.line([(0.5 + side * x, y) for x, y in points], fill, width, smooth=smooth)

    def dot(self, x: float, y: float, radius: float, fill: RGB | None = None) -> None:
        """Draws a small disc, a button for instance."""
        box = [(x - radius) * SIZE, (y - radius) * SIZE, (x + radius) * SIZE, (y + radius) * SIZE]
        self._pen.ellipse(box, fill=fill or self.outline)

    def fringe(self, start: tuple[float, float], end: tuple[float, float], length: float, count: int = 14) -> None:
        """Draws threads hanging from a line."""
        for share in np.linspace(0, 1, count):
            x, y = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
            self.line([(x, y), (x, y + length)], self.dark if share * count % 2 < 1 else self.outline, 0.01)

    def finished(self, size: int) -> Image.Image:
        """Reduces the image to ``size`` by ``size`` pixels."""
        return self.image.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)

    def _flat(self, colour: RGB) -> Image.Image:
        if colour not in self._textures:
            self._textures[colour] = self._texture(np.array(colour, np.float32))
        return self._textures[colour]

    def _texture(self, colours: NDArray[np.float32]) -> Image.Image:
        shaded = colours * self._shade[..., None]  # [SIZE, SIZE, 3]
        return Image.fromarray(np.minimum(shaded, 255, out=shaded).astype(np.uint8))


def cloth_colour(garment: Garment) -> RGB:
    """Main colour with its shade in the style's tone: sporty is bright, boho earthy, formal deep."""
    hue, saturation, value = garment.colour.hsv
    if garment.shade == "light":
        saturation, value = saturation * 0.62, value + (1 - value) * 0.45
    if garment.shade == "dark":
        saturation, value = min(1.0, saturation * 1.1), value * 0.72
    vivid, bright = {"casual": (0.85, 1.0), "sporty": (1.35, 1.1), "boho": (0.7, 0.84), "formal": (0.95, 0.68)}[
        garment.style
    ]
    red, green, blue = colorsys.hsv_to_rgb(hue, min(1.0, saturation * vivid), min(1.0, value * bright))
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_fabric(main: RGB, pattern: str, size: int, rng: np.random.Generator) -> Image.Image:
    """Draws a square of unlit cloth, RGB, at most ``FABRIC_SIZE`` pixels wide; ``rng`` draws the offset."""
    cloth = np.broadcast_to(_patterned(main, pattern, rng), (SIZE, SIZE, 3)).astype(np.uint8)
    whole = Image.fromarray(cloth).resize((FABRIC_SIZE, FABRIC_SIZE), Image.Resampling.LANCZOS)
    return whole.crop((0, 0, size, size))


def _patterned(main: RGB, pattern: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The cloth without shading, shape ``[3]`` or ``[SIZE, SIZE, 3]``."""
    colour = np.array(main, np.float32)
    offset = rng.random() * 0.08
    second = colour * 0.42 if colour.mean() > 140 else colour * 0.35 + 165
    if pattern == "stripes":
        mix = ((_ROWS + offset) % 0.1 < 0.042) * np.ones_like(_COLUMNS)
    elif pattern == "dots":
        row = np.floor((_ROWS + offset) / 0.075)
        along = (_COLUMNS + 0.0375 * (row % 2)) % 0.075 - 0.0375
        mix = (along**2 + ((_ROWS + offset) % 0.075 - 0.0375) ** 2 < 0.0195**2).astype(np.float32)
    elif pattern == "checks":
        mix = 0.5 * ((_ROWS + offset) % 0.13 < 0.05) + 0.5 * ((_COLUMNS + offset) % 0.13 < 0.05)
    else:
        return colour
    cloth: NDArray[np.float32] = colour + mix[..., None].astype(np.float32) * (second - colour)
    return cloth


def _folds(rng: np.random.Generator) -> NDArray[np.float32]:
    """Light from the upper left and a few soft folds, shape ``[SIZE, SIZE]``, about 1."""
    phases = rng.random(2) * 2 * np.pi
    shade = (1.07 - 0.13 * _COLUMNS - 0.06 * _ROWS).astype(np.float32)
    for strength, across, down, phase in ((0.035, 2.7, 0.6, phases[0]), (0.02, 5.3, -0.9, phases[1])):
        # The sine of a sum from the sines of its terms: two vectors instead of a sine per pixel.
        x, y = 2 * np.pi * across * _COLUMNS + np.float32(phase), 2 * np.pi * down * _ROWS
        shade += np.float32(strength) * (np.sin(x) * np.cos(y) + np.cos(x) * np.sin(y))
    return shade


def _ribs() -> NDArray[np.float32]:
    """Shading of knitwear, shape ``[SIZE, SIZE]``, about 1."""
    ribs = 1 + 0.06 * np.sin(2 * np.pi * 26 * _COLUMNS) * np.sign(np.sin(2 * np.pi * 13 * _ROWS))
    return ribs.astype(np.float32)


def _pixels(points: Points, smooth: int, closed: bool = True) -> NDArray[np.float64]:
    """Cuts corners (Chaikin 1974) and converts to pixels, shape ``[n, 2]``."""
    path = np.array(points, dtype=np.float64)
    for _ in range(smooth):
        after = np.roll(path, -1, axis=0)
        cut = np.stack([0.75 * path + 0.25 * after, 0.25 * path + 0.75 * after], axis=1).reshape(-1, 2)
        path = cut if closed else np.concatenate([path[:1], cut[:-2], path[-1:]])
    return path * SIZE


def _scale(colour: RGB, factor: float) -> RGB:
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
