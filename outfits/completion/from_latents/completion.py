"""From the generator's latents to items: the nearest items that form an outfit, and their re-ranking by S."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import UNRANKED, MethodOutcome, SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.assignment import assign_to_categories, complete_by_values, feasible_for
from outfits.completion.methods import Stopwatch, completions_of, completions_without_calls, search_by_size
from outfits.completion.search.beam import beam_search
from outfits.completion.search.expansion import (
    CandidateProposer,
    Hypothesis,
    OutfitConditions,
    SearchQuery,
    ranks_in,
)
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import GeneratorBeamConfig, RerankConfig
from outfits.data.category_rule import forbidden_categories
from outfits.index.category_index import merge
from outfits.index.item_index import ItemIndex
from outfits.models.similarity import TextSimilarity

TIE_BREAK = 1e-6  # weight of the cosine to a latent where alpha is 0, so that it still decides between equal texts


def generator(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    """Completes by the items nearest to the generator's latents; no call of S."""
    index, similarity = context.index, context.similarity
    stopwatch = Stopwatch()
    latents = context.latents(tasks)
    forbidden = forbidden_categories(tasks.given, context.categories, context.num_categories)
    if tasks.conditions is None:
        chosen = complete_from_latents(latents, index, forbidden)
        seconds = stopwatch.shares(len(tasks))  # ranking the removed items is evaluation, not part of the method
        ranks = latent_ranks(latents, index, forbidden, tasks.removed)
        return completions_without_calls(tasks, chosen, seconds, ranks)
    removed = tasks.removed if tasks.removed.shape[1] == tasks.k else None
    chosen, condition_ranks = complete_from_latents_and_texts(
        latents, index, forbidden, tasks.conditions, similarity, removed
    )
    return completions_without_calls(tasks, chosen, stopwatch.shares(len(tasks)), condition_ranks)


def generator_rerank(tasks: CompletionTasks, context: MethodContext, options: RerankConfig) -> MethodOutcome:
    """Completes by k-step search with S over the r items nearest to each of the generator's latents."""
    return _search_near_latents(tasks, context, options.candidates, width=1, joint=options.joint)


def generator_beam(tasks: CompletionTasks, context: MethodContext, options: GeneratorBeamConfig) -> MethodOutcome:
    """Completes by beam search over the r items nearest to each of the generator's latents."""
    return _search_near_latents(
        tasks, context, options.candidates, width=options.width, joint=True, regenerate=options.regenerate
    )


def _search_near_latents(
    tasks: CompletionTasks,
    context: MethodContext,
    candidates: int,
    *,
    width: int,
    joint: bool,
    regenerate: bool = False,
) -> MethodOutcome:
    index, similarity = context.index, context.similarity
    stopwatch = Stopwatch()
    latents = context.latents(tasks)
    spent = stopwatch.shares(len(tasks))

    def near_latents(query: SearchQuery, rows: NDArray[np.int64]) -> SearchTrace:
        propose = latent_shortlists(latents[rows], index, candidates, joint=joint)
        if regenerate:
            propose = regenerated_shortlists(propose, tasks.take(rows), context, candidates)
        return beam_search(replace(query, propose=propose, candidates_kept=candidates * tasks.k), width)

    trace, seconds = search_by_size(tasks, context, near_latents)
    ranks = None
    if tasks.removed.shape[1]:
        forbidden = forbidden_categories(tasks.given, context.categories, context.num_categories)
        if tasks.conditions is None:
            ranks = latent_ranks(latents, index, forbidden, tasks.removed, trace.candidates[:, 0])
        else:
            ranks = latent_ranks_of_conditions(latents, index, forbidden, tasks, trace, similarity)
    return completions_of(tasks, trace, spent + seconds, ranks)


def complete_from_latents(latents: Tensor, index: ItemIndex, forbidden: NDArray[np.bool_]) -> NDArray[np.int64]:
    r"""The exact maximiser of :math:`\sum_j \cos(z_j, X_j)` over items of pairwise different, allowed categories.

    Within a category only its nearest item can be best for a latent, so choosing items is assigning latents to
    categories (Kuhn–Munkres); where the latents' nearest items already differ in category, they are the answer.
    An approximate index may miss a category's nearest item; the assignment of what it found is still exact.

    Args:
        latents: shape ``[B, k, r]``.
        index: the catalogue in the latents' space.
        forbidden: categories that must not be added to an outfit, bool, shape ``[B, C]``.

    Returns:
        Catalogue position for every latent, shape ``[B, k]``.

    Raises:
        DataError: if the rule leaves a latent no category with items.
        ValueError: if a latent is not finite.
    """
    batch, k, _ = latents.shape
    similarity, ids = index.search(latents.flatten(0, 1), 1)
    similarity = similarity.reshape(batch, k, -1)  # [B, k, C]
    ids = ids.reshape(batch, k, -1)
    available = ~(forbidden | index.empty_categories)  # [B, C]
    chosen = np.empty((batch, k), dtype=np.int64)
    for row in range(batch):
        feasible = feasible_for(None, row, k, available[row])
        chosen[row] = assign_to_categories(similarity[row], ids[row], feasible)
    return chosen


def complete_from_latents_and_texts(
    latents: Tensor,
    index: ItemIndex,
    forbidden: NDArray[np.bool_],
    conditions: Conditions,
    similarity: TextSimilarity | None,
    wanted: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    r"""The maximiser of :math:`\sum_j \alpha \cos(z_j, X_j) + (1 - \alpha) S_X(X_j, \hat T_j)`, without calls of S.

    The cosine to the latent replaces S. Reads the whole catalogue once per outfit. Arguments as in
    :func:`complete_from_latents`; latent i answers condition i.

    Args:
        wanted: catalogue positions ``[B, k]`` whose rank for condition i to report.

    Returns:
        Catalogue positions ``[B, k]``, and 0-based ranks ``[B, k]`` of the wanted items among all that condition i
        allows.

    Raises:
        DataError: if the rule or the conditions leave a latent no category with items.
    """
    values = np.stack(
        [
            _mixed_values(latents[row], index, OutfitConditions.of(conditions, row, similarity))
            for row in range(len(latents))
        ]
    )
    available = ~(forbidden | index.empty_categories)
    return complete_by_values(values, index.categories, available, conditions, wanted)


def _mixed_values(latents: Tensor, index: ItemIndex, outfit_conditions: OutfitConditions) -> NDArray[np.float64]:
    """Value of every item for each missing item of one outfit, shape ``[k, N]``."""
    values = np.stack([nearness_to(latents[slot : slot + 1], index) for slot in range(len(latents))])
    if outfit_conditions.similarity is None:
        return values.astype(np.float64)
    # Similarity is 0 without a text.
    return (
        max(outfit_conditions.alpha, TIE_BREAK) * values.astype(np.float64)
        + (1 - outfit_conditions.alpha) * outfit_conditions.similarity
    )


def latent_ranks(
    latents: Tensor,
    index: ItemIndex,
    forbidden: NDArray[np.bool_],
    items: NDArray[np.integer],
    scored: NDArray[np.int32] | None = None,
) -> NDArray[np.int64]:
    """0-based rank of items among all allowed items by their largest cosine to any of an outfit's latents.

    Args:
        latents: shape ``[B, k, r]``.
        forbidden: bool, shape ``[B, C]``.
        items: catalogue positions to rank, shape ``[B, j]``.
        scored: items that precede all others, best first, as scored by the first step of re-ranking, padded with -1,
            shape ``[B, M]``; None: none.

    Returns:
        Int64, shape ``[B, j]``; :data:`UNRANKED` for items of forbidden categories. Ties go to the smaller position.
    """
    ranks = np.full(items.shape, UNRANKED, dtype=np.int64)
    if not items.shape[1]:
        return ranks
    for row in range(len(latents)):
        first = np.empty(0, dtype=np.int64) if scored is None else scored[row][scored[row] >= 0].astype(np.int64)
        allowed = ~forbidden[row][index.categories]
        ranks[row] = ranks_in(_ranking(nearness_to(latents[row], index), first, allowed), items[row], len(index))
    return ranks


def nearness_to(latents: Tensor, index: ItemIndex) -> NDArray[np.float32]:
    """Largest cosine of every catalogue item to one outfit's latents ``[k, r]``; shape ``[N]``."""
    # One outfit per product: always the same shape, so the same bits in any batch.
    nearness: NDArray[np.float32] = index.cosines(latents).max(axis=0)
    return nearness


def latent_shortlists(latents: Tensor, index: ItemIndex, r: int, *, joint: bool = True) -> CandidateProposer:
    """Candidates of a search: the ``r`` nearest items of every unused latent, for latents ``[B, k, width]``.

    With a text, half of them are the items nearest to the text. Without conditions an item on several lists remains
    only on that of its nearest latent, so that S scores it once and the other latents stay free. A step tries the lists
    of all unused latents if ``joint``, else of the first alone.
    """
    batch, k, _ = latents.shape
    cosine, ids = index.search(latents.flatten(0, 1), r)
    cosine, ids = cosine.reshape(batch, k, -1, r), ids.reshape(batch, k, -1, r)

    def propose(
        row: int, conditions: OutfitConditions, hypothesis: Hypothesis, feasible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        free = hypothesis.free(k)
        nearness, listed = merge(cosine[row], ids[row], r, ~feasible)  # [k, r]
        active = free if joint else np.arange(k) == np.flatnonzero(free)[0]
        if conditions.similarity is not None:
            for described in np.flatnonzero(conditions.described & active):
                allowed = feasible[described][index.categories]
                nearest = _nearest_to_text(conditions.similarity[described], allowed, max(1, r // 2))
                listed[described, r - len(nearest) :] = nearest
        listed = np.where(active[:, None], listed, -1)
        items = np.unique(listed[listed >= 0])
        mask = np.stack([np.isin(items, listed[slot]) for slot in range(k)])
        if not conditions.asked:
            places = [np.searchsorted(items, listed[slot, listed[slot] >= 0]) for slot in range(k)]
            of_item = np.full(mask.shape, -np.inf, dtype=np.float32)
            for slot, place in enumerate(places):
                of_item[slot, place] = nearness[slot, listed[slot] >= 0]
            mask &= np.arange(k)[:, None] == of_item.argmax(axis=0)
        return items, mask

    return propose


def regenerated_shortlists(
    first: CandidateProposer, tasks: CompletionTasks, context: MethodContext, r: int
) -> CandidateProposer:
    """Candidates near latents that the generator emits anew for the rest of each partial outfit.

    A latent of the whole completion is an item for the outfit as it was given; the best item beside one that S has
    chosen since may be another. The first step takes the candidates of ``first``, see :func:`latent_shortlists`.
    """

    def propose(
        row: int, conditions: OutfitConditions, hypothesis: Hypothesis, feasible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if not hypothesis.items:
            return first(row, conditions, hypothesis, feasible)
        free = hypothesis.free(tasks.k)
        emitted = context.latents(tasks.take([row]).with_added(hypothesis.items, free))
        latents = emitted.new_ones(1, tasks.k, emitted.shape[2])  # those of items already chosen are not looked at
        latents[0, torch.from_numpy(free)] = emitted[0]
        return latent_shortlists(latents, context.index, r)(0, conditions, hypothesis, feasible)

    return propose


def _nearest_to_text(similarity: NDArray[np.float32], allowed: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """The ``n`` allowed items most similar to a text, shape ``[<= n]``, ties by catalogue position."""
    items = np.flatnonzero(allowed)
    return items[np.argsort(-similarity[items], kind="stable")[:n]]


def latent_ranks_of_conditions(
    latents: Tensor,
    index: ItemIndex,
    forbidden: NDArray[np.bool_],
    tasks: CompletionTasks,
    trace: SearchTrace,
    similarity: TextSimilarity | None,
) -> NDArray[np.int64]:
    """0-based rank of removed item i among those that condition i allows, as :func:`latent_ranks` otherwise.

    The items scored at the first step, the trace's candidates, come first, by the objective of condition i, all others
    after them by that of :func:`complete_from_latents_and_texts`.

    Raises:
        ValueError: if the tasks have no conditions.
    """
    if tasks.conditions is None:
        raise ValueError("these tasks have no conditions")
    ranks = np.full(tasks.removed.shape, UNRANKED, dtype=np.int64)
    for row in range(len(tasks)):
        known = trace.candidates[row, 0] >= 0
        first = trace.candidates[row, 0, known].astype(np.int64)
        scores = expit(trace.candidate_logits[row, 0, known].astype(np.float64))
        conditions = OutfitConditions.of(tasks.conditions, row, similarity)
        values = _mixed_values(latents[row], index, conditions)
        for slot in range(tasks.k):
            objective = scores
            if conditions.similarity is not None:
                objective = conditions.alpha * scores + (1 - conditions.alpha) * conditions.similarity[slot, first]
            allowed = ~forbidden[row] & conditions.allowed[slot]
            best_first = first[np.lexsort((first, -objective))]
            ranking = _ranking(values[slot], best_first, allowed[index.categories])
            ranks[row, slot] = ranks_in(ranking, tasks.removed[row, slot : slot + 1], len(index))[0]
    return ranks


def _ranking(nearness: NDArray[np.floating], first: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Allowed items: ``first`` in their order, then the others by nearness."""
    first = first[allowed[first]]
    rest = allowed.copy()
    rest[first] = False
    others = np.flatnonzero(rest)
    return np.concatenate([first, others[np.argsort(-nearness[others], kind="stable")]])
