"""Writes the report: plots, tables, and one HTML file without external references."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from outfits import run_files
from outfits.config.schema.methods import methods_shown
from outfits.report.comparison.files import write_results
from outfits.report.comparison.findings import findings
from outfits.report.comparison.gallery import GalleryOutfit, write_sheet
from outfits.report.comparison.method import MethodResult
from outfits.report.comparison.plots import cumulative, distributions, trade_off
from outfits.report.comparison.plots_calibration import calibration
from outfits.report.comparison.plots_relaxation import relaxation
from outfits.report.comparison.plots_sweeps import AXES, sweep
from outfits.report.comparison.results import PARAMETERS, EvaluationResult
from outfits.report.drawing import image_bytes, svg_uri
from outfits.report.pages import render
from outfits.report.style import DARK, LIGHT, PRINT, colours
from outfits.storage import write_text

CATEGORIES_SHOWN = 20
_COMPATIBILITY_LABELS = {
    "auc": "Compatibility AUC",
    "fitb": "Fill in the blank, accuracy",
    "random": "wrong items drawn from the whole catalogue",
    "same_category": "wrong items of the true item's own category",
    "": "the data set's own questions",
}
_DRAWINGS: Mapping[str, Callable[..., Figure | None]] = {
    "distributions": distributions,
    "cumulative": cumulative,
    "trade_off": trade_off,
    "calibration": calibration,
    "relaxation": relaxation,
    **{f"sweep_{parameter}": partial(sweep, parameter=parameter) for parameter in PARAMETERS},
}


def write_report(
    result: EvaluationResult, gallery: Sequence[GalleryOutfit], folder: Path, config_yaml: str
) -> dict[str, Path]:
    """Writes the whole report of an evaluation into a folder; deletes images of an earlier one that it lacks.

    With an empty gallery ``completions.png`` is not written. The page ends with ``config_yaml``, the resolved
    configuration. Returns the paths of everything written: the ``page``, those of :func:`write_results`, and the images
    by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"page": folder / run_files.PAGE}
    for name, draw in _DRAWINGS.items():
        figure, path = draw(result, theme=PRINT), folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(image_bytes(figure))
            paths[name] = path
    completions = folder / "completions.png"
    if gallery:
        write_sheet(gallery, completions, shades=colours(result.all_methods, PRINT))
        paths["completions"] = completions
    else:
        completions.unlink(missing_ok=True)
    write_text(paths["page"], render_page(result, gallery, config_yaml))
    return paths | write_results(result, folder)  # last: its results.json says that the report is there


def render_page(result: EvaluationResult, gallery: Sequence[GalleryOutfit], config_yaml: str) -> str:
    """Renders the page's HTML."""
    plots = {}
    for name, draw in _DRAWINGS.items():
        drawn = {theme.name: draw(result, theme=theme) for theme in (LIGHT, DARK)}
        plots[name] = {theme: svg_uri(figure) for theme, figure in drawn.items() if figure is not None}
    methods = result.all_methods
    categories, further = _category_rows(result)
    return render(
        "index.html.j2",
        result=result,
        gallery=gallery,
        plots=plots,
        shades={theme.name: colours(methods, theme) for theme in (LIGHT, DARK)},
        findings=findings(result),
        places={name: place for place, name in enumerate(methods, 1)},
        compatibility=_compatibility_rows(result),
        gaps={name: method for name, method in result.methods.items() if method.gap_to_exhaustive is not None},
        relaxed={name: method for name, method in result.methods.items() if method.relaxation is not None},
        compared=any(method.win_rate is not None for method in result.methods.values()),
        category_methods=_category_methods(result),
        categories=categories,
        further_categories=further,
        sweeps={name: (AXES[name], _numbers_of_outfits(methods)) for name, methods in result.sweeps.items()},
        pairs_seen=result.split_facts.get("pairs_seen"),
        config_yaml=config_yaml,
    )


def _numbers_of_outfits(methods: Mapping[str, Mapping[float, MethodResult]]) -> list[int]:
    """Lists the numbers of outfits that the points of a sweep were measured on, ascending."""
    return sorted({result.outfits for values in methods.values() for result in values.values()})


def _category_methods(result: EvaluationResult) -> list[str]:
    """Selects the methods of the table by category, or the first few of this evaluation where it has none of them."""
    known = [name for name in result.methods if result.methods[name].categories]
    shown = methods_shown("categories")
    return [name for name in known if name in shown] or known[: len(shown)]


def _category_rows(result: EvaluationResult) -> tuple[list[tuple[str, int, dict[str, Any]]], int]:
    """Returns name, removals and metrics by method of the most removed categories, and the number of the others."""
    methods = {name: result.methods[name].categories for name in _category_methods(result)}
    whole = max(result.methods.values(), key=lambda method: method.outfits).categories
    removals = {name: int(metrics["removed"] or 0) for name, metrics in whole.items() if metrics["removed"]}
    ordered = sorted(removals, key=lambda name: (-removals[name], name))
    rows = [
        (category, removals[category], {name: metrics.get(category) for name, metrics in methods.items()})
        for category in ordered[:CATEGORIES_SHOWN]
    ]
    return rows, max(0, len(ordered) - CATEGORIES_SHOWN)


def _compatibility_rows(result: EvaluationResult) -> list[tuple[str, str, tuple[str, str, str]]]:
    """Lists measure, setting and the values of S, the probe and the control, the official measures last."""
    metrics, rows = result.compatibility, []
    of_s = [name for name in metrics if "control" not in name and not name.startswith(("probe_", "score_"))]
    for name in sorted(of_s, key=lambda name: name.startswith("official")):
        measure, _, setting = name.removeprefix("official_").partition("_")
        control = {"fitb_same_category": "fitb_frequency_control", "fitb_random": "fitb_frequency_control_random"}
        values = (metrics.get(key) for key in (name, f"probe_{name}", control.get(name, "")))
        shown = ("–" if value is None else f"{value:.3f}" if measure == "auc" else f"{value:.1%}" for value in values)
        source = " (official file)" if name.startswith("official_") else ""
        setting = _COMPATIBILITY_LABELS.get(setting, setting.replace("_", " "))
        of_s_probe_control = next(shown), next(shown), next(shown)
        rows.append((_COMPATIBILITY_LABELS.get(measure, measure) + source, setting, of_s_probe_control))
    return rows
