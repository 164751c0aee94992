"""The pictures of an evaluation, drawn with Matplotlib's objects: no pyplot, no global state."""

import base64
import io
import re

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from outfits.report.appearance import LIGHT, Theme, colours, label
from outfits.report.results import EvaluationResult

_SIZE = 10.0  # points
_TYPEFACE = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans'"


def distributions(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Violins of S over the completed outfits and, beside them, of the judge's scores of the same outfits."""
    methods = list(result.methods)
    panels = [("score", "S, the frozen scorer")]
    panels += [("judge", "Judge, a second scorer no method saw")] if result.judged else []
    figure = _figure(0.8 + 0.52 * len(methods))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    shades = colours(methods, theme)
    places = np.arange(len(methods), 0, -1)
    for axis, (column, title) in zip(axes, panels, strict=True):
        _plain(axis, theme)
        values = [_values(result, name, column) for name in methods]
        reference = float(values[0].mean()) if methods[0] == "original" else None
        if reference is not None:
            axis.axvline(reference, color=theme.muted, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        violins = axis.violinplot(
            values, places.tolist(), orientation="horizontal", widths=0.8, showextrema=False, points=256
        )
        for body, name in zip(violins["bodies"], methods, strict=True):
            body.set(facecolor=shades[name], alpha=0.45, edgecolor="none")
        for place, name, sample in zip(places, methods, values, strict=True):
            low, first, third, high = np.quantile(sample, [0.05, 0.25, 0.75, 0.95])
            axis.plot([low, high], [place, place], color=shades[name], linewidth=1.0, solid_capstyle="butt")
            axis.plot([first, third], [place, place], color=shades[name], linewidth=4.0, solid_capstyle="butt")
            axis.plot(
                sample.mean(), place, "o", markersize=5.5, color=theme.ink, markeredgecolor=_ground(theme), zorder=3
            )
            axis.text(1.025, place, f"{sample.mean():.3f}", color=theme.ink, size=_SIZE, va="center")
        axis.set(xlim=(0, 1), ylim=(0.4, len(methods) + 0.6), yticks=places.tolist())
        axis.annotate(
            "mean", (1.025, 1), (0, 8), xycoords="axes fraction", textcoords="offset points",
            color=theme.muted, size=_SIZE,
        )  # fmt: skip
        axis.set_title(title, loc="left", size=_SIZE + 1, color=theme.ink, pad=8)
        axis.xaxis.grid(True, color=theme.faint, linewidth=0.6)
    axes[0].set_yticklabels([label(name) for name in methods], color=theme.ink)
    return figure


def cumulative(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Empirical distribution functions of S: each method against the original outfits, all others in grey behind."""
    methods = list(result.methods)
    reference = "original" if "original" in methods else methods[0]
    shown = [name for name in methods if name != reference] or [reference]
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = _figure(0.5 + 2.35 * down)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    shades = colours(methods, theme)
    samples = {name: _values(result, name, "score") for name in methods}
    for place, axis in enumerate(grid.flat):
        if place >= len(shown):
            axis.remove()
            continue
        name = shown[place]
        _plain(axis, theme)
        for other in methods:
            if other not in (name, reference):
                axis.ecdf(samples[other], color=theme.faint, linewidth=1.0)
        axis.ecdf(samples[reference], color=theme.ink, linewidth=1.1, linestyle=(0, (4, 2)))
        axis.ecdf(samples[name], color=shades[name], linewidth=2.2)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axis.grid(True, color=theme.faint, linewidth=0.6)
        axis.set_title(label(name), loc="left", size=_SIZE + 1, color=theme.ink, pad=6)
        axis.tick_params(labelbottom=place + across >= len(shown))
    figure.supxlabel("S of the completed outfit", size=_SIZE, color=theme.muted)
    figure.supylabel("share of outfits with at most this S", size=_SIZE, color=theme.muted)
    return figure


def trade_off(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Mean S against calls of S per outfit; the axis is linear up to 1 and logarithmic beyond, since 0 calls occur."""
    methods = list(result.methods)
    figure = _figure(4.4)
    axis = figure.subplots()
    _plain(axis, theme)
    shades = colours(methods, theme)
    calls = {name: result.methods[name].scorer_calls_per_outfit for name in methods}
    most = max(10.0, *calls.values())
    axis.set_xscale("symlog", linthresh=1, linscale=0.6)
    axis.set_xlim(-0.12, most * 15)
    decades = [0, *(10**power for power in range(int(np.floor(np.log10(most))) + 2))]
    axis.xaxis.set_major_locator(FixedLocator(decades))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for name in methods:
        score = result.methods[name].score_mean
        axis.plot(calls[name], score, "o", markersize=8, color=shades[name], markeredgecolor=_ground(theme), zorder=3)
    if "original" in result.methods:
        reference = result.methods["original"].score_mean  # the line begins beyond the label of its point
        axis.axhline(reference, xmin=0.2, color=theme.muted, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    axis.set(ylim=(0, 1.03), ylabel="mean S of the completed outfits", xlabel="calls of S per outfit")
    axis.yaxis.label.set(color=theme.muted, size=_SIZE)
    axis.xaxis.label.set(color=theme.muted, size=_SIZE)
    axis.yaxis.grid(True, color=theme.faint, linewidth=0.6)
    _label_points(axis, {name: (calls[name], result.methods[name].score_mean) for name in methods}, theme)
    return figure


def svg_uri(figure: Figure) -> str:
    """The figure as SVG in a data URI; its text stays text, in the reader's own typeface."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "outfits"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = re.sub(r"'DejaVu Sans'", _TYPEFACE, buffer.getvalue().decode("utf-8"))
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii")


def png_bytes(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as PNG on white."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _figure(height: float) -> Figure:
    """A figure of the page's width and this height, inches."""
    return Figure(figsize=(9.6, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))


def _values(result: EvaluationResult, method: str, column: str) -> NDArray[np.float64]:
    scores = result.scores
    return np.asarray(scores.loc[scores["method"] == method, column], dtype=np.float64)


def _ground(theme: Theme) -> str:
    return "#0d1117" if theme.name == "dark" else "#ffffff"


def _plain(axis: Axes, theme: Theme) -> None:
    """Takes the frame away and leaves quiet ticks."""
    axis.set_facecolor("none")
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.tick_params(length=0, labelsize=_SIZE, labelcolor=theme.muted, pad=5)


def _label_points(axis: Axes, points: dict[str, tuple[float, float]], theme: Theme) -> None:
    """Writes every method's name and mean right of its point, or above or below that where the place is taken."""
    line, letter = 0.055, 0.0085  # height of a line and width of a letter, in axes units
    to_axes = axis.transScale + axis.transLimits
    places = {name: to_axes.transform(point) for name, point in points.items()}
    taken = [(x - 0.008, x + 0.008, y) for x, y in places.values()]
    for name in sorted(points, key=lambda name: -points[name][1]):
        x, y = places[name]
        text = f"{label(name)}: {points[name][1]:.3f}"
        left, right = x + 0.013, x + 0.013 + letter * len(text)
        offsets = [sign * step * line / 4 for step in range(4 * len(points) + 4) for sign in (-1, 1)]
        height = next(
            (
                y + offset
                for offset in offsets
                if line / 2 <= y + offset <= 1
                and all(right < low or left > high or abs(y + offset - other) >= line for low, high, other in taken)
            ),
            y,
        )
        taken.append((left, right, height))
        leader = {"arrowstyle": "-", "color": theme.muted, "linewidth": 0.6, "shrinkB": 4}
        axis.annotate(
            text,
            (x, y),
            (left, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=theme.ink,
            size=_SIZE,
            va="center",
            arrowprops=leader if abs(height - y) > line else None,
        )
