"""Evaluates methods: each completes the same outfits; S and the judge score what it chose."""

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
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer
from outfits.shards import ShardStore, ShardWork

PROTOCOL = 3  # part of every shard's key: raise it when what a method does, how it is scored or stored changes


def evaluation_store(folder: Path, call: MethodCall, tasks: CompletionTasks, shard_size: int) -> ShardStore:
    """Opens the store of a method's outcome; the folder belongs to this method, these tasks and these models alone."""
    return ShardStore(folder, len(tasks), shard_size, call.text, counted="scores")


def evaluation_work(store: ShardStore, call: MethodCall, tasks: CompletionTasks, context: MethodContext) -> ShardWork:
    """Builds the work of one method on every task, its completions scored."""
    texts = tasks.have_texts  # of all tasks, so that no shard has a field that others lack

    def start(device: torch.device) -> Callable[[int], None]:
        context.to(device)

        def evaluate(shard: int) -> None:
            store.write(shard, _evaluated(call, tasks.take(store.rows_of(shard)), context, texts).arrays())

        return evaluate

    return start


def collected(store: ShardStore, tasks: CompletionTasks) -> MethodOutcome:
    """Joins all shards in task order; raises ArtifactError if one is missing."""
    arrays: dict[str, Any] = concatenated(store.read_all())
    return MethodOutcome(tasks, **arrays)


def _evaluated(call: MethodCall, tasks: CompletionTasks, context: MethodContext, texts: bool) -> MethodOutcome:
    """Completes and scores some tasks; raises ValueError if a condition does not allow a chosen item's category."""
    outcome = complete(call, tasks, context)
    categories, conditions = context.scorer.categories, tasks.conditions
    if conditions is not None:
        chosen = categories[outcome.chosen][..., None]  # [b, k, 1]
        if not np.take_along_axis(conditions.allowed, chosen, axis=2).all():
            raise ValueError(f"{call.text} chooses an item of a category that its condition does not allow")
    similarity = None
    if texts and context.similarity is not None:
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
    r"""Computes :math:`\sum_i S_X(X_i, \hat T_i)` over the non-empty texts of conditions of each task, shape ``[B]``.

    ``chosen`` are catalogue positions in the order of the conditions, shape ``[B, k]``.
    """
    if tasks.conditions is None:
        raise ValueError("these tasks have no conditions")
    every = np.arange(tasks.k)
    rows = [
        similarity(texts)[every, items].astype(np.float64).sum()
        for texts, items in zip(tasks.conditions.texts, chosen, strict=True)
    ]
    return np.array(rows)
