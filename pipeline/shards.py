"""Computes shards by the configured engine: on the trainer's devices, or on a Ray cluster."""

from functools import partial
from typing import Any

from torch.utils.data import Dataset

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits.shards import ShardStore, ShardWork
from pipeline.cached import alone_at
from pipeline.run import Run


def compute_shards(
    run: Run,
    stage: str,
    store: ShardStore,
    work: ShardWork,
    inputs: Dataset[Any] | None = None,
    together: bool = False,
) -> None:
    """Computes the missing shards of a store and returns when all of them are there.

    Those that another run makes meanwhile are waited for.

    Args:
        run: whose engine, trainer and cluster compute.
        stage: what to name in the log.
        store: where the shards belong.
        work: the work, which writes to the store.
        inputs: input of shard ``s`` at position ``s``; None: the shard's number.
        together: whether all ranks compute every shard together, each with a share of the catalogue.

    Raises:
        ArtifactError: if workers of a cluster die again and again.
        ConfigError: if the engine is not installed, or there is no such cluster.
    """
    config = run.config
    with alone_at(run, store.folder, stage):
        missing = before_writing(store.pending)
        if not missing:
            return
        if config.engine == "lightning":
            run_shards(missing, work, config.trainer, inputs, config.encoder.num_workers if inputs else 0, together)
            return
        # of several ranks the first one speaks to the cluster
        log = partial(run.log, stage)
        on_rank_zero(lambda: run.ray_engine.run(store, missing, work, inputs, together=together, log=log))
