"""The report as one HTML file that needs nothing beside itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from outfits.report.appearance import DARK, LIGHT, PRINT, colours, description, label
from outfits.report.gallery import GalleryOutfit, thumbnail_uri, write_sheet
from outfits.report.plots import cumulative, distributions, png_bytes, svg_uri, trade_off
from outfits.report.results import EvaluationResult, write_results
from outfits.report.table import milliseconds

_COMPATIBILITY_LABELS = {
    "auc": "Compatibility AUC",
    "fitb": "Fill in the blank, accuracy",
    "random": "wrong items drawn from the whole catalogue",
    "same_category": "wrong items of the true item's own category",
    "frequency_control": "control that takes the most frequent item, same-category questions",
    "frequency_control_random": "control that takes the most frequent item, whole-catalogue questions",
    "": "the data set's own questions",
}


@dataclass(frozen=True)
class ReportPaths:
    """Files of a report: the page, the figures as JSON and CSV, the scores of single outfits, and pictures."""

    page: Path
    results_json: Path
    results_csv: Path
    scores_parquet: Path
    distributions: Path
    trade_off: Path
    completions: Path | None


def write_report(
    result: EvaluationResult, gallery: Sequence[GalleryOutfit], folder: Path, config_yaml: str
) -> ReportPaths:
    """Writes the whole report of an evaluation into a folder.

    Args:
        result: figures and scores, from :func:`outfits.report.results.summarise`.
        gallery: outfits shown as pictures; may be empty, then ``completions.png`` is not written.
        folder: the report's folder, made if it is missing.
        config_yaml: the resolved configuration, printed at the end of the page.

    Returns:
        The paths of everything written.
    """
    figures = write_results(result, folder)
    pictures = {"distributions": distributions, "trade_off": trade_off}
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, draw in pictures.items():
        paths[name].write_bytes(png_bytes(draw(result, PRINT)))
    completions = folder / "completions.png" if gallery else None
    if completions is not None:
        write_sheet(gallery, completions)
    page = folder / "index.html"
    page.write_text(render_page(result, gallery, config_yaml), encoding="utf-8")
    return ReportPaths(page, **figures, **paths, completions=completions)


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
    plots = {
        draw.__name__: {theme.name: svg_uri(draw(result, theme)) for theme in (LIGHT, DARK)}
        for draw in (distributions, cumulative, trade_off)
    }
    return environment.get_template("index.html.j2").render(
        result=result,
        gallery=gallery,
        plots=plots,
        shades={"light": colours(result.methods, LIGHT), "dark": colours(result.methods, DARK)},
        findings=findings(result),
        places={name: place for place, name in enumerate(result.methods, 1)},
        compatibility=_compatibility_rows(result),
        pairs_seen=result.split_facts.get("pairs_seen"),
        config_yaml=config_yaml,
    )


def findings(result: EvaluationResult) -> list[str]:
    """The main figures as sentences; what was not evaluated is not mentioned."""
    methods = result.methods
    best = max(methods, key=lambda name: methods[name].score_mean)
    said = []
    if "greedy_k" in methods:
        greedy = methods["greedy_k"]
        subjects = {"generator": "The generator", "generator_rerank": "With re-ranking, the generator"}
        said += [
            f"{subject} reaches {methods[name].ratio_to_greedy_k:.1%} of greedy search's mean S with "
            f"{methods[name].scorer_calls_per_outfit:,.0f} calls of S per outfit instead of "
            f"{greedy.scorer_calls_per_outfit:,.0f}."
            for name, subject in subjects.items()
            if name in methods and methods[name].ratio_to_greedy_k is not None
        ]
    said.append(f"Highest mean S: {_means(result, best)}, by “{label(best)}”.")
    if "original" in methods and best != "original":
        said.append(f"Mean S of the original outfits: {_means(result, 'original')}.")
    if "greedy_k" in methods:
        picks = result.k * result.outfits
        said.append(f"Greedy search in k steps chose {greedy.distinct_items:,} distinct items in {picks:,} picks.")
    return said


def _means(result: EvaluationResult, name: str) -> str:
    method = result.methods[name]
    judge = "" if method.judge_mean is None else f" ({method.judge_mean:.3f} under the judge)"
    return f"{method.score_mean:.3f}{judge}"


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
