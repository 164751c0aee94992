"""The experiment of the spec: every method completes the same outfits, S and the judge score what came out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.completion import UNRANKED
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall
from outfits.data.category_rule import keeps_outfit
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer
from outfits.shards import ShardStore

PROTOCOL = 2  # part of every shard's key: raise it when what a method does, or how it is scored, changes

FIELDS = (
    "scores",
    "judge",
    "chosen",
    "valid",
    "calls",
    "ms",
    "removed_ranks",
    "gradients",
    "relaxed",
    "moved",
    "lipschitz",
    "similarity",
)


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
        tasks = self.tasks.take(self.store.rows_of(shard))
        completions = complete(self.call, tasks, self.context)
        sets, context = completions.sets(), self.context
        ranks = completions.removed_ranks
        arrays: dict[str, NDArray[np.generic]] = {
            "scores": self._scores(context.scorer, sets),
            "chosen": completions.chosen,
            "valid": keeps_outfit(tasks.given, completions.chosen, context.scorer.categories),
            "calls": completions.calls,
            "ms": completions.seconds * 1000,
        }
        if context.judge is not None:
            arrays["judge"] = self._scores(context.judge, sets)
        if ranks is not None:
            arrays["removed_ranks"] = np.where(ranks == UNRANKED, -1, ranks)
        if completions.gradients is not None:
            arrays["gradients"] = completions.gradients
        if completions.relaxation is not None:
            relaxation = completions.relaxation
            arrays |= {"relaxed": relaxation.scores, "moved": relaxation.moved, "lipschitz": relaxation.lipschitz}
        conditions = self.tasks.conditions  # of all tasks, so that no shard has a field that others lack
        if conditions is not None and conditions.has_text.any() and context.similarity is not None:
            arrays["similarity"] = condition_similarity(tasks, completions.chosen, context.similarity)
        self.store.write(shard, arrays)

    def collect(self) -> dict[str, NDArray[np.generic]]:
        """All shards joined in task order: the arrays of :data:`FIELDS` that the method has.

        Raises:
            ArtifactError: if a shard is missing.
        """
        parts = self.store.read_all()
        return {name: np.concatenate([part[name] for part in parts]) for name in FIELDS if name in parts[0]}

    @staticmethod
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
