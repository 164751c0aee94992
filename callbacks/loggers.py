"""Builds loggers: CSV always, W&B where it is available; a run neither fails nor hangs because of W&B."""

import netrc
import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from outfits.config.schema.trainer import WANDB_MODES, WandbConfig
from outfits.errors import one_line

SECONDS_TO_START = 30
SECONDS_TO_FINISH = 60


# run folders whose board has failed
_given_up: set[Path] = set()


class Board(WandbLogger):
    """Logs to a W&B run; its first error ends the board with a warning, and nothing else."""

    def __init__(self, run: Any, run_dir: Path) -> None:
        super().__init__(experiment=run)
        self.run_dir = run_dir

    def attempt(self, act: Callable[[Any], object]) -> None:
        """Calls ``act`` with W&B's run, or leaves it where the board has failed."""
        if self.run_dir not in _given_up:
            try:
                act(self.experiment)
            except Exception as error:
                _give_up(self.run_dir, error)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics."""
        self.attempt(lambda _: WandbLogger.log_metrics(self, metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Logs a module's hyperparameters."""
        self.attempt(lambda _: WandbLogger.log_hyperparams(self, params))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends a stage's logging."""
        self.attempt(lambda _: WandbLogger.finalize(self, status))


def log_to_boards(loggers: Iterable[Logger], act: Callable[[Any], object]) -> None:
    """Calls ``act`` with W&B's run of every logger that has one."""
    for logger in loggers:
        if isinstance(logger, Board):
            logger.attempt(act)
        elif isinstance(logger, WandbLogger):
            act(logger.experiment)


def has_wandb_key() -> bool:
    """Returns whether W&B would find a key, in the environment or the netrc file, without asking for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        return False


def start_wandb(config: WandbConfig, run_dir: Path, resolved: dict[str, Any]) -> Board | None:
    """Starts W&B in the configured mode; an online run that cannot start goes on offline, with a warning.

    Offline files are written under ``run_dir``; ``resolved`` is the whole configuration. Returns None if W&B is off, or
    cannot start offline either, which is a warning too.
    """
    mode, environment = WANDB_MODES[config.mode], WANDB_MODES.get(os.environ.get("WANDB_MODE", ""))
    if "off" in (mode, environment):
        return None
    online = mode == "online" or (mode == "auto" and environment != "offline" and has_wandb_key())
    try:
        if online:
            try:
                return Board(_init("online", config, run_dir, resolved), run_dir)
            except Exception as error:
                where = f"this run is logged offline under {run_dir / 'wandb'}"
                rank_zero_warn(f"W&B cannot be reached ({one_line(error, 240)}); {where}")
        return Board(_init("offline", config, run_dir, resolved), run_dir)
    except Exception as error:
        _give_up(run_dir, error)
        return None


def _init(mode: Literal["online", "offline"], config: WandbConfig, run_dir: Path, resolved: dict[str, Any]) -> Any:
    settings = wandb.Settings(
        init_timeout=SECONDS_TO_START,
        finish_timeout=SECONDS_TO_FINISH,
        finish_timeout_raises=False,
        console="off",
        silent=True,
    )
    return wandb.init(
        mode=mode,
        project=config.project,
        entity=config.entity,
        name=config.name or run_dir.name,
        tags=config.tags,
        config=resolved,
        dir=str(run_dir),
        settings=settings,
    )


def _give_up(run_dir: Path, error: Exception) -> None:
    _given_up.add(run_dir)
    rank_zero_warn(f"W&B failed ({one_line(error, 240)}); {run_dir} is logged without it, in {run_dir / 'csv'}")


def build_loggers(
    config: WandbConfig, run_dir: Path, resolved: dict[str, Any], *, rank_zero: bool, stage: str
) -> list[Logger]:
    """Builds a CSV logger for ``RUN_DIR/csv/STAGE`` on every rank and a W&B logger on rank zero.

    A resumed stage writes to ``STAGE-2``, since Lightning would delete the earlier curves.
    """
    loggers: list[Logger] = [CSVLogger(run_dir / "csv", name=None, version=_unused_folder(run_dir / "csv", stage))]
    if run_dir in _given_up:
        return loggers
    board = start_wandb(config, run_dir, resolved) if rank_zero and wandb.run is None else None
    if board is None and wandb.run is not None:
        board = Board(wandb.run, run_dir)
    return loggers + ([board] if board is not None else [])


def _unused_folder(folder: Path, stage: str) -> str:
    """Returns ``stage``, or ``stage-2``, ``stage-3``, … where an earlier start of the run left its curves."""
    names = [stage, *(f"{stage}-{start}" for start in range(2, len(list(folder.glob(f"{stage}*"))) + 2))]
    return next(name for name in names if not (folder / name).exists())
