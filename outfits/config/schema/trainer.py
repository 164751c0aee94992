"""Keys of Lightning's trainer and of Weights & Biases."""

from dataclasses import dataclass
from typing import Any

from outfits.config.fields import key


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _devices(value: Any) -> Any:
    if isinstance(value, list):
        if not value or not all(_is_whole(part, 0) for part in value) or len(set(value)) < len(value):
            raise ValueError(f"{value} is not a list of different device ids")
    elif not (value == "auto" or _is_whole(value, 1) or (str(value).isdecimal() and int(value) >= 1)):
        raise ValueError(
            f"{value!r} is neither a number of devices >= 1, nor a list of device ids as in [0,1], nor auto"
        )
    return value


def _limit(value: Any) -> Any:
    if not (_is_whole(value, 1) or (isinstance(value, float) and 0 < value <= 1)):
        raise ValueError(f"{value!r} is neither a share (0 < share <= 1.0) nor a number of batches >= 1")
    return value


@dataclass
class TrainerConfig:
    accelerator: str = key("auto", "cpu, gpu, mps or auto", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    devices: Any = key("auto", "number of devices, a list of device ids, or auto", check=_devices)
    num_nodes: int = key(1, "number of nodes", ge=1)
    strategy: str = key("auto", "auto, ddp or another of Lightning's strategy names")
    threads: int | None = key(
        None,
        "CPU threads of a process; null: one per core. OMP_NUM_THREADS decides where it is set",
        ge=1,
    )
    precision: str = key(
        "32-true",
        "Lightning's precision name for training",
        choices=("32-true", "16-mixed", "bf16-mixed"),
    )
    max_epochs: int = key(30, "epochs of generator or representation training", ge=1)
    gradient_clip_val: float = key(1.0, "largest gradient norm; 0 does not clip", ge=0)
    accumulate_grad_batches: int = key(1, "batches per optimiser step", ge=1)
    check_val_every_n_epoch: int = key(1, "epochs between validations", ge=1)
    log_every_n_steps: int = key(10, "optimiser steps between logged training metrics", ge=1)
    limit_train_batches: Any = key(1.0, "share (float) or number (int) of training batches per epoch", check=_limit)
    limit_val_batches: Any = key(1.0, "share (float) or number (int) of validation batches", check=_limit)
    deterministic: bool = key(False, "let torch refuse nondeterministic kernels")
    fast_dev_run: bool = key(
        False, "one batch of every training stage: does it run at all? No other run takes its models for trained ones"
    )
    enable_progress_bar: bool = key(True, "show progress bars")
    timeout_minutes: int = key(240, "process-group timeout, minutes", ge=1)


# what a word of ours or of W&B's WANDB_MODE means
WANDB_MODES = {
    "auto": "auto",
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "off": "off",
    "disabled": "off",
}


@dataclass
class WandbConfig:
    mode: str = key(
        "auto",
        "auto: online with a key, offline without; off writes CSV only; or W&B's words for these",
        choices=WANDB_MODES,
    )
    project: str = key("outfits", "W&B project")
    entity: str | None = key(None, "W&B team or user")
    name: str | None = key(None, "W&B run name; null: the run folder's name")
    tags: list[str] = key([], "W&B tags")
