"""Runs a completion method, and holds what methods share.

A method is a function of tasks, context and options that :data:`outfits.config.schema.methods.METHODS` names.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.context import MethodContext
from outfits.completion.search.expansion import SearchQuery
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall
from outfits.config.schema.methods import METHODS
from outfits.data.category_rule import rows_of_batch
from outfits.errors import ConfigError

Method = Callable[[CompletionTasks, MethodContext, Any], MethodOutcome]
"""A method: completes every task of a batch, with its options, None where it has none."""


def complete(call: MethodCall, tasks: CompletionTasks, context: MethodContext) -> MethodOutcome:
    """Completes one task or more with a method, as :func:`outfits.config.method_calls.resolve_call` gives it.

    Raises:
        ArtifactError: if the method needs a model or counts that are missing.
        ConfigError: if the method would need more calls of S than it may make, or the tasks have users, whom it does
            not follow.
        DataError: if the category rule or the conditions leave a missing item no category.
    """
    about_texts = "texts" in METHODS[call.name].needs
    if tasks.conditions is not None and tasks.conditions.alpha == 1 and not about_texts:
        tasks = tasks.conditioned(tasks.conditions.without_texts())  # alpha = 1: the texts have no weight
    if tasks.preference is not None and not METHODS[call.name].follows_users:
        able = ", ".join(name for name, spec in METHODS.items() if spec.follows_users)
        raise ConfigError([f"method: {call.name} does not look at users; {able} do"])
    method: Method = METHODS[call.name].load()
    return method(tasks, context, call.options)


class Stopwatch:
    """Wall time since its creation, shared equally by a batch; waits for queued GPU work."""

    def __init__(self) -> None:
        self._wait()
        self._start = time.perf_counter()

    def shares(self, batch: int) -> NDArray[np.float64]:
        """Seconds, shape ``[batch]``."""
        self._wait()
        return np.full(batch, (time.perf_counter() - self._start) / max(1, batch))

    @staticmethod
    def _wait() -> None:
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()


def complete_by_search(
    tasks: CompletionTasks, context: MethodContext, search: Callable[[SearchQuery], SearchTrace]
) -> MethodOutcome:
    """Completes tasks by a search with S, which also ranks the removed items."""

    def ranking(query: SearchQuery, rows: NDArray[np.int64]) -> SearchTrace:
        return search(replace(query, rank_of=tasks.removed[rows] if tasks.removed.shape[1] else None))

    trace, seconds = search_by_size(tasks, context, ranking)
    return completions_of(tasks, trace, seconds, trace.ranks)


def search_by_size(
    tasks: CompletionTasks,
    context: MethodContext,
    search: Callable[[SearchQuery, NDArray[np.int64]], SearchTrace],
) -> tuple[SearchTrace, NDArray[np.float64]]:
    """Searches for tasks with equally many given items together.

    ``search`` turns a query and the rows of its outfits into a trace. Returns the trace in the order of the tasks, and
    seconds, shape ``[B]``.
    """
    scorer, similarity = context.scorer, context.similarity
    stopwatch = Stopwatch()
    parts, order = [], []
    for rows, outfits in tasks.by_size():
        conditions = None if tasks.conditions is None else tasks.conditions.take(rows)
        query = SearchQuery(
            scorer,
            outfits,
            tasks.k,
            conditions=conditions,
            similarity=similarity,
            alternatives=tasks.alternatives,
            preference=None if tasks.preference is None else tasks.preference.take(rows),
        )
        with rows_of_batch(rows):
            parts.append(search(query, rows))
        order.append(rows)
    trace = SearchTrace.concatenate(parts).take(np.argsort(np.concatenate(order), kind="stable"))
    return trace, stopwatch.shares(len(tasks))


def completions_of(
    tasks: CompletionTasks,
    trace: SearchTrace,
    seconds: NDArray[np.float64],
    removed_ranks: NDArray[np.int64] | None,
) -> MethodOutcome:
    """The outcome of a search with S."""
    return MethodOutcome(
        tasks,
        chosen=trace.by_condition,
        calls=trace.calls,
        seconds=seconds,
        step_scores=expit(trace.logits.astype(np.float64)),
        removed_ranks=removed_ranks,
        alternatives=trace.alternatives,
    )


def completions_without_calls(
    tasks: CompletionTasks,
    chosen: NDArray[np.int64],
    seconds: NDArray[np.float64],
    removed_ranks: NDArray[np.int64] | None,
) -> MethodOutcome:
    """The outcome of choosing items ``[B, k]`` without a call of S."""
    calls = np.zeros(len(tasks), dtype=np.int64)
    return MethodOutcome(tasks, chosen, calls=calls, seconds=seconds, removed_ranks=removed_ranks)
