"""Completion by gradient: free embeddings ascend S and are projected to the nearest real items."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from outfits.completion.completion import MethodOutcome, concatenated
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.assignment import feasible_for
from outfits.completion.gradient.projection import ItemSpace, project
from outfits.completion.gradient.relaxation import RelaxedOptimum, RelaxedTask, ascend, text_similarity
from outfits.completion.methods import Stopwatch
from outfits.completion.tasks import START_STREAM, CompletionTasks
from outfits.config.schema.methods import GradientConfig
from outfits.data.catalogue import ItemEmbeddings
from outfits.data.category_rule import forbidden_categories, rows_of_batch
from outfits.models.compatibility import OutfitTransformer

# Outfits ascend together in groups of one shape, padded with copies, and each begins at a multiple of four rows, the
# block of matrix kernels: so its bits depend neither on its neighbours nor on its position.
_ROWS = {"cpu": 32, "cuda": 1024}
_ROW_BLOCK = 4


def gradient(tasks: CompletionTasks, context: MethodContext, options: GradientConfig) -> MethodOutcome:
    """Completes by ascending S in embedding space and taking the nearest items."""
    scorer, space = context.scorer.module, context.space
    stopwatch = Stopwatch()
    forbidden = forbidden_categories(tasks.given, context.categories, context.num_categories)
    parts, order = [], []
    for rows, outfits in tasks.by_size():
        given = [context.embedded(np.sort(outfit)) for outfit in outfits.numpy()]
        with rows_of_batch(rows):
            parts.append(
                gradient_completion(scorer, space, tasks.take(rows), given, forbidden[rows], options, context.seed)
            )
        order.append(rows)
    back, found = np.argsort(np.concatenate(order), kind="stable"), concatenated([part.arrays() for part in parts])
    arrays: dict[str, Any] = {name: array[back] for name, array in found.items()}
    return MethodOutcome(tasks, **(arrays | {"seconds": stopwatch.shares(len(tasks))}))


def gradient_completion(
    scorer: OutfitTransformer,
    space: ItemSpace,
    tasks: CompletionTasks,
    given: Sequence[ItemEmbeddings],
    forbidden: NDArray[np.bool_],
    options: GradientConfig,
    seed: int,
) -> MethodOutcome:
    r"""Optimises ``k`` free embeddings by Adam, then takes the nearest items that keep the rule and the conditions.

    Args:
        scorer: frozen compatibility model in evaluation mode, on the device of ``space``.
        space: the catalogue as points of the embedding space.
        tasks: ``B`` tasks of equally many given items; embedding i answers condition i.
        given: embeddings of their given items, in any order.
        forbidden: categories of the given items, bool, shape ``[B, C]``.
        options: settings of ascent and projection, and which restart answers.
        seed: seed of the experiment.

    Returns:
        Completions with the relaxed optimum; the distance moved is the sum over the items, the slope the steepest on
        the ascents of all restarts. ``seconds`` is 0.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
        ValueError: if ``options.choose`` is unknown, texts do not fit the embeddings, the scorer is in training mode,
            or S is not finite.
    """
    conditions, k, seeds = tasks.conditions, tasks.k, tasks.seeds
    if options.choose not in ("relaxed", "projected"):
        raise ValueError(f"choose must be relaxed or projected, not {options.choose!r}")
    if conditions is not None and conditions.has_text.any() and conditions.texts.shape[2] != space.text_dim:
        raise ValueError(
            f"texts of width {conditions.texts.shape[2]} cannot be compared with items of {space.text_dim}"
        )
    feasible = np.stack(
        [feasible_for(conditions, row, k, ~forbidden[row] & (space.counts > 0)) for row in range(len(seeds))]
    )
    starts = np.stack(
        [
            _starts(space, feasible[row], options, [seed, START_STREAM, *seeds[row].tolist()])
            for row in range(len(seeds))
        ]
    )
    tokens = _given_tokens(scorer, given, space.device)
    parts = []
    for rows in _groups(len(seeds), options.restarts, space.device):
        task = _task(
            tokens[rows], space, feasible[rows], conditions.take(rows) if conditions is not None else None, options
        )
        points = torch.from_numpy(starts[rows]).to(space.device).flatten(0, 1)
        parts.append(_complete(scorer, task, points, options))
    chosen, relaxed, moved, lipschitz = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return MethodOutcome(
        tasks,
        chosen,
        calls=np.full(len(tasks), options.restarts if options.choose == "projected" else 0, dtype=np.int64),
        seconds=np.zeros(len(tasks)),
        gradients=np.full(len(tasks), options.restarts * sum(_stages(options, k)), dtype=np.int64),
        relaxed=relaxed,
        moved=moved,
        lipschitz=lipschitz,
    )


def _groups(batch: int, restarts: int, device: torch.device) -> Iterator[NDArray[np.int64]]:
    """Rows of the outfits that ascend together."""
    size = max(1, _ROWS["cpu" if device.type == "cpu" else "cuda"] // _rounded(restarts))
    for start in range(0, batch, size):
        yield np.arange(start, min(start + size, batch))


def _rounded(restarts: int) -> int:
    return -(-restarts // _ROW_BLOCK) * _ROW_BLOCK


def _stages(options: GradientConfig, k: int) -> list[int]:
    """Steps of each ascent: one for all items, or one before every projection of a single item."""
    if not options.sequential:
        return [options.steps]
    return [max(1, len(part)) for part in np.array_split(np.arange(options.steps), k)]


def _given_tokens(scorer: OutfitTransformer, given: Sequence[ItemEmbeddings], device: torch.device) -> Tensor:
    """Tokens ``[B, n, width]`` of the given items, sorted by content, so that results do not depend on input order."""
    rows = []
    with torch.no_grad(), torch.inference_mode(False):
        for items in given:
            ordered = items.take(np.lexsort(np.concatenate([items.vectors, items.present], axis=1).T))
            # One outfit per product: always the same shape, so the same bits in any batch.
            vectors, present = torch.from_numpy(ordered.vectors), torch.from_numpy(ordered.present)
            rows.append(scorer.tokens(vectors.to(device), present.to(device)))
    return torch.stack(rows)


def _task(
    given: Tensor, space: ItemSpace, feasible: NDArray[np.bool_], conditions: Conditions | None, options: GradientConfig
) -> RelaxedTask:
    """The task of a group, the restarts of an outfit one after the other: ``[b, …]`` → ``[b · restarts, …]``."""
    texts, alpha = None, torch.ones(len(given), dtype=torch.float64)
    if conditions is not None and conditions.has_text.any():
        texts = torch.from_numpy(conditions.texts).to(space.device).repeat_interleave(options.restarts, 0)
        alpha[torch.from_numpy(conditions.has_text.any(axis=1))] = conditions.alpha
    return RelaxedTask(
        given=given.repeat_interleave(options.restarts, 0),
        space=space,
        feasible=torch.from_numpy(feasible).to(space.device).repeat_interleave(options.restarts, 0),
        texts=texts,
        alpha=alpha.to(space.device).repeat_interleave(options.restarts),
        penalty=options.penalty,
    )


def _complete(
    scorer: OutfitTransformer, task: RelaxedTask, points: Tensor, options: GradientConfig
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Items, relaxed S, distance moved and slope of one group of outfits."""
    sets, k, _ = points.shape
    every = np.arange(sets)
    chosen = np.empty((sets, k), dtype=np.int64)
    left = np.tile(np.arange(k), (sets, 1))  # the conditions of the embeddings that are still free
    moved, stages, now = np.zeros(sets), _stages(options, k), task
    optimum = first = _ascend_padded(scorer, now, points, stages[0], options)
    steepest = first.lipschitz
    for steps in stages[1:]:
        nearest, distances, apart = _project(optimum.points, now, options.projection)
        fixed = distances.argmin(axis=1)
        item = nearest[every, fixed]
        chosen[every, left[every, fixed]] = item
        moved += apart[every, fixed]
        free = np.arange(left.shape[1])[None] != fixed[:, None]
        left = left[free].reshape(sets, -1)
        now, points = _fixed(scorer, now, optimum.points, item, free)
        optimum = _ascend_padded(scorer, now, points, steps, options)
        steepest = torch.maximum(steepest, optimum.lipschitz)
    # Only the restarts that answer need projection.
    rows = _best_restarts(optimum.objectives, options.restarts) if options.choose == "relaxed" else every
    index = torch.from_numpy(rows).to(points.device)
    chosen[rows[:, None], left[rows]], _, apart = _project(optimum.points[index], now.take(index), options.projection)
    moved[rows] += apart.sum(axis=1)
    if options.choose == "projected":
        rows = _best_restarts(_real_objectives(scorer, task, chosen, options), options.restarts)
    lipschitz = steepest.view(-1, options.restarts).amax(dim=1)
    return chosen[rows], first.scores.cpu().numpy()[rows], moved[rows], lipschitz.cpu().numpy()


def _best_restarts(objectives: Tensor, restarts: int) -> NDArray[np.int64]:
    """Row of every outfit's best restart, the first of equal ones, among objectives ``[b · restarts]``."""
    best: NDArray[np.int64] = objectives.cpu().numpy().reshape(-1, restarts).argmax(axis=1)
    return np.arange(len(best)) * restarts + best


def _project(
    points: Tensor, task: RelaxedTask, distance: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Nearest items, their distances, and their Euclidean distances, each ``[m, k]``."""
    chosen, distances = project(points, task.space, task.feasible.cpu().numpy(), distance)
    items = task.space.vectors[torch.from_numpy(chosen).to(points.device)]
    return chosen, distances, (points - items).double().norm(dim=2).cpu().numpy()


def _ascend_padded(
    scorer: OutfitTransformer, task: RelaxedTask, points: Tensor, steps: int, options: GradientConfig
) -> RelaxedOptimum:
    """:func:`ascend` in a group of the fixed size, filled up with copies of the last set."""
    restarts, slot = options.restarts, _rounded(options.restarts)
    outfits = len(points) // restarts
    size = len(next(_groups(2**20, restarts, points.device)))
    outfit = np.minimum(np.arange(size), outfits - 1)
    rows = outfit[:, None] * restarts + np.minimum(np.arange(slot), restarts - 1)  # [size, slot]
    back = np.arange(outfits)[:, None] * slot + np.arange(restarts)
    filled = torch.from_numpy(rows.reshape(-1)).to(points.device)
    optimum = ascend(scorer, task.take(filled), points[filled], steps, options.lr)
    return optimum.take(torch.from_numpy(back.reshape(-1)).to(points.device))


def _fixed(
    scorer: OutfitTransformer, task: RelaxedTask, points: Tensor, item: NDArray[np.int64], free: NDArray[np.bool_]
) -> tuple[RelaxedTask, Tensor]:
    """The task and the free embeddings after fixing one more real item, shape ``[sets]``, in every set."""
    space, sets = task.space, len(points)
    kept = torch.from_numpy(free).to(points.device)
    feasible = task.feasible[kept].view(sets, -1, task.feasible.shape[2])
    feasible[torch.arange(sets), :, torch.from_numpy(space.categories[item])] = False
    tokens = _item_tokens(scorer, space, item[:, None])
    texts = None if task.texts is None else task.texts[kept].view(sets, -1, task.texts.shape[2])
    task = RelaxedTask(torch.cat([task.given, tokens], dim=1), space, feasible, texts, task.alpha, task.penalty)
    return task, points[kept].view(sets, -1, points.shape[2])


def _item_tokens(scorer: OutfitTransformer, space: ItemSpace, items: NDArray[np.int64]) -> Tensor:
    """Tokens ``[m, j, width]`` of catalogue items ``[m, j]``; one row per product, for the same bits in any batch."""
    with torch.no_grad(), torch.inference_mode(False):
        rows = torch.from_numpy(items).to(space.device)
        return torch.stack([scorer.tokens(space.vectors[row], space.present[row]) for row in rows])


def _real_objectives(
    scorer: OutfitTransformer, task: RelaxedTask, chosen: NDArray[np.int64], options: GradientConfig
) -> Tensor:
    """The objective of real items ``[sets, k]``, float64, shape ``[sets]``; one outfit per forward pass."""
    tokens = torch.cat([task.given, _item_tokens(scorer, task.space, np.sort(chosen, axis=1))], dim=1)
    with torch.no_grad():
        logits = torch.cat([scorer.forward_tokens(part) for part in torch.split(tokens, options.restarts)])
        objectives = task.alpha * torch.sigmoid(logits.double())
        if task.texts is not None:
            rows = torch.from_numpy(chosen).to(task.space.device)
            vectors, present = task.space.vectors[rows], task.space.present[rows]
            similarity = text_similarity(vectors, present, task.texts, task.space).double().sum(dim=1)
            objectives = objectives + (1 - task.alpha) * similarity
    return objectives


def _starts(
    space: ItemSpace, feasible: NDArray[np.bool_], options: GradientConfig, key: list[int]
) -> NDArray[np.float32]:
    """Starting points ``[restarts, k, d]``, seeded by restart, so that more restarts extend fewer."""
    starts = []
    for restart in range(options.restarts):
        rng = np.random.default_rng([*key, restart])
        if options.start == "random":
            normal = rng.normal(size=(len(feasible), len(space.mean))).astype(np.float32)
            starts.append(space.mean + space.std * normal)
        else:
            starts.append(_real_items(space, feasible, rng))
    return np.stack(starts)


def _real_items(space: ItemSpace, feasible: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random items of different feasible categories, shape ``[k, d]``, common categories being drawn more often."""
    # Gumbel noise on log counts draws categories by their counts; the assignment makes them distinct.
    weight = np.log(np.maximum(space.counts, 1)) + rng.gumbel(size=feasible.shape)
    _, drawn = linear_sum_assignment(np.where(feasible, weight, -np.inf), maximize=True)
    items = torch.tensor([int(rng.choice(np.flatnonzero(space.categories == category))) for category in drawn])
    items = items.to(space.device)
    vectors = space.vectors[items].cpu().numpy().copy()
    for number, part in enumerate((slice(0, space.image_dim), slice(space.image_dim, None))):
        missing = ~space.present[items, number].cpu().numpy()
        vectors[missing, part] = space.mean[part]  # free embeddings have both parts: a missing part starts at the mean
    return vectors
