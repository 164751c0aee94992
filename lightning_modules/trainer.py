"""Trainers as the configuration describes them, and what several processes of one run must agree on."""

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
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy

from outfits.config.schema.trainer import TrainerConfig

T = TypeVar("T")

NOT_LIGHTNINGS = ("threads", "timeout_minutes")

# Every stage makes trainers; which hardware each one found, and advertisements, would bury what the stages say.
logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
logging.getLogger("lightning.pytorch.accelerators").setLevel(logging.WARNING)
# Lightning's own use of torch, its advice on loader workers (ours are configured), and short epochs of small sets.
for message in (
    ".*isinstance.treespec, LeafSpec.*",
    ".*predict returned None.*",
    ".*recommended to use .self.log.*sync_dist.*",
    ".*Checkpoint directory .* exists.*",
    ".*does not have many workers.*",
    ".*number of training batches.*",
):
    warnings.filterwarnings("ignore", message=message)


class CheckpointsInOnePiece(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning writes it to the temporary folder of the system first; moved from there to another file system, it can
    be cut in half by a kill.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """A kill at any moment leaves the whole new file or the whole old one."""
        unfinished = f"{path}.{os.getpid()}.tmp"
        super().save_checkpoint(checkpoint, unfinished, storage_options)
        os.replace(unfinished, path)


def build_trainer(
    config: TrainerConfig, *, loggers: Sequence[Logger] = (), callbacks: Sequence[Callback] = (), **changes: Any
) -> L.Trainer:
    """A Lightning trainer; samplers are the data modules' own business, so Lightning replaces none.

    Args:
        config: Lightning's own names.
        loggers: where metrics go.
        callbacks: checkpoints, early stopping, evaluation.
        changes: what a stage sets differently, for example ``max_epochs``.
    """
    options = {name: value for name, value in asdict(config).items() if name not in NOT_LIGHTNINGS}
    options["gradient_clip_val"] = options["gradient_clip_val"] or None
    if isinstance(options["devices"], str) and options["devices"].isdigit():
        options["devices"] = int(options["devices"])
    if config.strategy == "ddp" or (config.strategy == "auto" and _auto_is_ddp(options)):
        # the generator's buffers are the catalogue, equal on all ranks: broadcasting them at every step is waste
        timeout = timedelta(minutes=config.timeout_minutes)
        options["strategy"] = DDPStrategy(timeout=timeout, broadcast_buffers=False)
    return L.Trainer(
        **{**options, **changes},
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        plugins=[CheckpointsInOnePiece()],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def _auto_is_ddp(options: dict[str, Any]) -> bool:
    places = {name: options[name] for name in ("accelerator", "devices", "num_nodes")}
    idle = L.Trainer(**places, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return isinstance(idle.strategy, DDPStrategy)


def is_rank_zero() -> bool:
    """Whether this process writes what all ranks share; true before any other rank exists."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0")))) == 0


def wait_for_all_ranks() -> None:
    """Barrier over all ranks; nothing to do in a single process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def before_writing(look: Callable[[], T]) -> T:
    """What a look at files finds on this rank; no rank goes on, and writes, before all have looked."""
    found = look()
    wait_for_all_ranks()
    return found


def on_rank_zero(write: Callable[[], object]) -> None:
    """Calls ``write`` on rank zero alone, while the others wait."""
    if is_rank_zero():
        write()
    wait_for_all_ranks()
