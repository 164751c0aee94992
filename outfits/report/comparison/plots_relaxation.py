"""Plots the loss of S when the optimum of gradient ascent in embedding space is projected to real items."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from outfits.report.comparison.results import EvaluationResult
from outfits.report.drawing import panels, titled, wrapped_label
from outfits.report.style import LIGHT, Theme, colours


def relaxation(result: EvaluationResult, theme: Theme = LIGHT) -> Figure | None:
    r"""Draws S lost in projection over distance moved, a panel per call, with the line :math:`M \varepsilon`.

    M is the largest lower bound of S's Lipschitz constant along the ascents of the call. None if no method relaxes.
    """
    shown = {name: method.relaxation for name, method in result.methods.items() if method.relaxation is not None}
    if not shown:
        return None
    across = min(3, len(shown))
    height = 0.6 + 2.7 * -(-len(shown) // across)
    labels = ("distance moved in projection, summed over the items", "S lost in projection")
    figure, axes = panels(list(shown), across, height, *labels, theme)
    shades = colours(result.all_methods, theme)
    points = {name: np.asarray(metrics["points"], dtype=np.float64) for name, metrics in shown.items()}
    farthest = max(float(moved_lost[:, 0].max()) for moved_lost in points.values()) * 1.05 or 1.0
    lost = np.concatenate([moved_lost[:, 1] for moved_lost in points.values()])
    lowest, highest = min(0.0, float(lost.min())), max(0.05, float(lost.max()))
    margin = 0.06 * (highest - lowest)
    for name, axis in axes.items():
        axis.axhline(0, color=theme.muted, linewidth=0.8)
        bound, within = shown[name]["lipschitz"], shown[name]["share_within_bound"]
        title = wrapped_label(name, 34)
        if bound is not None:
            axis.plot([0, farthest], [0, bound * farthest], color=theme.ink, linewidth=1.1, linestyle=(0, (4, 2)))
            title += f"\nM = {bound:.3g}; {within:.1%} within own M·ε"
        # rasterized: many points as text take megabytes
        axis.plot(*points[name].T, "o", markersize=3.5, color=shades[name], alpha=0.5, mew=0, rasterized=True)
        axis.set(xlim=(0, farthest), ylim=(lowest - margin, highest + margin))
        axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        titled(axis, title, theme)
    return figure
