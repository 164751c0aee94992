"""Renders the pages of all reports from their templates, and writes them with their tables."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from outfits import run_files
from outfits.report.comparison.gallery import thumbnail_uri
from outfits.report.comparison.table import milliseconds
from outfits.report.style import description, label
from outfits.storage import write_json, write_text


def render(template: str, **values: Any) -> str:
    """Renders a page's HTML, or the Markdown of a ``.md.j2``.

    Pages have no scripts and no external references; they are light or dark by the reader's preference.
    """
    environment = Environment(
        loader=PackageLoader("outfits.report"),
        autoescape=not template.endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=label, description=description, thumbnail=thumbnail_uri, milliseconds=milliseconds)
    return environment.get_template(template).render(**values)


def write_page(folder: Path, page: str, table: pd.DataFrame, results: object) -> dict[str, Path]:
    """Writes a page, its table as CSV and its results as JSON into a folder; returns the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        "page": folder / run_files.PAGE,
        "table": folder / run_files.RESULTS_TABLE,
        "results": folder / run_files.RESULTS,
    }
    table.to_csv(paths["table"], index=False)
    write_text(paths["page"], page)
    write_json(paths["results"], results)  # last: it says that the report is there
    return paths
