"""Builds AdamW with a linear warm-up for every LightningModule."""

import math
from collections.abc import Iterable
from typing import Protocol

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn


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


def adamw_with_warmup(
    module: L.LightningModule,
    config: TrainingSchedule,
    schedule: str,
    *,
    slow: Iterable[nn.Parameter] = (),
    factor: float = 1.0,
) -> OptimizerLRSchedulerConfig:
    """Builds Lightning's optimiser configuration; matrices decay, vectors (biases, norms, learned tokens) do not.

    The module is attached to its trainer; ``schedule`` is ``cosine`` or ``constant`` after the warm-up. Parameters in
    ``slow`` learn at ``factor`` times the rate.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    total_steps = int(module.trainer.estimated_stepping_batches)
    slowly = {id(parameter) for parameter in slow}
    groups = [
        {
            "params": [p for p in trained if (p.ndim >= 2) == matrices and (id(p) in slowly) == is_slow],
            "weight_decay": config.weight_decay if matrices else 0.0,
            "lr": config.lr * (factor if is_slow else 1.0),
        }
        for is_slow in ((False, True) if slowly else (False,))
        for matrices in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr)
    warmup_steps = round(config.warmup * total_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_then(schedule, warmup_steps, total_steps, step)
    )
    return OptimizerLRSchedulerConfig(optimizer=optimizer, lr_scheduler={"scheduler": scheduler, "interval": "step"})
