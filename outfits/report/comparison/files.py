"""Writes the metrics of an evaluation: JSON for programs, CSV for spreadsheets, Parquet for single outfits."""

from pathlib import Path

from outfits.report.comparison.results import TABLES, EvaluationResult
from outfits.storage import write_json


def write_results(result: EvaluationResult, folder: Path) -> dict[str, Path]:
    """Writes the metrics into a folder and deletes tables that an earlier evaluation left and this one lacks.

    Returns:
        The paths of ``results.json``, ``results.csv`` and ``scores.parquet`` as ``results_json`` etc., and of
        ``categories.csv``, ``conditions.csv`` and ``sweeps.csv`` as ``categories_csv`` etc., where there are such
        metrics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name.replace("_", ".") for name in ("scores_parquet", "results_csv", "results_json")}
    result.scores.to_parquet(paths["scores_parquet"], index=False)
    result.frame().to_csv(paths["results_csv"], index=False)
    tables = result.tables()
    for name in TABLES:
        path = folder / f"{name}.csv"
        if name in tables:
            tables[name].to_csv(path, index=False)
            paths[f"{name}_csv"] = path
        else:
            path.unlink(missing_ok=True)
    # last and atomically, so that results.json exists only beside everything else
    write_json(paths["results_json"], result.to_json())
    return paths
