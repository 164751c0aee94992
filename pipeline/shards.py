"""Computes shards by the configured engine: on the trainer's devices, or on a Ray cluster."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch.utils.data import Dataset

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import on_rank_zero
from outfits.shards import ShardStore, ShardWork
from pipeline.run import Run


def compute_shards(
    run: Run,
    stage: str,
    store: ShardStore,
    missing: Sequence[int],
    work: ShardWork,
    inputs: Dataset[Any] | None = None,
    together: bool = False,
) -> None:
    """Computes the missing shards of a store and returns when all of them are there.

    All ranks pass the same ``missing``: what :func:`lightning_modules.trainer.before_writing` found.

    Args:
        run: whose engine, trainer and cluster compute.
        stage: what to name in the log.
        store: where the shards belong.
        missing: their numbers.
        work: the work, which writes to the store.
        inputs: input of shard ``s`` at position ``s``; None: the shard's number.
        together: whether all ranks compute every shard together, each with a share of the catalogue.

    Raises:
        ArtifactError: if workers of a cluster die again and again.
        ConfigError: if the engine is not installed, or there is no such cluster.
    """
    config = run.config
    if config.engine == "lightning":
        run_shards(missing, work, config.trainer, inputs, config.encoder.num_workers if inputs else 0, together)
        return
    # of several ranks the first one speaks to the cluster
    log = partial(run.log, stage)
    on_rank_zero(lambda: run.ray_engine.run(store, missing, work, inputs, together=together, log=log))
