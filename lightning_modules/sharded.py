"""Long work without training, in shards: embedding a catalogue, mining targets, evaluating methods."""

from collections.abc import Sequence
from typing import Any, Protocol

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_modules.trainer import build_trainer, wait_for_all_ranks
from outfits.config.schema.trainer import TrainerConfig


class ShardedWork(Protocol):
    """Work that is cut into shards with an atomic file each, so that a kill loses at most the shards under way.

    A shard is the same piece of work whatever the number of ranks: results do not depend on it.
    """

    shards: int
    """Number of shards in all."""

    @property
    def inputs(self) -> Dataset[Any]:
        """Input of shard ``s`` at position ``s``, made in the loader's worker processes."""
        ...

    def pending(self) -> list[int]:
        """Shards whose file is not there or not sound."""
        ...

    def to(self, device: torch.device) -> object:
        """Moves models to the device that this rank was given."""
        ...

    def run(self, batch: Any) -> None:
        """Computes one shard from its input and writes its file."""
        ...


class _Chosen(Dataset[Any]):
    def __init__(self, inputs: Dataset[Any], shards: Sequence[int]) -> None:
        self.inputs = inputs
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> Any:
        return self.inputs[self.shards[index]]


def _as_it_is(batch: Any) -> Any:
    return batch


class ShardedPrediction(L.LightningModule):
    """Runs :class:`ShardedWork` under ``Trainer.predict`` on every device of the trainer.

    Shards are dealt to the ranks in turn (rank, rank + world, …) and finished ones are left out, so a restart on
    another number of ranks computes what is missing and nothing else.

    Args:
        work: the work.
        num_workers: loader processes per rank.
    """

    def __init__(self, work: ShardedWork, num_workers: int = 0) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a rank may have no shard left
        self.work = work
        self.num_workers = num_workers

    def predict_dataloader(self) -> DataLoader[Any]:
        """This rank's unfinished shards."""
        pending = set(self.work.pending())
        share = [s for s in range(self.trainer.global_rank, self.work.shards, self.trainer.world_size) if s in pending]
        return DataLoader(
            _Chosen(self.work.inputs, share), batch_size=None, num_workers=self.num_workers, collate_fn=_as_it_is
        )

    def on_predict_start(self) -> None:
        """Moves the work's models to this rank's device."""
        self.work.to(self.device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Inputs stay where they are: images and numbers are moved by the work itself."""
        return batch

    def predict_step(self, batch: Any, batch_index: int) -> None:
        """One shard."""
        self.work.run(batch)


def run_shards(work: ShardedWork, config: TrainerConfig, num_workers: int = 0) -> None:
    """Runs all pending shards on the trainer's devices and waits until every rank is done."""
    module = ShardedPrediction(work, num_workers)
    # trainer.precision is for training; under its autocast results would not be those that the shards are keyed by.
    build_trainer(config, fast_dev_run=False, precision="32-true").predict(module, return_predictions=False)
    wait_for_all_ranks()
