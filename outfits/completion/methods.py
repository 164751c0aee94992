"""Completion methods by name. A new one is a function of tasks, resources, options, and a line in :data:`METHODS`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.context import Method, Resources, Stopwatch, completions_of, search_by_size
from outfits.completion.from_latents.assignment import complete_by_values
from outfits.completion.from_latents.completion import (
    complete_from_latents,
    complete_from_latents_and_texts,
    latent_ranks,
    latent_shortlists,
    rerank_ranks,
    rerank_ranks_of_conditions,
)
from outfits.completion.gradient.completion import gradient_completion
from outfits.completion.search.baselines import complete_by_ranking_of_all, random_completion
from outfits.completion.search.beam import beam_search
from outfits.completion.search.exhaustive import exhaustive_search
from outfits.completion.search.greedy import greedy_k_step, greedy_one_step
from outfits.completion.search.two_stage import beam_two_stage as search_beam_two_stage
from outfits.completion.search.two_stage import greedy_two_stage as search_greedy_two_stage
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall
from outfits.config.schema.methods import (
    BeamConfig,
    BeamTwoStageConfig,
    ExhaustiveConfig,
    GeneratorBeamConfig,
    GradientConfig,
    GreedyTwoStageConfig,
    RerankConfig,
)
from outfits.data.category_rule import available_categories, forbidden_categories
from outfits.errors import ConfigError
from outfits.scoring.candidates import CandidateScorer


def original(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """The removed items themselves."""
    stopwatch = Stopwatch()
    return _without_calls(tasks, tasks.removed.astype(np.int64), None, stopwatch)


def random(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """Random items that keep the category rule and the allowed categories."""
    stopwatch = Stopwatch()
    chosen, ranks = random_completion(
        tasks, resources.categories, resources.num_categories, resources.seed, len(resources.catalogue_categories)
    )
    return _without_calls(tasks, chosen, ranks, stopwatch)


def most_frequent(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """The items that occur most often in training outfits."""
    return _by_counts(tasks, resources, resources.require_occurrences())


def most_selected(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """The items that greedy search selected most often for training outfits."""
    return _by_counts(tasks, resources, resources.require_selected())


def most_similar(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """The items most similar to the texts of conditions: neither the outfit nor S is looked at."""
    if tasks.conditions is None or not tasks.conditions.has_text.any():
        raise ConfigError(
            ["most_similar needs texts of conditions; name it in evaluate.condition_methods, or give texts"]
        )
    if resources.similarity is None:
        raise ValueError("texts of conditions need the catalogue's text embeddings")
    stopwatch = Stopwatch()
    values = np.stack([resources.similarity(texts) for texts in tasks.conditions.texts])  # [B, k, N]
    items = len(resources.catalogue_categories)
    available = available_categories(tasks.given, resources.categories, resources.num_categories, items)
    wanted = tasks.removed if tasks.removed.shape[1] == tasks.k else None
    chosen, ranks = complete_by_values(values, resources.catalogue_categories, available, tasks.conditions, wanted)
    return _without_calls(tasks, chosen, ranks, stopwatch)


def exhaustive(tasks: CompletionTasks, resources: Resources, options: ExhaustiveConfig) -> MethodOutcome:
    """The best of all k-subsets."""
    return _search(
        tasks,
        resources,
        lambda scorer, outfits, shared: exhaustive_search(scorer, outfits, tasks.k, options.max_calls, **shared),
    )


def greedy_1(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """Greedy 1-step search over the whole catalogue."""
    return _search(
        tasks, resources, lambda scorer, outfits, shared: greedy_one_step(scorer, outfits, tasks.k, 0, **shared)
    )


def greedy_k(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """Greedy k-step search over the whole catalogue."""
    return _search(
        tasks, resources, lambda scorer, outfits, shared: greedy_k_step(scorer, outfits, tasks.k, 0, **shared)
    )


def beam(tasks: CompletionTasks, resources: Resources, options: BeamConfig) -> MethodOutcome:
    """Beam search over the whole catalogue."""
    return _search(
        tasks, resources, lambda scorer, outfits, shared: beam_search(scorer, outfits, tasks.k, options.width, **shared)
    )


def greedy_two_stage(tasks: CompletionTasks, resources: Resources, options: GreedyTwoStageConfig) -> MethodOutcome:
    """Greedy k-step search over what the student ranks highest at each step; ranks are those on the first shortlist."""
    shortlists, c = resources.require_shortlists(), options.candidates
    return _search(
        tasks,
        resources,
        lambda scorer, outfits, shared: search_greedy_two_stage(scorer, shortlists, outfits, tasks.k, c, 0, **shared),
    )


def beam_two_stage(tasks: CompletionTasks, resources: Resources, options: BeamTwoStageConfig) -> MethodOutcome:
    """Beam search over what the student ranks highest beside each partial outfit; ranks as in greedy_two_stage."""
    shortlists, width, c = resources.require_shortlists(), options.width, options.candidates
    return _search(
        tasks,
        resources,
        lambda scorer, outfits, shared: search_beam_two_stage(scorer, shortlists, outfits, tasks.k, width, c, **shared),
    )


def gradient(tasks: CompletionTasks, resources: Resources, options: GradientConfig) -> MethodOutcome:
    """Ascends S in embedding space and takes the nearest items."""
    scorer, space = resources.require_scorer(), resources.space
    stopwatch = Stopwatch()
    forbidden = forbidden_categories(tasks.given, resources.categories, resources.num_categories)
    parts, order = [], []
    for rows, outfits in tasks.by_size():
        given = [resources.embedded(np.sort(outfit)) for outfit in outfits.numpy()]
        found = gradient_completion(
            scorer.module,
            space,
            torch.from_numpy(np.stack([each.vectors for each in given])),
            torch.from_numpy(np.stack([each.present for each in given])),
            forbidden[rows],
            _conditions_at(tasks, rows),
            tasks.k,
            options,
            tasks.seeds[rows],
            resources.seed,
        )
        parts.append(found)
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])[back]

    return MethodOutcome(
        tasks,
        joined("chosen"),
        calls=joined("calls"),
        seconds=stopwatch.shares(len(tasks)),
        gradients=joined("gradients"),
        relaxed=joined("relaxed"),
        moved=joined("moved"),
        lipschitz=joined("lipschitz"),
    )


def generator(tasks: CompletionTasks, resources: Resources, options: None = None) -> MethodOutcome:
    """The items nearest to the generator's latents; no call of S."""
    index, latents_of = resources.require_generator()
    stopwatch = Stopwatch()
    latents = latents_of(tasks)
    forbidden = forbidden_categories(tasks.given, resources.categories, resources.num_categories)
    zero = np.zeros(len(tasks), dtype=np.int64)
    if tasks.conditions is None:
        chosen = complete_from_latents(latents, index, forbidden).chosen
        seconds = stopwatch.shares(len(tasks))  # ranking the removed items is the experiment's work, not the method's
        ranks = latent_ranks(latents, index, forbidden, tasks.removed)
        return MethodOutcome(tasks, chosen, calls=zero, seconds=seconds, removed_ranks=ranks)
    removed = tasks.removed if tasks.removed.shape[1] == tasks.k else None
    chosen, condition_ranks = complete_from_latents_and_texts(
        latents, index, forbidden, tasks.conditions, resources.similarity, removed
    )
    seconds = stopwatch.shares(len(tasks))
    return MethodOutcome(tasks, chosen, calls=zero, seconds=seconds, removed_ranks=condition_ranks)


def generator_rerank(tasks: CompletionTasks, resources: Resources, options: RerankConfig) -> MethodOutcome:
    """The best under S, step by step, of the r items nearest to each of the generator's latents."""
    return _search_near_latents(tasks, resources, options.candidates, width=1, joint=options.joint)


def generator_beam(tasks: CompletionTasks, resources: Resources, options: GeneratorBeamConfig) -> MethodOutcome:
    """Beam search over the r items nearest to each of the generator's latents."""
    return _search_near_latents(tasks, resources, options.candidates, width=options.width, joint=True)


METHODS: Mapping[str, Method] = {
    "original": original,
    "random": random,
    "most_frequent": most_frequent,
    "most_selected": most_selected,
    "most_similar": most_similar,
    "exhaustive": exhaustive,
    "greedy_1": greedy_1,
    "greedy_k": greedy_k,
    "beam": beam,
    "greedy_two_stage": greedy_two_stage,
    "beam_two_stage": beam_two_stage,
    "gradient": gradient,
    "generator": generator,
    "generator_rerank": generator_rerank,
    "generator_beam": generator_beam,
}


def complete(call: MethodCall, tasks: CompletionTasks, resources: Resources) -> MethodOutcome:
    """Completes tasks with a method.

    Args:
        call: the method with its options, see :func:`outfits.config.method_calls.resolve_call`.
        tasks: any number of tasks greater than zero.
        resources: what the method may use.

    Raises:
        ArtifactError: if the method needs a resource that is not there.
        ConfigError: if the method would need more calls of S than it may make.
        DataError: if the category rule or the conditions leave a missing item no category.
    """
    if tasks.conditions is not None and tasks.conditions.alpha == 1:
        tasks = tasks.conditioned(tasks.conditions.without_texts())  # they weigh nothing, so no method looks at them
    return METHODS[call.name](tasks, resources, call.options)


def _search(
    tasks: CompletionTasks,
    resources: Resources,
    search: Callable[[CandidateScorer, Tensor, dict[str, Any]], SearchTrace],
) -> MethodOutcome:
    """Searches the outfits of each size in turn; the search's last argument is what all of them take."""
    scorer = resources.require_scorer()
    stopwatch = Stopwatch()

    def of_size(rows: NDArray[np.int64], outfits: Tensor) -> SearchTrace:
        shared = {
            "rank_of": tasks.removed[rows] if tasks.removed.shape[1] else None,
            "conditions": _conditions_at(tasks, rows),
            "similarity": resources.similarity,
            "alternatives": resources.alternatives,
        }
        return search(scorer, outfits, shared)

    return completions_of(tasks, search_by_size(tasks, of_size), stopwatch.shares(len(tasks)))


def _conditions_at(tasks: CompletionTasks, rows: NDArray[np.int64]) -> Conditions | None:
    return None if tasks.conditions is None else tasks.conditions.take(rows)


def _search_near_latents(
    tasks: CompletionTasks, resources: Resources, candidates: int, *, width: int, joint: bool
) -> MethodOutcome:
    scorer = resources.require_scorer()
    index, latents_of = resources.require_generator()
    stopwatch = Stopwatch()
    latents = latents_of(tasks)
    trace = search_by_size(
        tasks,
        lambda rows, outfits: beam_search(
            scorer,
            outfits,
            tasks.k,
            width,
            conditions=_conditions_at(tasks, rows),
            similarity=resources.similarity,
            propose=latent_shortlists(latents[rows], index, candidates, joint=joint),
            candidates_kept=candidates * tasks.k,
            alternatives=resources.alternatives,
        ),
    )
    seconds = stopwatch.shares(len(tasks))
    ranks = None
    if tasks.removed.shape[1]:
        forbidden = forbidden_categories(tasks.given, resources.categories, resources.num_categories)
        scored = trace.candidates[:, 0]
        if tasks.conditions is None:
            ranks = rerank_ranks(latents, index, forbidden, scored, tasks.removed)
        else:
            logits, conditions = trace.candidate_logits[:, 0], tasks.conditions
            ranks = rerank_ranks_of_conditions(
                latents, index, forbidden, scored, logits, tasks.removed, conditions, resources.similarity
            )
    return completions_of(tasks, trace, seconds, ranks)


def _by_counts(tasks: CompletionTasks, resources: Resources, counts: NDArray[np.integer]) -> MethodOutcome:
    stopwatch = Stopwatch()
    ranking = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable").astype(np.int64)
    chosen, ranks = complete_by_ranking_of_all(
        tasks, [ranking] * len(tasks), resources.categories, resources.num_categories, len(ranking)
    )
    return _without_calls(tasks, chosen, ranks, stopwatch)


def _without_calls(
    tasks: CompletionTasks, chosen: NDArray[np.int64], ranks: NDArray[np.int64] | None, stopwatch: Stopwatch
) -> MethodOutcome:
    return MethodOutcome(
        tasks,
        chosen,
        calls=np.zeros(len(tasks), dtype=np.int64),
        seconds=stopwatch.shares(len(tasks)),
        removed_ranks=ranks,
    )
