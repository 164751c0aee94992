"""The metrics of an evaluation as files: JSON for programs, CSV for spreadsheets, Parquet for single outfits."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from outfits import run_files
from outfits.errors import ArtifactError
from outfits.report.comparison.results import TABLES, EvaluationResult
from outfits.storage import write_text


def write_results(result: EvaluationResult, folder: Path) -> dict[str, Path]:
    """Writes the metrics into a folder and takes away tables that an earlier evaluation left and this one lacks.

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
    # last and in one move: who finds results.json finds all of it
    write_json(paths["results_json"], result.to_json())
    return paths


def write_json(path: Path, metrics: dict[str, Any]) -> None:
    """Writes metrics as JSON, in one move; lists of numbers stand on one line each."""
    text = json.dumps(metrics, indent=2, allow_nan=False)
    # within a JSON string there is no line break, so none is touched
    text = re.sub(r"\[\n[-+.\deE,\s]*\]", lambda found: " ".join(found[0].split()), text)
    write_text(path, text + "\n")


def read_results(folder: Path) -> EvaluationResult:
    """Reads what :func:`write_results` wrote.

    Raises:
        ArtifactError: if a file is missing or is not what this version writes.
    """
    try:
        values = json.loads((folder / run_files.RESULTS).read_text(encoding="utf-8"))
        scores = pd.read_parquet(folder / "scores.parquet")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder}: no readable results ({error}); run evaluate.py again") from error
    return EvaluationResult.from_json(values, scores)
