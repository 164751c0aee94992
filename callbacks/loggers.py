"""Builds loggers: CSV always, W&B where it is available; a run neither fails nor hangs because of W&B."""

import netrc
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from outfits.config.schema.trainer import WandbConfig

SECONDS_TO_START = 30
SECONDS_TO_FINISH = 60


def has_wandb_key() -> bool:
    """Returns whether W&B would find a key, in the environment or the netrc file, without asking for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def start_wandb(config: WandbConfig, run_dir: Path, resolved: dict[str, Any]) -> WandbLogger | None:
    """Starts W&B in the configured mode; an online run that cannot start goes on offline, with a warning.

    Offline files are written under ``run_dir``; ``resolved`` is the whole configuration. Returns None if W&B is off.
    """
    if config.mode == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    can_be_online = has_wandb_key() and os.environ.get("WANDB_MODE") != "offline"
    online = config.mode == "online" or (config.mode == "auto" and can_be_online)
    mode: Literal["online", "offline"] = "online" if online else "offline"
    settings = wandb.Settings(
        init_timeout=SECONDS_TO_START,
        finish_timeout=SECONDS_TO_FINISH,
        finish_timeout_raises=False,
        console="off",
        silent=True,
    )
    options: dict[str, Any] = {
        "project": config.project,
        "entity": config.entity,
        "name": config.name or run_dir.name,
        "tags": config.tags,
        "config": resolved,
        "dir": str(run_dir),
        "settings": settings,
    }
    try:
        run = wandb.init(mode=mode, **options)
    except wandb.errors.Error as error:
        rank_zero_warn(f"W&B cannot be reached ({error}); this run is logged offline under {run_dir / 'wandb'}")
        run = wandb.init(mode="offline", **options)
    return WandbLogger(experiment=run)


def build_loggers(
    config: WandbConfig, run_dir: Path, resolved: dict[str, Any], *, rank_zero: bool, stage: str
) -> list[Logger]:
    """Builds a CSV logger for ``RUN_DIR/csv/STAGE`` on every rank and a W&B logger on rank zero.

    A resumed stage writes to ``STAGE-2``, since Lightning would delete the earlier curves.
    """
    loggers: list[Logger] = [CSVLogger(run_dir / "csv", name=None, version=_unused_folder(run_dir / "csv", stage))]
    board = start_wandb(config, run_dir, resolved) if rank_zero and wandb.run is None else None
    if board is None and wandb.run is not None:
        board = WandbLogger(experiment=wandb.run)
    return loggers + ([board] if board is not None else [])


def _unused_folder(folder: Path, stage: str) -> str:
    """Returns ``stage``, or ``stage-2``, ``stage-3``, … where an earlier start of the run left its curves."""
    names = [stage, *(f"{stage}-{start}" for start in range(2, len(list(folder.glob(f"{stage}*"))) + 2))]
    return next(name for name in names if not (folder / name).exists())
