"""Writes the report of an imaging model: a page with its metrics and images, and both as files."""

from pathlib import Path

from outfits import run_files
from outfits.report.drawing import data_uri
from outfits.report.imaging.result import ImagingResult
from outfits.report.pages import render
from outfits.report.representation.sheets import sheet_bytes
from outfits.storage import write_json, write_text


def write_imaging_report(result: ImagingResult, folder: Path, config_yaml: str) -> dict[str, Path]:
    """Writes page, tables and a PNG per sheet into a folder, without those of an earlier report; returns the paths.

    The page ends with ``config_yaml``, the configuration of the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    paths = {
        "page": folder / run_files.PAGE,
        "table": folder / run_files.RESULTS_TABLE,
        "results": folder / run_files.RESULTS,
    }
    drawn = {sheet.name: sheet_bytes(sheet.image) for sheet in result.sheets}
    for name, content in drawn.items():
        paths[name] = folder / f"{name}.png"
        paths[name].write_bytes(content)
    result.frame().to_csv(paths["table"], index=False)
    images = {name: data_uri("png", content) for name, content in drawn.items()}
    write_text(paths["page"], render("imaging.html.j2", result=result, images=images, config_yaml=config_yaml))
    write_json(paths["results"], result.to_json())  # last: it says that the report is there
    return paths
