"""Leaves the report of a stage in the run's folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from outfits import run_files
from outfits.config.load import save_config
from outfits.storage import writing
from pipeline.run import Run


def leave_report(run: Run, name: str, text: str, write: Callable[[Path, str], Mapping[str, Path]]) -> None:
    """Writes a report beside its configuration and prints its table and paths; on rank zero alone.

    Args:
        run: the run.
        name: of the report's folder below the run's ``report/``.
        text: the table for the terminal.
        write: writes the report into a folder, given the configuration as YAML, and returns the paths by name.
    """
    folder = run.folder / run_files.REPORT / name
    save_config(run.config, folder / run_files.CONFIG)  # evaluate.py may change evaluate.*
    with writing(folder):
        paths = write(folder, (folder / run_files.CONFIG).read_text(encoding="utf-8"))
    print(f"\n{text}\n")
    for label, path in paths.items():
        print(f"{label:>16}: {path}")
