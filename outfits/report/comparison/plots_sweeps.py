"""Plots scores against a parameter: small multiples, a panel per measure."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from outfits.report.comparison.results import EvaluationResult
from outfits.report.drawing import SIZE, ground, page_figure, plain, titled
from outfits.report.style import LIGHT, Theme, colours, label

AXES = {
    "k": "k, number of missing items",
    "width": "beam width",
    "candidates": "r, nearest items per latent",
    "alpha": "α, weight of S against the texts of conditions",
}
_MEASURES = {
    "score_mean": "Mean S",
    "judge_mean": "Mean under the judge",
    "similarity_mean": "Similarity to the texts of conditions",
}


def sweep(result: EvaluationResult, parameter: str, theme: Theme = LIGHT) -> Figure | None:
    """Draws mean S, and the other measures that exist, over the values of a parameter, a line per method.

    None if the parameter was not swept.
    """
    by_method = result.sweeps.get(parameter)
    if not by_method:
        return None
    points = [(value, method) for found in by_method.values() for value, method in found.items()]
    shown = [name for name in _MEASURES if any(getattr(method, name) is not None for _, method in points)]
    figure = page_figure(2.9 + 0.22 * (-(-len(by_method) // 4)))
    axes = figure.subplots(1, len(shown), sharex=True, squeeze=False)[0]
    shades = colours(result.all_methods, theme)
    values = sorted({value for value, _ in points})
    for axis, measure in zip(axes, shown, strict=True):
        plain(axis, theme)
        for name, found in by_method.items():
            scores = {value: getattr(method, measure) for value, method in found.items()}
            line = [(value, score) for value, score in scores.items() if score is not None]
            axis.plot(
                *zip(*line, strict=True), "o-", color=shades[name], linewidth=1.8, markersize=6,
                markeredgecolor=ground(theme), label=label(name),
            )  # fmt: skip
        if values[0] > 0 and values[-1] / values[0] >= 8:
            axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator(values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.margins(x=0.08, y=0.12)
        axis.grid(True, color=theme.faint, linewidth=0.6)
        titled(axis, _MEASURES[measure], theme)
    figure.supxlabel(AXES[parameter], size=SIZE, color=theme.muted)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=4, frameon=False, fontsize=SIZE, labelcolor=theme.ink,
        handlelength=1.5,
    )  # fmt: skip
    return figure
