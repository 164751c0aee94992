"""Builds AdamW with a linear warm-up for every LightningModule."""

import math
from typing import Protocol

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig


class TrainingSchedule(Protocol):
    """A section with a peak learning rate, AdamW's weight decay, and the share of the steps that warm up."""

    lr: float
    weight_decay: float
    warmup: float


def warmup_then(schedule: str, warmup_steps: int, total_steps: int, step: int) -> float:
    """Returns the factor on the peak learning rate at a step: linear rise, then constant or a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def adamw_with_warmup(module: L.LightningModule, config: TrainingSchedule, schedule: str) -> OptimizerLRSchedulerConfig:
    """Builds Lightning's optimiser configuration; matrices decay, vectors (biases, norms, learned tokens) do not.

    The module is attached to its trainer; ``schedule`` is ``cosine`` or ``constant`` after the warm-up.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    total_steps = int(module.trainer.estimated_stepping_batches)
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr)
    warmup_steps = round(config.warmup * total_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_then(schedule, warmup_steps, total_steps, step)
    )
    return OptimizerLRSchedulerConfig(optimizer=optimizer, lr_scheduler={"scheduler": scheduler, "interval": "step"})
