"""Mined tasks without and with conditions, and the targets of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from outfits.completion.completion import SearchTrace
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.mining.search import Miner, condition_tasks
from outfits.mining.targets import Targets
from outfits.models.compatibility import OutfitTransformer

FREE = "train"
"""Name of the training tasks without conditions; those with conditions are named ``train-KIND``."""


@dataclass(frozen=True)
class MinedTargets:
    """Targets of the training and of the validation split.

    Attributes:
        train: training tasks without conditions, ``k_max`` selections each.
        valid: validation tasks without conditions, ``k`` selections each.
        conditions: training tasks with conditions by kind of condition, ``k`` selections each.
    """

    train: Targets
    valid: Targets
    conditions: Mapping[str, Targets] = field(default_factory=dict)

    @classmethod
    def of(cls, train: Mapping[str, Targets], valid: Targets) -> "MinedTargets":
        """Groups the targets of all :func:`training_kinds` by name, with those of the validation tasks."""
        conditions = {name.removeprefix(f"{FREE}-"): part for name, part in train.items() if name != FREE}
        return cls(train[FREE], valid, conditions)

    @property
    def parts(self) -> list[Targets]:
        """All training targets, those without conditions first."""
        return [self.train, *self.conditions.values()]

    @property
    def k_max(self) -> int:
        """Largest number of missing items with targets."""
        return self.train.tasks.k


def training_tasks(dataset: OutfitDataset, k: int, config: TargetsConfig, seed: int) -> CompletionTasks:
    """The training tasks that are mined, with ``k`` items removed."""
    return make_tasks(dataset.outfits.of("train"), k, config.removals, config.train_outfits, seed)


def validation_tasks(dataset: OutfitDataset, k: int, config: TargetsConfig, seed: int) -> CompletionTasks:
    """The validation tasks that are mined, with ``k`` items removed."""
    return make_tasks(dataset.outfits.of("valid"), k, 1, config.valid_outfits, seed)


def training_kinds(
    tasks: CompletionTasks,
    k_max: int,
    catalogue: Catalogue,
    config: TargetsConfig,
    log: Callable[[str], object] = lambda line: None,
) -> dict[str, CompletionTasks]:
    """Training tasks by name: without conditions and for ``k_max`` items, and the fulfillable ones of each kind."""
    kinds = {FREE: tasks.asking_for(k_max)}
    for kind in config.conditions:
        conditioned = fulfillable(tasks, kind, catalogue, config.alpha, log)
        if conditioned is not None:
            kinds[f"{FREE}-{kind}"] = conditioned
    return kinds


def fulfillable(
    tasks: CompletionTasks, kind: str, catalogue: Catalogue, alpha: float, log: Callable[[str], object]
) -> CompletionTasks | None:
    """The tasks whose removed items' categories or texts, by ``kind``, can be fulfilled as conditions; logs the others.

    None if there are none, or ``kind`` needs texts and there is no text encoder.
    """
    if "texts" in kind and not catalogue.require_embeddings.text_dim:
        log(f"no text encoder (encoder.text=none): conditions of kind {kind} are left out")
        return None
    found = condition_tasks(tasks, kind, catalogue, alpha)
    if len(found) < len(tasks):
        left_out = f"{len(tasks) - len(found):,} of {len(tasks):,} tasks have none that can be fulfilled"
        log(f"{kind} conditions: {left_out}")
    return found if len(found) else None


def mine(
    dataset: OutfitDataset,
    scorer: OutfitTransformer,
    *,
    k: int,
    k_max: int,
    config: TargetsConfig | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> MinedTargets:
    """Mines all targets of a generator exactly, in this process and in memory.

    Args:
        dataset: data set with embeddings.
        scorer: frozen S in evaluation mode.
        k: number of items removed from an outfit.
        k_max: largest number of missing items of the generator.
        config: number of outfits, conditions, and arithmetic of S; None: the defaults.
        seed: seed of the outfits and of the items removed from them.
        device: where S runs.

    Raises:
        DataError: if a split is empty or no outfit is large enough.
        ValueError: if the scorer is in training mode, or the configuration asks for two-stage search.
    """
    search, catalogue = TargetsConfig() if config is None else config, dataset.catalogue
    if search.search != "exact":
        raise ValueError(f"targets are mined exactly here; search={search.search} needs a student and an audit")

    def targets(tasks: CompletionTasks) -> Targets:
        miner = Miner(scorer, catalogue, search, torch.device(device), steps=len(tasks) * tasks.k)
        shards = np.split(np.arange(len(tasks)), np.arange(search.shard_size, len(tasks), search.shard_size))
        return Targets(tasks, SearchTrace.concatenate([miner.mine(tasks.take(rows)) for rows in shards]))

    kinds = training_kinds(training_tasks(dataset, k, search, seed), k_max, catalogue, search)
    valid = targets(validation_tasks(dataset, k, search, seed))
    return MinedTargets.of({name: targets(tasks) for name, tasks in kinds.items()}, valid)
