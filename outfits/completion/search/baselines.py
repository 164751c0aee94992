"""Completions that do not depend on the outfit: random items, the most frequent and the most often selected ones.

A search on a learned S often returns a few items that S scores high in any outfit; these controls measure how well
such items, or chance, do.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import UNRANKED, MethodOutcome
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.assignment import complete_by_values, feasible_for
from outfits.completion.methods import Stopwatch, completions_without_calls
from outfits.completion.search.expansion import ranks_in
from outfits.completion.tasks import RANDOM_STREAM, CompletionTasks
from outfits.data.category_rule import available_categories, feasible_categories
from outfits.errors import ConfigError


def original(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Puts the removed items back."""
    stopwatch = Stopwatch()
    return completions_without_calls(tasks, tasks.removed.astype(np.int64), stopwatch.shares(len(tasks)), None)


def random(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by uniformly random allowed items of different categories, one draw after the other.

    The tasks' seeds and the context's seed each draw, so it does not depend on the batch. Ranks refer to the random
    order.
    """
    rankings = (
        np.random.default_rng([context.seed, RANDOM_STREAM, *seeds.tolist()]).permutation(len(context.catalogue))
        for seeds in tasks.seeds
    )
    return _by_rankings(tasks, context, rankings)


def most_frequent(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by the items that occur most often in training outfits."""
    return _by_counts(tasks, context, context.require_occurrences())


def most_selected(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by the items that greedy search selected most often for training outfits."""
    return _by_counts(tasks, context, context.require_selected())


def most_similar(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by the items most similar to the texts of conditions; reads neither the outfit nor S.

    To an empty text all items are equally similar.

    Raises:
        ConfigError: without conditions.
        DataError: if the rule or the conditions leave a missing item no category.
    """
    if tasks.conditions is None:
        raise ConfigError(
            ["most_similar needs texts of conditions; name it in evaluate.condition_methods, or give texts"]
        )
    similarity = context.similarity
    if similarity is None:
        raise ValueError("texts of conditions need the catalogue's text embeddings")
    stopwatch = Stopwatch()
    values = np.stack([similarity(texts) for texts in tasks.conditions.texts])  # [B, k, N]
    available = available_categories(tasks.given, context.categories, context.num_categories, len(context.catalogue))
    wanted = tasks.removed if tasks.removed.shape[1] == tasks.k else None
    chosen, ranks = complete_by_values(values, context.catalogue_categories, available, tasks.conditions, wanted)
    return completions_without_calls(tasks, chosen, stopwatch.shares(len(tasks)), ranks)


def _by_counts(tasks: CompletionTasks, context: MethodContext, counts: NDArray[np.integer]) -> MethodOutcome:
    ranking = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable").astype(np.int64)
    return _by_rankings(tasks, context, [ranking] * len(tasks))


def _by_rankings(
    tasks: CompletionTasks, context: MethodContext, rankings: Iterable[NDArray[np.int64]]
) -> MethodOutcome:
    """Completes every task from a ranking of the whole catalogue, best first, that does not depend on the outfit.

    A removed item is ranked among the items that could be chosen; with conditions, removed item i among those that
    condition i allows.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    stopwatch = Stopwatch()
    chosen = np.empty((len(tasks), tasks.k), dtype=np.int64)
    ranks = np.full(tasks.removed.shape, UNRANKED, dtype=np.int64)
    items = context.catalogue_categories
    available = available_categories(tasks.given, context.categories, context.num_categories, len(items))
    for row, ranking in enumerate(rankings):
        feasible = feasible_for(tasks.conditions, row, tasks.k, available[row])
        chosen[row] = complete_by_ranking(ranking, np.array(feasible), items)
        for number in range(tasks.removed.shape[1]):
            can = available[row] if tasks.conditions is None else feasible[number]
            allowed = ranking[can[items[ranking]]]
            ranks[row, number] = ranks_in(allowed, tasks.removed[row, number : number + 1], len(items))[0]
    return completions_without_calls(tasks, chosen, stopwatch.shares(len(tasks)), ranks)


def complete_by_ranking(
    ranking: NDArray[np.int64], feasible: NDArray[np.bool_], categories: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The first items ``[k]`` of a ranking ``[N]`` that keep the category rule and the conditions, in their order.

    ``feasible [k, C]`` has the categories that each missing item can take, see
    :func:`outfits.data.category_rule.feasible_categories`; ``categories [N]`` are those of the catalogue.
    """
    k = len(feasible)
    chosen = np.full(k, -1, dtype=np.int64)
    free = np.ones(k, dtype=np.bool_)
    available = np.asarray(feasible.any(axis=0))
    left = feasible
    while free.any():
        item = ranking[np.asarray(left.any(axis=0))[categories[ranking]].argmax()]
        slot = int(left[:, categories[item]].argmax())
        chosen[slot], free[slot] = item, False
        available[categories[item]] = False
        left = feasible_categories(feasible, free, available)
    return chosen
