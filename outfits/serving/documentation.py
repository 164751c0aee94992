"""The service's documentation as one page that fetches nothing from elsewhere."""

import json
from html import escape
from typing import Any

from outfits.serving.requests import OPERATIONS

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Outfits</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }}
code {{ white-space: pre-wrap }}
</style></head><body><h1>Outfits</h1>
<p>JSON, or <code>multipart/form-data</code> with the JSON in the field <code>request</code> and photos beside it.
For programs: <a href="openapi.json">openapi.json</a>.</p>
{operations}
</body></html>
"""


def documentation() -> str:
    """Describes every operation with its fields, as HTML."""
    parts: list[str] = []
    kinds: dict[str, Any] = {}
    for operation in OPERATIONS.values():
        schema = operation.request.model_json_schema()
        title = f"{operation.method} {operation.path.replace(':path', '')}"
        parts += [f"<h2><code>{escape(title)}</code></h2>", _described(schema)]
        kinds |= schema.get("$defs", {})
    parts += [f"<h2><code>{escape(name)}</code></h2>\n{_described(kind)}" for name, kind in kinds.items()]
    return PAGE.format(operations="\n".join(parts))


def _described(schema: dict[str, Any]) -> str:
    return f"<p>{escape(schema.get('description', ''))}</p>\n{_table(schema)}"


def _table(schema: dict[str, Any]) -> str:
    rows = ["<tr><th>field</th><th>type</th><th>unless given</th><th></th></tr>"]
    for name, field in schema["properties"].items():
        default = "needed" if name in schema.get("required", ()) else json.dumps(field.get("default"))
        cells = (f"<code>{escape(name)}</code>", _kind(field), escape(default), escape(field.get("description", "")))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "<table>" + "".join(rows) + "</table>"


def _kind(field: dict[str, Any]) -> str:
    """The type of a field and its bounds, in words."""
    if "$ref" in field:
        return f"<code>{escape(field['$ref'].rpartition('/')[2])}</code>"
    if "anyOf" in field:
        return " or ".join(_kind(kind) for kind in field["anyOf"])
    if "enum" in field:
        return ", ".join(escape(str(choice)) for choice in field["enum"])
    if field.get("type") == "array":
        least, most = field.get("minItems", 0), field["maxItems"]
        return f"{least:,} to {most:,} of: {_kind(field['items'])}"
    bounds = [str(field[name]) for name in ("minimum", "maximum") if name in field]
    longest = f", up to {field['maxLength']:,} characters" if "maxLength" in field else ""
    return escape(str(field.get("type", "")) + (f" from {' to '.join(bounds)}" if bounds else "") + longest)
