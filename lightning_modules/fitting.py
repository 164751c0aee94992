"""Fits modules to the same bytes whether or not a kill interrupted the training."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.loggers import Logger

from callbacks.batch_seed import BatchSeed
from lightning_modules.trainer import build_trainer, wait_for_all_ranks
from outfits import run_files
from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import ArtifactError, one_line
from outfits.storage import writing

M = TypeVar("M", bound=L.LightningModule)


@dataclass(frozen=True)
class Checkpoints:
    """Says which epochs a training keeps, and when it stops.

    Attributes:
        folder: holds ``best.ckpt``, of the epoch of the best ``monitor``, and ``last.ckpt``, of the last finished one.
        monitor: name of a logged metric.
        mode: ``max`` or ``min``, the better direction of ``monitor``.
        patience: validations without a better one after which training stops; None or 0: never.
    """

    folder: Path
    monitor: str
    mode: str = "max"
    patience: int | None = None

    @property
    def last(self) -> Path | None:
        """The checkpoint to resume from; None where there is none."""
        path = self.folder / run_files.LAST
        return path if path.exists() else None


class MovableCheckpoint(ModelCheckpoint):
    """Keeps the best epoch so far where a training goes on in another place: Lightning would forget which it was."""

    @property
    def state_key(self) -> str:
        """Key of its state in a checkpoint: that of Lightning's own class, which older checkpoints have."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what was kept, as if it had been in this callback's folder."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath})


class LastingStop(EarlyStopping):
    """Stops a training for good: one that goes on after a kill does not start another epoch."""

    @property
    def state_key(self) -> str:
        """Key of its state in a checkpoint: that of Lightning's own class, which older checkpoints have."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops before the first step where training had been stopped."""
        stopped = self.stopping_reason != EarlyStoppingReason.NOT_STOPPED
        trainer.should_stop = trainer.should_stop or stopped


def fit_resumable(
    build: Callable[[], M],
    data: L.LightningDataModule,
    config: TrainerConfig,
    checkpoints: Checkpoints,
    *,
    seed: int,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    **changes: Any,
) -> M:
    """Trains a module, from its last checkpoint if there is one, and loads the weights of its best epoch on every rank.

    ``build`` makes the module once ``seed`` is set, which is that of weights and of randomness within a batch.
    ``changes`` are settings of the trainer that differ from ``config``, for example ``max_epochs``.

    Raises:
        ArtifactError: if the checkpoint is of another network.
    """
    L.seed_everything(seed, verbose=False)
    module = build()
    if checkpoints.last is not None:
        _check_fits(module, checkpoints.last)
    # Two callbacks, since save_last of one writes the last epoch only where it is the best so far.
    folder, monitor, mode = checkpoints.folder, checkpoints.monitor, checkpoints.mode
    best = MovableCheckpoint(folder, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    last = MovableCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    stops = [LastingStop(monitor, mode=mode, patience=checkpoints.patience)] if checkpoints.patience else []
    all_callbacks = [BatchSeed(seed), *callbacks, best, last, *stops]
    unused = getattr(module, "unused_parameters", False)
    trainer = build_trainer(config, loggers=loggers, callbacks=all_callbacks, unused_parameters=unused, **changes)
    with writing(folder):
        trainer.fit(module, data, ckpt_path=checkpoints.last)
    if best.best_model_path:
        try:
            weights = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        except FileNotFoundError:
            text = f"{best.best_model_path} is gone, as where another run trained the same meanwhile; start again"
            raise ArtifactError(f"{text}, or delete {folder} to train anew") from None
        module.load_state_dict(weights)
    wait_for_all_ranks()
    return module


def _check_fits(module: L.LightningModule, checkpoint: Path) -> None:
    """Raises ArtifactError if the weights of a checkpoint are not those of the module in name and shape."""
    way_out = f"restore {run_files.CONFIG} as the run wrote it, or delete {checkpoint.parent} to train again"
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ArtifactError(f"checkpoint {checkpoint} cannot be read ({one_line(error, 120)}); {way_out}") from error
    shapes, saved = ({name: tuple(t.shape) for name, t in part.items()} for part in (module.state_dict(), weights))
    for name in sorted(shapes.keys() | saved.keys()):
        if shapes.get(name) != saved.get(name):
            found, wanted = (f"{part[name]}" if name in part else "nothing" for part in (saved, shapes))
            text = f"checkpoint {checkpoint} is of another network: {name} is {found}, configured is {wanted}"
            raise ArtifactError(f"{text}; {way_out}")
