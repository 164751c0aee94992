"""Trains a model whose product lies in the cache that runs share."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import lightning as L

from datamodules.base import OutfitLoaders
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.trainer import on_rank_zero
from outfits import run_files
from pipeline.run import Run


class TrainingLength(Protocol):
    """A section with the number of epochs, and of validations without a better one after which training stops."""

    epochs: int
    patience: int


def fit_into_cache(
    run: Run,
    folder: Path,
    name: str,
    metric: str,
    config: TrainingLength,
    build: Callable[[], L.LightningModule],
    data: OutfitLoaders,
    save: Callable[[Any], object],
) -> None:
    """Trains a module, from its last checkpoint if there is one, and saves the model of its best epoch.

    Args:
        run: the run that trains it.
        folder: folder of the cache for product and checkpoints; these are removed once the product is saved.
        name: prefix of its logged metrics.
        metric: which of them, in validation, tells the best epoch; more is better, behind a minus sign less.
        config: length of the training.
        build: makes the module, which has a ``model``.
        data: its data module, whose seed is also that of the training.
        save: writes the model into ``folder``, on rank zero alone.
    """
    watched, mode = f"{name}/valid_{metric.removeprefix('-')}", "min" if metric.startswith("-") else "max"
    checkpoints = Checkpoints(folder / run_files.CHECKPOINTS, watched, mode, config.patience)
    module = fit_resumable(
        build,
        data,
        run.config.trainer,
        checkpoints,
        seed=data.seed,
        loggers=run.loggers(name),
        max_epochs=config.epochs,
        check_val_every_n_epoch=1,
    )

    def export() -> None:
        save(module.model)
        shutil.rmtree(checkpoints.folder, ignore_errors=True)

    on_rank_zero(export)
