"""Runs long work without training on every device: embedding a catalogue, mining targets, evaluating methods."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.utils.data import DataLoader, Dataset, Subset

from lightning_modules.trainer import build_trainer, wait_for_all_ranks
from outfits.config.schema.trainer import TrainerConfig
from outfits.shards import ShardWork


def _as_it_is(batch: Any) -> Any:
    return batch


class ShardedPrediction(L.LightningModule):
    """Runs work in shards under ``Trainer.predict``.

    Shard s goes to rank s modulo the number of ranks; a restart on another number of ranks computes what is missing.

    Args:
        pending: shards to compute.
        work: the work.
        inputs: input of shard ``s`` at position ``s``, made in the loader's processes; None: the shard's number.
        num_workers: loader processes per rank.
        together: whether all ranks compute every shard together, in the same order, each its share of the catalogue.
    """

    def __init__(
        self,
        pending: Sequence[int],
        work: ShardWork,
        inputs: Dataset[Any] | None = None,
        num_workers: int = 0,
        together: bool = False,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a rank may have no shard left
        self.pending = pending
        self.work = work
        self.inputs = inputs
        self.num_workers = num_workers
        self.together = together

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loads this rank's shards."""
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        share = [shard for shard in self.pending if self.together or shard % ranks == rank]
        dataset: Any = share if self.inputs is None else Subset(self.inputs, share)
        return DataLoader(dataset, batch_size=None, num_workers=self.num_workers, collate_fn=_as_it_is)

    def on_predict_start(self) -> None:
        """Moves the work's models to this rank's device."""
        self.compute = self.work(self.device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leaves inputs where they are: the work itself moves images and numbers."""
        return batch

    def predict_step(self, batch: Any, batch_index: int) -> None:
        """Computes one shard."""
        self.compute(batch)


def run_shards(
    pending: Sequence[int],
    work: ShardWork,
    config: TrainerConfig,
    inputs: Dataset[Any] | None = None,
    num_workers: int = 0,
    together: bool = False,
) -> None:
    """Computes shards on the trainer's devices and waits until every rank is done, see :class:`ShardedPrediction`.

    All ranks pass the same ``pending``: what :func:`lightning_modules.trainer.before_writing` found.
    """
    module = ShardedPrediction(pending, work, inputs, num_workers, together)
    # trainer.precision is for training; its autocast would change results without changing the shards' keys.
    build_trainer(config, fast_dev_run=False, precision="32-true").predict(module, return_predictions=False)
    wait_for_all_ranks()


def join_ranks(config: TrainerConfig) -> None:
    """Joins the ranks that torchrun or SLURM has started, which do not wait for each other before they are joined.

    Ranks that Lightning starts join where it starts them.
    """
    launched = TorchElasticEnvironment.detect() or SLURMEnvironment.detect()
    if launched and build_trainer(config).world_size > 1:
        run_once(lambda device: None, config)


def run_once(make: Callable[[torch.device], object], config: TrainerConfig) -> None:
    """Makes what cannot be divided on the device of one rank, while the others wait."""
    run_shards([0], lambda device: lambda _: make(device), config)
