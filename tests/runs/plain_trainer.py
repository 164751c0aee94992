"""Validates and trains S for an epoch under a plain ``L.Trainer``: ``plain_trainer.py FILE RANKS key=value …``.

Rank zero writes the validation metrics and the number of outfits that all ranks trained on to FILE as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch

from datamodules import CompatibilityDataModule
from lightning_modules import CompatibilityModule
from outfits.config.load import load_config
from outfits.data.load import load_dataset
from outfits.encoders import embed


class CountOutfits(L.Callback):
    """Counts the outfits of this rank's training batches."""

    trained = 0

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *_: Any) -> None:
        self.trained += len(batch.sets)


def main(file: str, ranks: int, arguments: list[str]) -> None:
    """One validation, one epoch of training."""
    config = load_config(arguments)
    dataset = embed(load_dataset(config.data), config.encoder)
    L.seed_everything(0)
    module = CompatibilityModule(dataset.catalogue, config.scorer)
    data, count = CompatibilityDataModule(dataset, config.scorer), CountOutfits()
    trainer = L.Trainer(
        accelerator="cpu", devices=ranks, max_epochs=1, callbacks=[count], logger=False, enable_checkpointing=False
    )
    (metrics,) = trainer.validate(module, data)
    trainer.fit(module, data)
    trained = int(trainer.strategy.reduce(torch.tensor(count.trained), reduce_op="sum"))
    if trainer.is_global_zero:
        Path(file).write_text(json.dumps({"world_size": trainer.world_size, "trained": trained, "metrics": metrics}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
