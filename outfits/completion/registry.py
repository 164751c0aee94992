"""Completion methods by name. A new one is a function of tasks and resources, and a line in :data:`METHODS`."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import Completions
from outfits.completion.greedy import greedy_k_step, greedy_one_step
from outfits.completion.latents import complete_from_latents, latent_ranks, rerank_ranks
from outfits.completion.latents import rerank as rerank_latents
from outfits.completion.method import Method, Resources, Stopwatch, completions_of, search_by_size
from outfits.completion.rules import forbidden_categories
from outfits.completion.simple import most_selected as most_selected_items
from outfits.completion.simple import random_completion
from outfits.completion.tasks import CompletionTasks


def original(tasks: CompletionTasks, resources: Resources) -> Completions:
    """The removed items themselves."""
    stopwatch = Stopwatch()
    return _without_calls(tasks, tasks.removed.astype(np.int64), None, stopwatch)


def random(tasks: CompletionTasks, resources: Resources) -> Completions:
    """Random items that keep the category rule."""
    stopwatch = Stopwatch()
    chosen, ranks = random_completion(
        tasks.given,
        tasks.k,
        resources.categories,
        resources.num_categories,
        tasks.seeds,
        resources.seed,
        tasks.removed,
    )
    return _without_calls(tasks, chosen, ranks, stopwatch)


def most_selected(tasks: CompletionTasks, resources: Resources) -> Completions:
    """The items that greedy search selected most often for training outfits."""
    stopwatch = Stopwatch()
    chosen, ranks = most_selected_items(
        tasks.given,
        tasks.k,
        resources.categories,
        resources.num_categories,
        resources.require_selected(),
        tasks.removed,
    )
    return _without_calls(tasks, chosen, ranks, stopwatch)


def greedy_1(tasks: CompletionTasks, resources: Resources) -> Completions:
    """Greedy 1-step search over the whole catalogue."""
    scorer = resources.require_scorer()
    stopwatch = Stopwatch()
    trace = search_by_size(
        tasks, lambda rows, outfits: greedy_one_step(scorer, outfits, tasks.k, 0, rank_of=tasks.removed[rows])
    )
    return completions_of(tasks, trace, stopwatch.shares(len(tasks)))


def greedy_k(tasks: CompletionTasks, resources: Resources) -> Completions:
    """Greedy k-step search over the whole catalogue."""
    scorer = resources.require_scorer()
    stopwatch = Stopwatch()
    trace = search_by_size(
        tasks, lambda rows, outfits: greedy_k_step(scorer, outfits, tasks.k, 0, rank_of=tasks.removed[rows])
    )
    return completions_of(tasks, trace, stopwatch.shares(len(tasks)))


def generator(tasks: CompletionTasks, resources: Resources) -> Completions:
    """The items nearest to the generator's latents; no call of S."""
    index, latents_of = resources.require_generator()
    stopwatch = Stopwatch()
    latents = latents_of(tasks)
    forbidden = forbidden_categories(tasks.given, resources.categories, resources.num_categories)
    nearest = complete_from_latents(latents, index, forbidden)
    seconds = stopwatch.shares(len(tasks))  # ranking the removed items is the experiment's work, not the method's
    ranks = latent_ranks(latents, index, forbidden, tasks.removed)
    zero = np.zeros(len(tasks), dtype=np.int64)
    return Completions(tasks.given, nearest.chosen, calls=zero, seconds=seconds, removed_ranks=ranks)


def generator_rerank(tasks: CompletionTasks, resources: Resources) -> Completions:
    """The best under S of the r items nearest to each of the generator's latents."""
    scorer = resources.require_scorer()
    index, latents_of = resources.require_generator()
    stopwatch = Stopwatch()
    latents = latents_of(tasks)
    trace = search_by_size(
        tasks,
        lambda rows, outfits: rerank_latents(
            latents[rows],
            index,
            scorer,
            outfits,
            resources.rerank_candidates,
            joint=resources.rerank_joint,
        ),
    )
    seconds = stopwatch.shares(len(tasks))
    forbidden = forbidden_categories(tasks.given, resources.categories, resources.num_categories)
    ranks = rerank_ranks(latents, index, forbidden, trace.candidates[:, 0], tasks.removed)
    return completions_of(tasks, trace, seconds, ranks)


METHODS: Mapping[str, Method] = {
    "original": original,
    "random": random,
    "most_selected": most_selected,
    "greedy_1": greedy_1,
    "greedy_k": greedy_k,
    "generator": generator,
    "generator_rerank": generator_rerank,
}


def complete(name: str, tasks: CompletionTasks, resources: Resources) -> Completions:
    """Completes tasks with a method.

    Args:
        name: a name in :data:`METHODS`.
        tasks: any number of tasks greater than zero.
        resources: what the method may use.

    Raises:
        ValueError: if there is no method of this name.
        ArtifactError: if the method needs a resource that is not there.
        DataError: if the category rule leaves fewer than ``k`` categories for an outfit.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; methods: {', '.join(METHODS)}")
    return METHODS[name](tasks, resources)


def _without_calls(
    tasks: CompletionTasks, chosen: NDArray[np.int64], ranks: NDArray[np.int64] | None, stopwatch: Stopwatch
) -> Completions:
    return Completions(
        tasks.given,
        chosen,
        calls=np.zeros(len(tasks), dtype=np.int64),
        seconds=stopwatch.shares(len(tasks)),
        removed_ranks=ranks,
    )
