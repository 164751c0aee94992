"""Plots all methods side by side: distributions of the scores, and S against its cost."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from outfits.report.comparison.results import EvaluationResult
from outfits.report.drawing import DASHED, SIZE, ground, page_figure, panels, plain, titled, wrapped_label
from outfits.report.style import LIGHT, Theme, colours, family, label


def distributions(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Draws violins of S over the completed outfits and, beside them, of the judge's scores of the same outfits.

    A violin is the histogram of ``results.json``, mirrored; each is as wide as its fullest bin.
    """
    methods = list(result.methods)
    panels = [("score", "S, the frozen scorer")]
    panels += [("judge", "Judge, a second scorer no method saw")] if result.judged else []
    figure = page_figure(0.8 + 0.52 * len(methods))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    shades = colours(result.all_methods, theme)
    places = np.arange(len(methods), 0, -1)
    for axis, (measure, title) in zip(axes, panels, strict=True):
        plain(axis, theme)
        if "original" in result.methods:
            reference = getattr(result.methods["original"], f"{measure}_mean")
            axis.axvline(reference, color=theme.muted, linewidth=0.8, linestyle=DASHED, zorder=0)
        for place, name in zip(places.tolist(), methods, strict=True):
            method = result.methods[name]
            mean, quantiles = getattr(method, f"{measure}_mean"), getattr(method, f"{measure}_quantiles")
            counts = np.asarray(getattr(method, f"{measure}_histogram"), dtype=np.float64)
            half = np.repeat(0.4 * counts / counts.max(), 2)  # [2 bins]: a step per bin
            edges = np.repeat(np.linspace(0, 1, len(counts) + 1), 2)[1:-1]
            axis.fill_between(edges, place - half, place + half, color=shades[name], alpha=0.45, linewidth=0)
            low, first, third, high = (quantiles[part] for part in ("0.05", "0.25", "0.75", "0.95"))
            axis.plot([low, high], [place, place], color=shades[name], linewidth=1.0, solid_capstyle="butt")
            axis.plot([first, third], [place, place], color=shades[name], linewidth=4.0, solid_capstyle="butt")
            axis.plot(mean, place, "o", markersize=5.5, color=theme.ink, markeredgecolor=ground(theme), zorder=3)
            axis.text(1.025, place, f"{mean:.3f}", color=theme.ink, size=SIZE, va="center")
        axis.set(xlim=(0, 1), ylim=(0.4, len(methods) + 0.6), yticks=places.tolist())
        axis.annotate(
            "mean", (1.025, 1), (0, 8), xycoords="axes fraction", textcoords="offset points",
            color=theme.muted, size=SIZE,
        )  # fmt: skip
        axis.set_title(title, loc="left", size=SIZE + 1, color=theme.ink, pad=8)
        axis.xaxis.grid(True, color=theme.faint, linewidth=0.6)
    axes[0].set_yticklabels([wrapped_label(name, 26) for name in methods], color=theme.ink)
    return figure


def cumulative(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Draws cumulative distributions of S: each method against the original outfits, all others in grey behind.

    They are the running sums of the histograms of ``results.json``.
    """
    methods = list(result.methods)
    reference = "original" if "original" in methods else methods[0]
    shown = [name for name in methods if name != reference] or [reference]
    across = min(3 if len(shown) <= 6 else 4, len(shown))
    down = -(-len(shown) // across)
    lines = max(wrapped_label(name, 25).count("\n") for name in shown)
    height = 0.5 + ((2.35 if across < 4 else 1.85) + 0.2 * lines) * down
    labels = ("S of the completed outfit", "share of outfits with at most this S")
    figure, axes = panels(shown, across, height, *labels, theme)
    shades = colours(result.all_methods, theme)
    shares = {name: _cumulative_shares(result.methods[name].score_histogram) for name in methods}
    edges = np.linspace(0, 1, len(shares[reference]))
    for name, axis in axes.items():
        for other in methods:
            if other not in (name, reference):
                axis.plot(edges, shares[other], color=theme.faint, linewidth=0.8)
        axis.plot(edges, shares[reference], color=theme.ink, linewidth=1.1, linestyle=(0, (4, 2)))
        axis.plot(edges, shares[name], color=shades[name], linewidth=2.2)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        titled(axis, wrapped_label(name, 25), theme)
    return figure


def trade_off(result: EvaluationResult, theme: Theme = LIGHT) -> Figure:
    """Draws mean S against calls of S per outfit; the axis is linear up to 1, since 0 calls occur, then logarithmic."""
    methods = list(result.methods)
    figure = page_figure(3.6 + 0.16 * len(methods))
    axis = figure.subplots()
    plain(axis, theme)
    shades = colours(result.all_methods, theme)
    points = {name: (method.scorer_calls_per_outfit, method.score_mean) for name, method in result.methods.items()}
    most = max(10.0, *(calls for calls, _ in points.values()))
    axis.set_xscale("symlog", linthresh=1, linscale=1.6 if len(methods) > 8 else 0.8)
    axis.set_xlim(-0.12, most * 15)
    decades = [0, *(10**power for power in range(int(np.floor(np.log10(most))) + 2))]
    axis.xaxis.set_major_locator(FixedLocator(decades))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _thousands(value)))
    reference = points["original"][1] if "original" in points else None
    if reference is not None:  # the line begins beyond the label of its point
        axis.axhline(reference, xmin=0.2, color=theme.muted, linewidth=0.8, linestyle=DASHED, zorder=0)
    lowest = min(score for _, score in points.values())
    bottom = max(0.0, np.floor((lowest - 0.08) * 10) / 10)
    axis.set(ylim=(bottom, 1 + 0.04 * (1 - bottom)), ylabel="mean S of the completed outfits")
    axis.set_xlabel("calls of S per outfit")
    for side in (axis.xaxis, axis.yaxis):
        side.label.set(color=theme.muted, size=SIZE)
    axis.yaxis.grid(True, color=theme.faint, linewidth=0.6)
    for name, point in points.items():
        shape = "D" if family(name) == "gradient" else "o"
        axis.plot(
            *point, shape, markersize=8, color=shades[name], markeredgecolor=ground(theme), zorder=3, clip_on=False
        )
    _label_points(figure, axis, points, reference, theme)
    return figure


def _cumulative_shares(histogram: Sequence[int]) -> NDArray[np.float64]:
    """Computes the share of the outfits below each edge of the bins, shape ``[bins + 1]``."""
    counts = np.asarray(histogram, dtype=np.float64)
    shares: NDArray[np.float64] = np.append(0.0, np.cumsum(counts)) / counts.sum()
    return shares


def _thousands(value: float) -> str:
    return f"{value / 1e6:,g}M" if value >= 1e6 else f"{value:,.0f}"


def _label_points(
    figure: Figure, axis: Axes, points: Mapping[str, tuple[float, float]], reference: float | None, theme: Theme
) -> None:
    """Writes every method's name and mean as near to its point as is free, with a line to the point."""
    width, height = figure.get_size_inches()
    line, letter = 0.2 / (height - 0.8), 0.077 / (width - 0.9)  # height of a line, width of a letter, in axes units
    to_axes = axis.transScale + axis.transLimits
    places = {name: to_axes.transform(point) for name, point in points.items()}
    taken = [Bbox.from_extents(x - 0.008, y - line / 2, x + 0.008, y + line / 2) for x, y in places.values()]
    if reference is not None:
        level = to_axes.transform((0, reference))[1]
        taken.append(Bbox.from_extents(0.2, level - 0.004, 1.0, level + 0.004))
    offsets = np.arange(-2 * len(points), 2 * len(points) + 1) * line / 2
    for name in sorted(points, key=lambda name: (-points[name][1], name)):
        x, y = places[name]
        text = textwrap.wrap(f"{label(name)}: {points[name][1]:.3f}", 36)
        wide, tall = letter * max(map(len, text)), line * len(text)
        free = []
        for side, offset, away in product((1, -1), offsets, (0.013, 0.06, 0.12)):  # right of the point, left of it
            start = x + side * away
            box = Bbox.from_bounds(min(start, start + side * wide), y + offset - tall / 2, wide, tall)
            inside = box.x0 >= 0.015 and box.x1 <= 1 and box.y0 >= -line / 2 and box.y1 <= 1.02
            if inside and not box.count_overlaps(taken):
                # prefer near labels, which cannot be mistaken for another point's, and the right side
                cost = abs(offset) / line + 12 * (away - 0.013) + (0.4 if side < 0 else 0.0)
                free.append((cost, side, start, y + offset, box))
        _, side, start, middle, box = min(free, default=(0.0, 1, x + 0.013, y, Bbox.null()))
        taken.append(box)
        leader = {
            "arrowstyle": "-",
            "color": theme.muted,
            "linewidth": 0.6,
            "shrinkA": 1,
            "shrinkB": 4,
            "relpos": ((1 - side) / 2, 0.5),
        }
        axis.annotate(
            "\n".join(text),
            (x, y),
            (start, middle),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=theme.ink,
            size=SIZE,
            ha="left" if side > 0 else "right",
            va="center",
            arrowprops=leader if abs(middle - y) > 0.4 * line or abs(start - x) > 0.02 else None,
        )
