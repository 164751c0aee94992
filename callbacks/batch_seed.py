"""Seeds batches, so that a resumed run draws the same random numbers as an uninterrupted one."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class BatchSeed(Callback):
    """Seeds torch from (seed, epoch, batch, rank) at every training batch's start.

    Checkpoints hold no generator states, so dropout after a resume would differ from that of an uninterrupted run. An
    epoch's start is too late: Lightning skips that hook in the first epoch after a resume.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds this rank's generators."""
        place = [self.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))
