"""AdamW with a linear warm-up, as every trained module here uses it."""

import math
from collections.abc import Iterable

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn


def warmup_then(schedule: str, warmup_steps: int, total_steps: int, step: int) -> float:
    """Factor on the peak learning rate at an optimiser step: linear rise, then constant or a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def adamw_with_warmup(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    warmup: float,
    schedule: str,
    total_steps: int,
) -> OptimizerLRSchedulerConfig:
    """Lightning's optimiser configuration; matrices decay, vectors (biases, norms, learned tokens) do not.

    Args:
        parameters: what is trained.
        lr: peak learning rate.
        weight_decay: decay of matrices.
        warmup: share of ``total_steps`` with rising learning rate.
        schedule: ``cosine`` or ``constant`` after the warm-up.
        total_steps: optimiser steps of the whole training.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    warmup_steps = round(warmup * total_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_then(schedule, warmup_steps, total_steps, step)
    )
    return OptimizerLRSchedulerConfig(optimizer=optimizer, lr_scheduler={"scheduler": scheduler, "interval": "step"})
