"""Renders the pages of all reports from their templates."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from outfits.report.comparison.gallery import thumbnail_uri
from outfits.report.comparison.table import milliseconds
from outfits.report.style import description, label


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
