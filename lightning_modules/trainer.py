"""Builds trainers from the configuration, and coordinates the processes of one run."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy

from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import ConfigError, one_line
from outfits.processes import SIGNALS, environment_rank
from outfits.storage import writing

T = TypeVar("T")

NOT_LIGHTNINGS = ("threads", "timeout_minutes")

# Every stage makes trainers, whose notes on hardware and advertisements would hide the stages' messages.
logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
logging.getLogger("lightning.pytorch.accelerators").setLevel(logging.WARNING)
# From Lightning's own use of torch, or about what is configured on purpose.
for message in (
    ".*isinstance.treespec, LeafSpec.*",
    ".*predict returned None.*",
    ".*recommended to use .self.log.*sync_dist.*",
    ".*Checkpoint directory .* exists.*",
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*will save all targets and predictions.*",  # torchmetrics, of rank correlations
):
    warnings.filterwarnings("ignore", message=message)


class CheckpointsInOnePiece(TorchCheckpointIO):
    """Writes a checkpoint under another name in its folder and renames it.

    Lightning writes to the system's temporary folder; a kill during the move to another file system truncates the file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Leaves, when killed at any moment, the whole new file or the whole old one.

        Raises OSError that names ``path`` if the file cannot be written.
        """
        unfinished = Path(f"{path}.{os.getpid()}.tmp")
        try:
            with writing(Path(path)):
                super().save_checkpoint(checkpoint, unfinished, storage_options)
                os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


class StopsAtSignals(Callback):
    """Takes the signals back from the trainer, which would only note a SIGTERM, and shares them with its ranks."""

    def _keep(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        SIGNALS.keep()
        launched = getattr(trainer.strategy.launcher, "procs", [])
        if launched:  # by the first trainer of a program; later ones find its ranks running
            SIGNALS.launchers.append(launched)

    on_fit_start = on_validation_start = on_test_start = on_predict_start = _keep


def build_trainer(
    config: TrainerConfig,
    *,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    unused_parameters: bool = False,
    **changes: Any,
) -> L.Trainer:
    """Builds a Lightning trainer that replaces no sampler, since the data modules share samples among ranks.

    ``unused_parameters`` says that a step may leave out trained parameters, which DDP must look for then. ``changes``
    are settings that differ from ``config``, for example ``max_epochs``.
    """
    options = {name: value for name, value in asdict(config).items() if name not in NOT_LIGHTNINGS} | _places(config)
    options["gradient_clip_val"] = options["gradient_clip_val"] or None
    if config.strategy == "ddp" or (config.strategy == "auto" and _auto_is_ddp(config)):
        # without broadcasts at every step: the generator's buffers are the catalogue, equal on all ranks
        timeout = timedelta(minutes=config.timeout_minutes)
        options["strategy"] = DDPStrategy(
            timeout=timeout, broadcast_buffers=False, find_unused_parameters=unused_parameters
        )
    return L.Trainer(
        **{**options, **changes},
        logger=list(loggers) or False,
        callbacks=[*callbacks, StopsAtSignals()],
        plugins=[CheckpointsInOnePiece()],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def _places(config: TrainerConfig) -> dict[str, Any]:
    """Returns Lightning's arguments for where to compute; it takes a number of devices as an integer only."""
    devices = int(config.devices) if str(config.devices).isdecimal() else config.devices
    return {"accelerator": config.accelerator, "devices": devices, "num_nodes": config.num_nodes}


def _auto_is_ddp(config: TrainerConfig) -> bool:
    return isinstance(_idle_trainer(**_places(config)).strategy, DDPStrategy)


def _idle_trainer(**places: Any) -> L.Trainer:
    return L.Trainer(**places, logger=False, enable_checkpointing=False, enable_progress_bar=False)


def check_hardware(config: TrainerConfig, *, trains: bool) -> None:
    """Asks Lightning for the configured devices before any work is done.

    Args:
        config: settings of the trainer.
        trains: whether training follows, so that ``trainer.precision`` counts.

    Raises:
        ConfigError: naming the first of the keys that this machine, or Lightning, has nothing for.
    """
    wanted = _places(config) | {"strategy": config.strategy}
    places: dict[str, Any] = {"num_nodes": wanted["num_nodes"]}
    for name in ("accelerator", "devices", "strategy"):
        places[name] = wanted[name]
        try:
            device = _idle_trainer(**places).strategy.root_device
        except (MisconfigurationException, RuntimeError, TypeError, ValueError, ImportError) as error:
            reason = one_line(error).partition(". ")[0].rstrip(".")
            text = f"trainer.{name}: {places[name]!r} cannot be had on this machine ({reason}); leave it at auto"
            raise ConfigError([text]) from error
    if trains and config.precision == "16-mixed" and device.type == "cpu":
        text = f"16-mixed needs a GPU, and trainer.accelerator={config.accelerator} finds none"
        raise ConfigError([f"trainer.precision: {text}; set bf16-mixed or 32-true"])


def is_rank_zero() -> bool:
    """Returns whether this process writes what all ranks share; true before any other rank exists."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return environment_rank() == 0


def wait_for_all_ranks() -> None:
    """Waits at a barrier over all ranks; returns at once in a single process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def before_writing(look: Callable[[], T]) -> T:
    """Returns to all ranks what ``look``, which reads files, finds on rank zero; no rank goes on, to write, before.

    All ranks have to go the same way from here, and of two that look for themselves one may do so just before another
    run has written. What is found is pickled; if ``look`` raises, it does so on every rank.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return look()
    told: list[Any] = [False, None]
    try:
        if torch.distributed.get_rank() == 0:
            told = [True, look()]
    finally:
        torch.distributed.broadcast_object_list(told)
    looked, found = told
    return found if looked else look()


def on_rank_zero(write: Callable[[], object]) -> None:
    """Calls ``write`` on rank zero alone, while the others wait."""
    if is_rank_zero():
        write()
    wait_for_all_ranks()
