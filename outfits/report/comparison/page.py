"""The report as one HTML file that needs nothing beside itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from outfits import run_files
from outfits.config.schema.methods import methods_shown
from outfits.report.comparison.files import write_results
from outfits.report.comparison.findings import findings
from outfits.report.comparison.gallery import GalleryOutfit, thumbnail_uri, write_sheet
from outfits.report.comparison.plots import cumulative, distributions, trade_off
from outfits.report.comparison.plots_relaxation import relaxation
from outfits.report.comparison.plots_sweeps import AXES, sweep
from outfits.report.comparison.results import EvaluationResult
from outfits.report.comparison.sweeps import PARAMETERS
from outfits.report.comparison.table import milliseconds
from outfits.report.drawing import png_bytes, svg_uri
from outfits.report.style import DARK, LIGHT, PRINT, colours, description, label

CATEGORIES_SHOWN = 20
_CONDITION_TITLES = {
    "categories": "Categories",
    "texts": "Texts",
    "categories_texts": "Categories and texts",
}
_COMPATIBILITY_LABELS = {
    "auc": "Compatibility AUC",
    "fitb": "Fill in the blank, accuracy",
    "random": "wrong items drawn from the whole catalogue",
    "same_category": "wrong items of the true item's own category",
    "frequency_control": "control that takes the most frequent item, same-category questions",
    "frequency_control_random": "control that takes the most frequent item, whole-catalogue questions",
    "": "the data set's own questions",
}
_DRAWINGS: Mapping[str, Callable[..., Figure | None]] = {
    "distributions": distributions,
    "cumulative": cumulative,
    "trade_off": trade_off,
    "relaxation": relaxation,
    **{f"sweep_{parameter}": partial(sweep, parameter=parameter) for parameter in PARAMETERS},
}


@dataclass(frozen=True)
class ReportPaths:
    """Files of a report: the page, the metrics as JSON and CSV, the scores of single outfits, and images.

    A table or image that this evaluation has no metrics for is None.
    """

    page: Path
    results_json: Path
    results_csv: Path
    scores_parquet: Path
    distributions: Path
    cumulative: Path
    trade_off: Path
    completions: Path | None
    relaxation: Path | None = None
    sweep_k: Path | None = None
    sweep_width: Path | None = None
    sweep_candidates: Path | None = None
    sweep_alpha: Path | None = None
    categories_csv: Path | None = None
    conditions_csv: Path | None = None
    sweeps_csv: Path | None = None

    @property
    def images(self) -> dict[str, Path]:
        """The PNG files that were written, by name."""
        return {name: path for name, path in vars(self).items() if path is not None and path.suffix == ".png"}


def write_report(
    result: EvaluationResult, gallery: Sequence[GalleryOutfit], folder: Path, config_yaml: str
) -> ReportPaths:
    """Writes the whole report of an evaluation into a folder; images of an earlier one that it lacks are taken away.

    Args:
        result: metrics and scores, from :func:`outfits.report.comparison.results.summarise`.
        gallery: outfits shown as images; may be empty, then ``completions.png`` is not written.
        folder: the report's folder, made if it is missing.
        config_yaml: the resolved configuration, printed at the end of the page.

    Returns:
        The paths of everything written.
    """
    paths: dict[str, Any] = {**write_results(result, folder)}
    for name, draw in _DRAWINGS.items():
        figure, path = draw(result, theme=PRINT), folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(png_bytes(figure))
            paths[name] = path
    completions = folder / "completions.png"
    if gallery:
        write_sheet(gallery, completions, shades=colours(result.all_methods, PRINT))
    else:
        completions.unlink(missing_ok=True)
    paths["completions"] = completions if gallery else None
    page = folder / run_files.PAGE
    page.write_text(render_page(result, gallery, config_yaml), encoding="utf-8")
    return ReportPaths(page=page, **paths)


def render_page(result: EvaluationResult, gallery: Sequence[GalleryOutfit], config_yaml: str) -> str:
    """The page's HTML: no scripts, no references to anything outside, light and dark by the reader's preference."""
    environment = Environment(
        loader=PackageLoader("outfits.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=label, description=description, thumbnail=thumbnail_uri, milliseconds=milliseconds)
    plots = {}
    for name, draw in _DRAWINGS.items():
        drawn = {theme.name: draw(result, theme=theme) for theme in (LIGHT, DARK)}
        plots[name] = {theme: svg_uri(figure) for theme, figure in drawn.items() if figure is not None}
    methods = result.all_methods
    categories, further = _category_rows(result)
    return environment.get_template("index.html.j2").render(
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
        condition_titles=_CONDITION_TITLES,
        sweeps={parameter: AXES[parameter] for parameter in PARAMETERS if result.sweep(parameter)},
        pairs_seen=result.split_facts.get("pairs_seen"),
        config_yaml=config_yaml,
    )


def _category_methods(result: EvaluationResult) -> list[str]:
    """Methods of the table by category: those that it is for, or the first few of this evaluation."""
    known = [name for name in result.methods if result.methods[name].categories]
    shown = methods_shown("categories")
    return [name for name in known if name in shown] or known[: len(shown)]


def _category_rows(result: EvaluationResult) -> tuple[list[tuple[str, int, dict[str, Any]]], int]:
    """Name, removals and metrics by method of the categories with most removals, and how many more there are."""
    methods = {name: result.methods[name].categories for name in _category_methods(result)}
    whole = max(result.methods.values(), key=lambda method: method.outfits).categories
    removals = {name: int(metrics["removed"] or 0) for name, metrics in whole.items() if metrics["removed"]}
    ordered = sorted(removals, key=lambda name: (-removals[name], name))
    rows = [
        (category, removals[category], {name: metrics.get(category) for name, metrics in methods.items()})
        for category in ordered[:CATEGORIES_SHOWN]
    ]
    return rows, max(0, len(ordered) - CATEGORIES_SHOWN)


def _compatibility_rows(result: EvaluationResult) -> list[tuple[str, str, str]]:
    """Measure, setting and figure of every compatibility entry, the official ones last."""
    rows = []
    for key, value in sorted(result.compatibility.items(), key=lambda entry: entry[0].startswith("official")):
        measure, _, setting = key.removeprefix("official_").partition("_")
        setting = _COMPATIBILITY_LABELS.get(setting, setting.replace("_", " "))
        figure = "–" if value is None else f"{value:.3f}" if measure == "auc" else f"{value:.1%}"
        source = " (official file)" if key.startswith("official_") else ""
        rows.append((_COMPATIBILITY_LABELS.get(measure, measure) + source, setting, figure))
    return rows
