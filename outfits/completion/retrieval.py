"""Completes by complementary retrieval: the item nearest to the retriever's query, one after the other."""

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.completion.completion import UNRANKED, MethodOutcome
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.assignment import feasible_for
from outfits.completion.methods import Stopwatch, completions_without_calls
from outfits.completion.search.expansion import OutfitConditions, ranks_in
from outfits.completion.tasks import CompletionTasks
from outfits.data.category_rule import available_categories, feasible_categories, rows_of_batch
from outfits.models.retrieval import RetrievalQuery


def retrieval(tasks: CompletionTasks, context: MethodContext, options: None = None) -> MethodOutcome:
    r"""Adds at each step the item and the condition of the largest value; no call of S.

    The value is the cosine of query and item, or with texts :math:`\alpha \cos + (1 - \alpha) S_X`: the query knows the
    text too. The item found joins the outfit before the next query.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    context.retrieval_index, context.similarity  # noqa: B018 (built before the stopwatch starts)
    stopwatch = Stopwatch()
    chosen = np.empty((len(tasks), tasks.k), dtype=np.int64)
    ranks = np.full(tasks.removed.shape, UNRANKED, dtype=np.int64)
    for rows, outfits in tasks.by_size():
        given = None if tasks.conditions is None else tasks.conditions.take(rows)
        with rows_of_batch(rows):
            chosen[rows], ranks[rows] = _complete(context, outfits.numpy(), tasks.removed[rows], tasks.k, given)
    return completions_without_calls(tasks, chosen, stopwatch.shares(len(tasks)), ranks)


def _complete(
    context: MethodContext,
    outfits: NDArray[np.int64],
    removed: NDArray[np.int32],
    k: int,
    given: Conditions | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Completes outfits ``[B, n]``: items ``[B, k]`` in the order of conditions; ranks of the removed ``[B, j]``."""
    count, categories = len(outfits), context.catalogue_categories
    conditions = Conditions.none(count, k, context.num_categories, _text_dim(context)) if given is None else given
    asked = [OutfitConditions.of(conditions, row, context.similarity) for row in range(count)]
    chosen = np.full((count, k), -1, dtype=np.int64)
    ranks = np.full(removed.shape, UNRANKED, dtype=np.int64)
    for step in range(k):
        values = _values(context, outfits, conditions, asked)  # [B, k, N]
        available = available_categories(outfits, context.categories, context.num_categories, len(categories))
        if step == 0:
            for row in range(count):
                feasible_for(given, row, k, available[row])  # raises where there is no completion
                for number in range(removed.shape[1]):
                    slot = number if number < k else 0
                    can = available[row] & conditions.allowed[row, slot]
                    ranking = _ranking(values[row, slot], np.flatnonzero(can[categories]))
                    ranks[row, number] = ranks_in(ranking, removed[row, number : number + 1], len(categories))[0]
        found = np.empty(count, dtype=np.int64)
        for row in range(count):
            free = chosen[row] < 0
            feasible = feasible_categories(conditions.allowed[row], free, available[row])
            best = (-np.inf, 0, 0)
            for slot in asked[row].slots(free):
                items = np.flatnonzero(feasible[slot][categories])
                item = int(items[values[row, slot, items].argmax()])
                best = max(best, (float(values[row, slot, item]), -item, -slot))
            found[row] = -best[1]
            chosen[row, -best[2]] = found[row]
        outfits = np.concatenate([outfits, found[:, None]], axis=1)
    return chosen, ranks


def _values(
    context: MethodContext, outfits: NDArray[np.int64], conditions: Conditions, asked: list[OutfitConditions]
) -> NDArray[np.float32]:
    """Value of every catalogue item for every condition, shape ``[B, k, N]``."""
    count, k, num_categories = conditions.allowed.shape
    given = context.embedded(outfits.ravel())
    parts = (
        given.vectors.reshape(*outfits.shape, -1),
        given.present.reshape(*outfits.shape, 2),
        context.categories[outfits],
        np.zeros(outfits.shape, dtype=np.bool_),
    )
    each = [np.repeat(part, k, axis=0) for part in parts]  # [B k, n, ...], an outfit once for each condition
    each += [conditions.allowed.reshape(-1, num_categories), conditions.texts.reshape(count * k, -1)]
    query = RetrievalQuery(*(torch.from_numpy(np.ascontiguousarray(part)).to(context.device) for part in each))
    with torch.inference_mode():
        cosines = context.retrieval_index.cosines(context.require_retriever().queries(query))
    values = cosines.reshape(count, k, -1)
    for row, one in enumerate(asked):
        if one.similarity is not None:
            described = one.described[:, None]
            values[row] = np.where(described, one.alpha * values[row] + (1 - one.alpha) * one.similarity, values[row])
    return values


def _ranking(values: NDArray[np.float32], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Orders items by falling value, ties by the smaller position."""
    ordered: NDArray[np.int64] = items[np.argsort(-values[items], kind="stable")]
    return ordered


def _text_dim(context: MethodContext) -> int:
    return context.catalogue.require_embeddings.text_dim
