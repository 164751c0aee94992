"""Makes what lies in the cache that runs share: one run makes it, others that want it meanwhile wait."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import lightning as L
from filelock import FileLock, Timeout

from datamodules.base import OutfitLoaders
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.trainer import before_writing, is_rank_zero, on_rank_zero
from outfits import run_files
from pipeline.run import Run

WAIT = 30.0  # seconds


class TrainingLength(Protocol):
    """A section with the number of epochs, and of validations without a better one after which training stops."""

    epochs: int
    patience: int


@contextmanager
def alone_at(run: Run, folder: Path, stage: str) -> Iterator[None]:
    """Keeps other runs, on all machines that share the folder, from working on it; waits for one that does.

    What it still lacks is to be found out afterwards. The lock of a process that dies is free; the lock's file stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))

    def ours(seconds: float) -> bool:
        if not is_rank_zero():  # ranks that have not joined yet work under the lock of the one that starts them
            return True
        with suppress(Timeout):
            lock.acquire(timeout=seconds)
        return bool(lock.is_locked)

    # in short turns: the other ranks do not stand at one barrier for hours, at which they would give up
    if not before_writing(lambda: ours(0)):
        run.log(stage, f"another run works on {folder}; this one waits for it")
        while not before_writing(lambda: ours(WAIT)):
            pass
    try:
        yield
    finally:
        lock.release()


@contextmanager
def to_be_made(run: Run, path: Path, stage: str, what: str) -> Iterator[bool]:
    """Yields whether ``what``, a file of the cache, has still to be made; if so, no other run makes it meanwhile."""
    reusing = f"reusing {what} in {path.parent}"
    if before_writing(path.exists):
        run.log(stage, reusing)
        yield False
        return
    with alone_at(run, path.parent, stage):
        found = before_writing(path.exists)
        if found:
            run.log(stage, reusing)
        yield not found


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

    Belongs into :func:`to_be_made`.

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
