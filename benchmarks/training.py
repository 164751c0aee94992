"""Runs of the programs as comparisons need them: quiet, each on few threads, stopping everything where one fails."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def train(name: str, arguments: Sequence[str], threads: int) -> None:
    """Runs ``train.py``, see :func:`run_program`."""
    run_program("train.py", name, arguments, threads)


def run_program(program: str, name: str, arguments: Sequence[str], threads: int) -> None:
    """Runs one of the programs in a process of its own.

    Args:
        program: its file.
        name: what a message calls the run.
        arguments: ``key=value`` each.
        threads: threads of its matrix products.

    Raises:
        SystemExit: with the last line that it printed to stderr, if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / program), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SystemExit(f"{name}: {said[-1]}")


def key_values(arguments: Sequence[str]) -> str | None:
    """The first of these arguments that is not ``KEY=VALUE``; None where all are."""
    return next((argument for argument in arguments if "=" not in argument or argument.startswith("-")), None)
