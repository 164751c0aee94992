"""Randomness that a resumed run shares with an uninterrupted one."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback


class EpochSeed(Callback):
    """Seeds torch from (seed, epoch, rank) at every epoch's start.

    Checkpoints hold no generator states, so dropout after a resume would differ from that of an uninterrupted run.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seeds this rank's generators."""
        epochs_apart, ranks_apart = 1_000_003, 7_919
        torch.manual_seed(self.seed + epochs_apart * (trainer.current_epoch + 1) + ranks_apart * trainer.global_rank)
