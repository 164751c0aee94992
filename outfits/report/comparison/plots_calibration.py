"""Plots whether S is a probability: the share of real outfits over S."""

from matplotlib.figure import Figure

from outfits.report.comparison.results import EvaluationResult
from outfits.report.drawing import DASHED, SIZE, page_figure, plain
from outfits.report.style import LIGHT, Theme


def calibration(result: EvaluationResult, theme: Theme = LIGHT) -> Figure | None:
    """Draws a reliability diagram; the area of a point is the number of sets in its bin. None without a measurement."""
    if result.calibration is None:
        return None
    figure = page_figure(3.4)
    axis = figure.subplots()
    plain(axis, theme)
    axis.grid(True, color=theme.faint, linewidth=0.6)
    axis.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.0, linestyle=DASHED)
    bins = result.calibration.bins
    most = max(part.sets for part in bins)
    accent = "#58a6e0" if theme.name == "dark" else "#00538a"
    axis.plot([part.score for part in bins], [part.real for part in bins], color=accent, linewidth=1.4)
    areas = [18 + 160 * part.sets / most for part in bins]
    axis.scatter([part.score for part in bins], [part.real for part in bins], s=areas, color=accent, zorder=3)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("S", size=SIZE, color=theme.muted)
    axis.set_ylabel("share of real outfits", size=SIZE, color=theme.muted)
    return figure
