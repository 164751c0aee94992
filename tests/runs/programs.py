"""The entry points as tests call them: in this process where that is enough, as a user's command where it is not."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

import evaluate
import train
from outfits.config.command import run_command
from tests.runs.warm import run_warm

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).with_name("tiny.yaml")
TWO_RANKS = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.timeout_minutes=5")
SECONDS_TO_HANG = 540  # a command that takes longer has not come back and never will


@dataclass(frozen=True)
class Finished:
    """A command that came back."""

    status: int
    output: str
    errors: str

    def succeeded(self) -> "Finished":
        """Itself, once its status is known to be 0."""
        assert self.status == 0, f"status {self.status}\n{self.output}\n{self.errors}"
        return self

    def mistake(self) -> str:
        """The one line that it ended with, once its status is known to be 2."""
        assert self.status == 2, f"status {self.status}\n{self.output}\n{self.errors}"
        assert self.errors.count("\n") == 1, self.errors
        return self.errors.strip()


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes: data, products that runs share, and the run itself."""

    data: Path
    cache: Path
    run: Path

    def arguments(self, *more: str) -> list[str]:
        """Command line of ``train.py`` for the tiny recipe here."""
        return [
            f"experiment={RECIPE}",
            f"data.root={self.data}",
            f"cache_dir={self.cache}",
            f"run_dir={self.run}",
            *more,
        ]

    def results(self) -> dict[str, Any]:
        """Metrics of the report."""
        return dict(json.loads((self.run / "report" / "results.json").read_text()))


def here(program: str, arguments: Sequence[str]) -> Finished:
    """``train`` or ``evaluate`` called in this process, without the seconds that starting Python and torch takes."""
    main: Callable[[Sequence[str]], None] = {"train": train.main, "evaluate": evaluate.main}[program]
    output, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = run_command(main, list(arguments))
    finally:
        if wandb.run is not None:  # otherwise the next run of this process would log to this one's board
            wandb.finish()
    return Finished(status, output.getvalue(), errors.getvalue())


def killed(point: str, nth: int, arguments: Sequence[str]) -> None:
    """``train.py`` in a process of its own that dies where ``kill_at.py`` is told to."""
    died = _until(point, nth, arguments)
    assert died.status == -signal.SIGKILL, f"{point} {nth}: {died.status}\n{died.output}\n{died.errors}"


def stopped(point: str, nth: int, arguments: Sequence[str], name: str = "SIGTERM") -> str:
    """The last words of ``train.py`` in a process of its own that gets a signal where ``kill_at.py`` is told to."""
    ended = _until(point, nth, arguments, SIGNAL=name)
    assert ended.status == 128 + signal.Signals[name], f"{point} {nth}: {ended.status}\n{ended.output}\n{ended.errors}"
    (line,) = [line for line in ended.errors.splitlines() if line.startswith("stopped by")]
    assert "Traceback" not in ended.errors
    return line


def _until(point: str, nth: int, arguments: Sequence[str], **environment: str) -> Finished:
    ways = {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore", **environment}
    return Finished(*run_warm([point, str(nth), *arguments], ways, SECONDS_TO_HANG))


def command(program: str, arguments: Sequence[str], **environment: str) -> Finished:
    """A program of the repository, such as ``train.py``, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(REPOSITORY / program), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_HANG,
        start_new_session=True,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def without_times(results: Any) -> Any:
    """Results with the clock's metrics taken out, wherever they stand."""
    if isinstance(results, dict):
        return {name: without_times(value) for name, value in results.items() if name != "ms_per_outfit"}
    return [without_times(value) for value in results] if isinstance(results, list) else results
