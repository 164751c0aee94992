"""Stage ``targets``: what greedy search under the frozen S selects for training and validation outfits."""

from dataclasses import dataclass, field

from lightning_modules.sharded import run_shards
from lightning_modules.stages.run import Run, content_key
from lightning_modules.trainer import wait_for_all_ranks
from outfits.completion.mining import TargetMining, wish_tasks
from outfits.completion.targets import Targets, TargetStore
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.data.dataset import OutfitDataset
from outfits.models.frozen import FrozenScorer


@dataclass(frozen=True)
class MinedTargets:
    """Targets of the training and of the validation split.

    Attributes:
        train: training tasks without wishes, ``model.k_max`` selections each.
        valid: validation tasks without wishes, ``model.k`` selections each.
        wishes: training tasks with wishes by kind of wish, ``model.k`` selections each.
    """

    train: Targets
    valid: Targets
    wishes: dict[str, Targets] = field(default_factory=dict)


def mine_targets(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> MinedTargets:
    """Mines what is not mined yet, on every device of the trainer.

    Raises:
        ArtifactError: if targets are missing and the stage was not asked for.
        DataError: if a split is empty or no outfit is large enough.
    """
    config, k = run.config.targets, run.config.model.k
    train = make_tasks(dataset.outfits.of("train"), k, config.removals, config.train_outfits, run.config.seed)
    valid = make_tasks(dataset.outfits.of("valid"), k, 1, config.valid_outfits, run.config.seed)
    free = _mine(run, dataset, scorer, "train", train.asking_for(run.config.model.k_max))
    wishes = {}
    for kind in config.wishes:
        if "texts" in kind and not dataset.catalogue.features.text_dim:
            run.say("targets", f"no {kind} wishes: there is no text encoder")
            continue
        tasks = wish_tasks(train, kind, dataset.catalogue, config.alpha)
        if len(tasks) < len(train):
            left_out = f"{len(train) - len(tasks):,} of {len(train):,} train tasks have none that can be fulfilled"
            run.say("targets", f"{kind} wishes: {left_out}")
        if len(tasks):
            wishes[kind] = _mine(run, dataset, scorer, f"train-{kind}", tasks)
    return MinedTargets(free, _mine(run, dataset, scorer, "valid", valid), wishes)


def _mine(run: Run, dataset: OutfitDataset, scorer: FrozenScorer, name: str, tasks: CompletionTasks) -> Targets:
    config, catalogue = run.config.targets, dataset.catalogue
    manifest = {
        "scorer_sha256": scorer.sha256,
        "embeddings": catalogue.features.key,
        "categories": content_key(catalogue.categories.tolist()),
        "precision": config.precision,
    }
    key = content_key(manifest, tasks.digest(), config.candidates, config.shard_size)
    store = TargetStore(run.cache / "targets" / f"{name}-{key}", manifest, tasks, config.shard_size, config.candidates)
    missing = len(store.pending())
    wait_for_all_ranks()  # nobody mines before everybody has looked
    if missing:
        run.require("targets", wanted_by="the generator")
        left_out = f"; {tasks.left_out} outfits are too small for k={tasks.removed.shape[1]}" if tasks.left_out else ""
        run.say("targets", f"mining {missing} of {store.shards} shards, {len(tasks):,} {name} tasks{left_out}")
        run_shards(TargetMining(store, scorer.module, catalogue, config), run.config.trainer)
    else:
        run.say("targets", f"reusing {len(tasks):,} {name} targets in {store.folder}")
    return store.load()
