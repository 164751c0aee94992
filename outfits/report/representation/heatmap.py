"""Draws the importance of every coordinate of a latent for every factor as a map."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from outfits.metrics.disentanglement import Disentanglement
from outfits.report.drawing import SIZE, drawable, ground, page_figure, plain
from outfits.report.style import LIGHT, Theme

_LABELLED = 40  # coordinates; of more, only some columns are labelled


def heat_map(metrics: Disentanglement, theme: Theme = LIGHT) -> Figure:
    """Draws importance by coordinate and factor; coordinates are sorted by the factor that they matter most for."""
    names = list(metrics.factors)
    order = sorted_by_factor(metrics.importance)
    image = metrics.importance[order].T  # [F, d]
    figure = page_figure(1.25 + 0.27 * len(names))
    axis = figure.subplots()
    plain(axis, theme)
    accent = "#58a6e0" if theme.name == "dark" else "#00538a"
    shades = LinearSegmentedColormap.from_list("importance", [ground(theme), accent])
    most = float(max(image.max(), 1e-12))
    mesh = axis.pcolormesh(image, cmap=shades, vmin=0, vmax=most, edgecolors=theme.faint, linewidth=0.4)
    step = -(-len(order) // _LABELLED)
    places = np.arange(0, len(order), step)
    axis.set_xticks((places + 0.5).tolist(), [str(order[place]) for place in places], size=SIZE - 2)
    words, files = zip(*map(drawable, names), strict=True)
    axis.set_yticks((np.arange(len(names)) + 0.5).tolist(), words, color=theme.ink, parse_math=False)
    for shown, file in zip(axis.get_yticklabels(), files, strict=True):
        shown.set(font=file, size=SIZE)
    axis.invert_yaxis()
    axis.set_xlabel("coordinate of the latent, sorted by the factor it matters most for", color=theme.muted, size=SIZE)
    bar = figure.colorbar(mesh, ax=axis, pad=0.01, aspect=12)
    bar.set_label("importance", color=theme.muted, size=SIZE)
    bar.ax.tick_params(length=0, labelsize=SIZE - 1, labelcolor=theme.muted)
    bar.outline.set_visible(False)
    return figure


def sorted_by_factor(importance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Sorts coordinates by the factor that they matter most for, within it the most important first.

    ``importance`` has shape ``[d, F]``.
    """
    return np.lexsort((-importance.max(axis=1), importance.argmax(axis=1)))
