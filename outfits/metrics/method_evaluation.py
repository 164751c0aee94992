"""Every method completes the same outfits; S and the judge score what it chose."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.completion import MethodOutcome, concatenated
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall
from outfits.data.category_rule import keeps_outfit
from outfits.mining.search import conditions_have_texts
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer
from outfits.shards import ShardStore

PROTOCOL = 3  # part of every shard's key: raise it when what a method does, how it is scored or stored changes


class MethodExperiment:
    """One method on every task, as work in shards; a finished shard survives a kill.

    Args:
        call: the method with its options.
        tasks: what is completed.
        context: models, index and catalogue; put on each rank's device.
        folder: where this method's shards go; of this method, these tasks and these models alone.
        shard_size: tasks per shard.
    """

    def __init__(
        self, call: MethodCall, tasks: CompletionTasks, context: MethodContext, folder: Path, shard_size: int
    ) -> None:
        self.call = call
        self.tasks = tasks
        self.context = context
        self.store = ShardStore(folder, len(tasks), shard_size, call.text, counted="scores")

    def start(self, device: torch.device) -> Callable[[int], None]:
        """Puts models and index on the device; see :data:`outfits.shards.ShardWork`."""
        self.context.to(device)
        return self.run

    def run(self, shard: int) -> None:
        """Completes and scores one shard and writes it."""
        self.store.write(shard, self._evaluated(self.tasks.take(self.store.rows_of(shard))).arrays())

    def collect(self) -> MethodOutcome:
        """All shards joined in task order.

        Raises:
            ArtifactError: if a shard is missing.
        """
        arrays: dict[str, Any] = concatenated(self.store.read_all())
        return MethodOutcome(self.tasks, **arrays)

    def _evaluated(self, tasks: CompletionTasks) -> MethodOutcome:
        """What the method does with some tasks, scored.

        Raises:
            ValueError: if a chosen item is of a category that its condition does not allow.
        """
        context = self.context
        outcome = complete(self.call, tasks, context)
        categories, conditions = context.scorer.categories, tasks.conditions
        if conditions is not None:
            chosen = categories[outcome.chosen][..., None]  # [b, k, 1]
            if not np.take_along_axis(conditions.allowed, chosen, axis=2).all():
                raise ValueError(f"{self.call.text} chooses an item of a category that its condition does not allow")
        similarity = None
        # by the conditions of all tasks, so that no shard has a field that others lack
        if conditions_have_texts(self.tasks) and context.similarity is not None:
            similarity = condition_similarity(tasks, outcome.chosen, context.similarity)
        sets = outcome.sets()
        return replace(
            outcome,
            tasks=tasks,
            scores=_scores(context.scorer, sets),
            judge=None if context.judge is None else _scores(context.judge, sets),
            valid=keeps_outfit(tasks.given, outcome.chosen, categories),
            similarity=similarity,
        )


def _scores(scorer: CandidateScorer, sets: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = expit(scorer.ragged_logits(sets).double().cpu().numpy())
    return scores


def condition_similarity(
    tasks: CompletionTasks, chosen: NDArray[np.int64], similarity: TextSimilarity
) -> NDArray[np.float64]:
    r""":math:`\sum_i S_X(X_i, \hat T_i)` over the non-empty texts of conditions of each task, shape ``[B]``.

    Args:
        tasks: ``B`` tasks with conditions.
        chosen: catalogue positions in the order of the conditions, shape ``[B, k]``.
        similarity: similarity of the catalogue to texts.

    Raises:
        ValueError: if the tasks have no conditions.
    """
    if tasks.conditions is None:
        raise ValueError("these tasks have no conditions")
    every = np.arange(tasks.k)
    rows = [
        similarity(texts)[every, items].astype(np.float64).sum()
        for texts, items in zip(tasks.conditions.texts, chosen, strict=True)
    ]
    return np.array(rows)
