"""Writes the report of an imaging model: a page with its metrics and images, and both as files."""

from pathlib import Path

from outfits.report.drawing import data_uri
from outfits.report.imaging.result import ImagingResult
from outfits.report.pages import render, write_page
from outfits.report.representation.sheets import sheet_bytes


def write_imaging_report(result: ImagingResult, folder: Path, config_yaml: str) -> dict[str, Path]:
    """Writes page, tables and a PNG per sheet into a folder, without those of an earlier report; returns the paths.

    The page ends with ``config_yaml``, the configuration of the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    drawn = {sheet.name: sheet_bytes(sheet.image) for sheet in result.sheets}
    sheets = {name: folder / f"{name}.png" for name in drawn}
    for name, path in sheets.items():
        path.write_bytes(drawn[name])
    images = {name: data_uri("png", content) for name, content in drawn.items()}
    page = render("imaging.html.j2", result=result, images=images, config_yaml=config_yaml)
    return write_page(folder, page, result.frame(), result.to_json()) | sheets
