"""Stage ``targets``: what greedy search under the frozen S selects for training and validation outfits."""

from dataclasses import dataclass

from lightning_modules.sharded import run_shards
from lightning_modules.stages.run import Run, content_key
from lightning_modules.trainer import wait_for_all_ranks
from outfits.completion.mining import TargetMining
from outfits.completion.targets import Targets, TargetStore
from outfits.completion.tasks import make_tasks
from outfits.data.dataset import OutfitDataset
from outfits.models.frozen import FrozenScorer


@dataclass(frozen=True)
class MinedTargets:
    """Targets of the training and of the validation split."""

    train: Targets
    valid: Targets


def mine_targets(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> MinedTargets:
    """Mines what is not mined yet, on every device of the trainer.

    Raises:
        ArtifactError: if targets are missing and the stage was not asked for.
        DataError: if a split is empty or no outfit is large enough.
    """
    config = run.config.targets
    return MinedTargets(
        _mine_split(run, dataset, scorer, "train", config.removals, config.train_outfits),
        _mine_split(run, dataset, scorer, "valid", 1, config.valid_outfits),
    )


def _mine_split(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, split: str, removals: int, limit: int | None
) -> Targets:
    config, catalogue = run.config.targets, dataset.catalogue
    tasks = make_tasks(dataset.outfits.of(split), run.config.model.k, removals, limit, run.config.seed)
    manifest = {
        "scorer_sha256": scorer.sha256,
        "embeddings": catalogue.features.key,
        "categories": content_key(catalogue.categories.tolist()),
        "precision": config.precision,
    }
    key = content_key(manifest, tasks.digest(), config.candidates, config.shard_size)
    store = TargetStore(run.cache / "targets" / f"{split}-{key}", manifest, tasks, config.shard_size, config.candidates)
    missing = len(store.pending())
    wait_for_all_ranks()  # nobody mines before everybody has looked
    if missing:
        run.require("targets", wanted_by="the generator")
        left_out = f"; {tasks.left_out} outfits are too small for k={tasks.k}" if tasks.left_out else ""
        run.say("targets", f"mining {missing} of {store.shards} shards, {len(tasks):,} {split} tasks{left_out}")
        run_shards(TargetMining(store, scorer.module, catalogue, config), run.config.trainer)
    else:
        run.say("targets", f"reusing {len(tasks):,} {split} targets in {store.folder}")
    return store.load()
