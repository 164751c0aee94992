"""Draws what the plots of a report share: figures without pyplot, plain axes, and files that need no typeface."""

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from string import whitespace
from unicodedata import category

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import ImageFont

from outfits.report.style import Theme, label

SIZE = 10.0  # of text, points
DASHED = (0, (3, 3))
_warned: list[str] = []
_TYPEFACE = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans'"


def data_uri(kind: str, content: bytes) -> str:
    """Encodes an image file as a data URI; ``kind`` is that of its MIME type, as in ``png``."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def svg_uri(figure: Figure) -> str:
    """Encodes the figure as SVG in a data URI; its text stays text, in the reader's own typeface."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "outfits"}):
        figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None, "Creator": None}, transparent=True)
    text = re.sub(r"'DejaVu Sans'", _TYPEFACE, buffer.getvalue().decode("utf-8"))
    return data_uri("svg+xml", text.encode("utf-8"))


def image_bytes(figure: Figure, kind: str = "png", dpi: int = 144) -> bytes:
    """Renders the figure on white, as PNG or another of matplotlib's formats."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else None
    figure.savefig(buffer, format=kind, dpi=dpi, facecolor="white", metadata=metadata)
    return buffer.getvalue()


def page_figure(height: float) -> Figure:
    """Makes a figure of the page's width and this height, inches."""
    return Figure(figsize=(9.6, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))


def ground(theme: Theme) -> str:
    """Returns the colour behind a drawing with a transparent ground."""
    return "#0d1117" if theme.name == "dark" else "#ffffff"


def plain(axis: Axes, theme: Theme) -> None:
    """Removes the frame and the ticks' marks."""
    axis.set_facecolor("none")
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.tick_params(length=0, labelsize=SIZE, labelcolor=theme.muted, pad=5)


def panels(
    names: Sequence[str], across: int, height: float, xlabel: str, ylabel: str, theme: Theme
) -> tuple[Figure, dict[str, Axes]]:
    """Makes a figure of this height, inches, with an axis per name, row by row, all with the same limits."""
    figure = page_figure(height)
    grid = figure.subplots(-(-len(names) // across), across, sharex=True, sharey=True, squeeze=False)
    for axis in grid.flat[len(names) :]:
        axis.remove()
    axes = dict(zip(names, grid.flat, strict=False))
    for place, axis in enumerate(axes.values()):
        plain(axis, theme)
        axis.grid(True, color=theme.faint, linewidth=0.6)
        axis.tick_params(labelbottom=place + across >= len(names))
    figure.supxlabel(xlabel, size=SIZE, color=theme.muted)
    figure.supylabel(ylabel, size=SIZE, color=theme.muted)
    return figure, axes


def titled(axis: Axes, text: str, theme: Theme) -> None:
    """Writes a panel's title, left-aligned above it."""
    axis.set_title(text, loc="left", size=SIZE + 1, color=theme.ink, pad=6)


def wrapped_label(method: str, width: int) -> str:
    """Wraps a method's label to lines of at most ``width`` characters."""
    return textwrap.fill(label(method), width)


def shortened(text: str, width: int, typeface: ImageFont.FreeTypeFont) -> str:
    """Cuts the text with an ellipsis where it is wider than ``width`` pixels."""
    if typeface.getlength(text) <= width:
        return text
    kept = next(end for end in range(len(text), -1, -1) if end == 0 or typeface.getlength(f"{text[:end]}…") <= width)
    return f"{text[:kept].rstrip(' ,')}…"


def drawable(text: str, *, bold: bool = False) -> tuple[str, Path]:
    """Finds a typeface for a user's text: matplotlib's own, or the installed one that has most of its characters.

    Returns the text without the characters that the typeface lacks, and the typeface's file. The first text that loses
    some causes a warning.
    """
    wanted = frozenset(letter for letter in text if category(letter) not in ("Cc", "Cf", "Zs"))
    file = _covering(wanted, bold=bold)
    lacking = frozenset(text) - _characters(file) - frozenset(whitespace)
    if not lacking:
        return text, file
    if lacking & wanted and not _warned:
        letter = min(lacking & wanted)
        _warned.append(letter)
        what = f"pictures leave out characters that no installed typeface has, such as {letter} (U+{ord(letter):04X})"
        warnings.warn(f"{what}; install one (Debian: fonts-noto-cjk, fonts-symbola)", stacklevel=2)
    lines = "".join(letter for letter in text if letter not in lacking).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines), file


@lru_cache
def font(size: int, *, bold: bool = False, file: Path | None = None) -> ImageFont.FreeTypeFont:
    """Loads matplotlib's typeface, so that a sheet looks the same on every machine, or ``file``; size in pixels."""
    return ImageFont.truetype(file or _typeface(bold=bold), size)


@lru_cache
def _typeface(*, bold: bool) -> Path:
    properties = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return Path(font_manager.findfont(properties))


def _distance(face: font_manager.FontEntry, *, bold: bool) -> tuple[bool, int, str]:
    """Sorts installed typefaces: upright ones first, then by weight."""
    weight = font_manager.weight_dict.get(str(face.weight), face.weight)
    return face.style != "normal", abs(int(weight) - (700 if bold else 400)), face.fname


@lru_cache(maxsize=4096)
def _covering(letters: frozenset[str], *, bold: bool) -> Path:
    """Finds the typeface's file, see :func:`drawable`."""
    file = _typeface(bold=bold)
    if letters <= _characters(file):
        return file
    installed = sorted(font_manager.fontManager.ttflist, key=lambda face: _distance(face, bold=bold))
    return max([file, *(Path(face.fname) for face in installed)], key=lambda path: len(letters & _characters(path)))


@cache
def _characters(file: Path) -> frozenset[str]:
    """Lists the characters that a typeface draws at every size; none of one with bitmaps or boxes for all of them."""
    if "LastResort" in file.name:
        return frozenset()
    try:
        face = FT2Font(str(file))
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
