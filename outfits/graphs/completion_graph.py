"""Builds outfit graphs: the complete directed graph over a task's given items, with conditions and targets."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch_geometric.data import Data

from outfits.data.catalogue import Catalogue

ConditionArrays = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""Allowed categories ``[…, k, C]`` and texts ``[…, k, text_dim]`` of missing items."""

PREFIX_STREAM = 31  # first number of seeds, so that no two streams coincide

# Values for a missing item without condition and target.
LACKING = {
    "condition_categories": True,
    "condition_texts": 0.0,
    "target_id": -1,
    "candidate_id": -1,
    "candidate_score": 0.0,
}


def complete_edges(nodes: int) -> torch.Tensor:
    """Lists all ordered pairs of different nodes, int64, shape ``[2, nodes · (nodes - 1)]``."""
    return torch.from_numpy(_pairs(nodes).copy())


@cache
def _pairs(nodes: int) -> NDArray[np.int64]:
    """Caches the pairs of :func:`complete_edges`, which take half of the time of building a graph."""
    source, target = np.divmod(np.arange(nodes * nodes), max(1, nodes))
    return np.stack([source, target])[:, source != target]


def completion_graph(
    vectors: NDArray[np.float32],
    present: NDArray[np.bool_],
    categories: NDArray[np.integer],
    *,
    conditions: ConditionArrays | None = None,
    item_ids: NDArray[np.integer] | None = None,
    removed: NDArray[np.integer] | None = None,
    task_id: int = 0,
) -> Data:
    """Builds the graph of one completion task; its items need not be in any catalogue.

    Sorts nodes by content, so that results do not depend on input order.

    Args:
        vectors: embeddings of the given items, shape ``[n, d]``.
        present: which parts they have, bool, shape ``[n, 2]``.
        categories: shape ``[n]``.
        conditions: allowed categories, bool ``[k, C]``, and texts, float32 ``[k, text_dim]``, of the missing items.
        item_ids: catalogue positions of the given items, shape ``[n]``.
        removed: catalogue positions of the removed items, shape ``[j]``.
        task_id: position of the task, kept through batching and gathering.

    Returns:
        ``x [n, d]``, ``present [n, 2]``, ``category [n]``, ``edge_index [2, n(n-1)]``, ``task_id [1]``; if given,
        ``condition_categories [1, k, C]``, ``condition_texts [1, k, text_dim]``, ``item_id [n]``,
        ``removed_id [1, j]``.
    """
    order = _canonical_order(vectors, present, categories)
    data = Data(
        x=torch.from_numpy(np.array(vectors[order])),
        present=torch.from_numpy(np.array(present[order])),
        category=torch.from_numpy(categories[order].astype(np.int64)),
        edge_index=complete_edges(len(order)),
        task_id=torch.tensor([task_id]),
    )
    if conditions is not None:
        allowed, texts = conditions
        data.condition_categories = torch.from_numpy(np.array(allowed))[None]
        data.condition_texts = torch.from_numpy(np.array(texts))[None]
    if item_ids is not None:
        data.item_id = torch.from_numpy(item_ids[order].astype(np.int64))
    if removed is not None:
        data.removed_id = torch.from_numpy(removed.astype(np.int64))[None]
    return data


def _canonical_order(
    vectors: NDArray[np.float32], present: NDArray[np.bool_], categories: NDArray[np.integer]
) -> list[int]:
    """Sorts items by the bytes of all their inputs to the network; returns their positions."""
    rows = zip(vectors, present, categories.tolist(), strict=True)
    keys = [(vector.tobytes(), parts.tobytes(), category) for vector, parts, category in rows]
    return sorted(range(len(keys)), key=keys.__getitem__)


@dataclass(frozen=True)
class GraphTargets:
    """Greedy targets of the tasks of :class:`CompletionGraphs`, task by task.

    Attributes:
        chosen: int32, shape ``[T, k]``, catalogue positions in the order of selection, ``-1`` after the last one.
        candidates: int32, shape ``[T, k, M]``, best candidates of every step, ``-1`` where there were fewer.
        candidate_scores: float32, shape ``[T, k, M]``, the step's objective, in units of S.
        scores: float64, shape ``[T]``, logit of the completed outfit.
    """

    chosen: NDArray[np.int32]
    candidates: NDArray[np.int32]
    candidate_scores: NDArray[np.float32]
    scores: NDArray[np.float64]


class CompletionGraphs(Dataset[Data]):
    """Completion tasks as graphs, built on access.

    With targets a graph also has ``target_id [1, k]``, ``target_score [1]``, ``candidate_id [1, k, M]`` and
    ``candidate_score [1, k, M]``.

    Args:
        catalogue: items with embeddings.
        given: catalogue positions of the given items of every task.
        removed: catalogue positions of the removed items, shape ``[T, j]``.
        targets: greedy targets of the same tasks; condition i belongs to target i.
        conditions: allowed categories, bool ``[T, k, C]``, and texts, float32 ``[T, k, text_dim]``.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        given: Sequence[NDArray[np.int32]],
        removed: NDArray[np.int32],
        targets: GraphTargets | None = None,
        conditions: ConditionArrays | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.given = given
        self.removed = removed
        self.targets = targets
        self.conditions = conditions

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int | tuple[int, int]) -> Data:
        return self.graph(index[1] if isinstance(index, tuple) else index)

    def graph(self, task: int, prefix: int = 0) -> Data:
        """Builds the graph of a task whose first ``prefix`` targets are given, so that the others are asked for."""
        features, given, conditions = self.catalogue.require_embeddings, self.given[task], self.conditions
        if self.targets is not None and prefix:
            given = np.concatenate([given, self.targets.chosen[task, :prefix]])
        data = completion_graph(
            features.vectors[given],
            features.present[given],
            self.catalogue.categories[given],
            conditions=None if conditions is None else (conditions[0][task, prefix:], conditions[1][task, prefix:]),
            item_ids=given,
            removed=self.removed[task],
            task_id=task,
        )
        if self.targets is not None:
            targets = self.targets
            data.target_id = torch.from_numpy(targets.chosen[task, prefix:].astype(np.int64))[None]
            data.target_score = torch.tensor([targets.scores[task]], dtype=torch.float64)
            data.candidate_id = torch.from_numpy(targets.candidates[task, prefix:].astype(np.int64))[None]
            data.candidate_score = torch.from_numpy(np.array(targets.candidate_scores[task, prefix:]))[None]
        return data


class TrainingGraphs(Dataset[Data]):
    """Tasks with and without conditions and with different numbers of targets, as graphs that fit into one batch.

    Every graph has conditions and targets for ``k_max`` missing items. A task's lacking conditions are empty (all
    categories allowed, a zero text) and its lacking targets ``-1``; they are added on access, not stored. Within one of
    ``parts`` all tasks are alike and have targets. In every epoch a share of the tasks, ``prefix_share``, have one or
    more of their first targets among the given items, drawn by ``seed``; an index without an epoch has epoch 0.
    """

    def __init__(self, parts: Sequence[CompletionGraphs], k_max: int, prefix_share: float = 0.0, seed: int = 0) -> None:
        self.parts = parts
        self.k_max = k_max
        self.prefix_share = prefix_share
        self.seed = seed
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int | tuple[int, int]) -> Data:
        epoch, position = index if isinstance(index, tuple) else (0, index)
        number = bisect_right(self._ends, position)
        part = self.parts[number]
        task = position - (self._ends[number] - len(part))
        data = part.graph(task, self._prefix(part, task, (epoch, position)))
        features = part.catalogue.require_embeddings
        if part.conditions is None:
            data.condition_categories = torch.ones(1, 0, len(part.catalogue.category_names), dtype=torch.bool)
            data.condition_texts = torch.zeros(1, 0, features.text_dim)
        for name, value in LACKING.items():
            tensor = data[name]
            places = [0, 0] * (tensor.dim() - 2) + [0, self.k_max - tensor.shape[1]]
            data[name] = F.pad(tensor, places, value=value)
        return data

    def _prefix(self, part: CompletionGraphs, task: int, place: tuple[int, int]) -> int:
        """Draws how many targets of a task are given, leaving at least one."""
        most = 0 if part.targets is None else int((part.targets.chosen[task] >= 0).sum()) - 1
        draw = np.random.default_rng([self.seed, PREFIX_STREAM, *place])
        return int(draw.integers(1, most + 1)) if most > 0 and draw.random() < self.prefix_share else 0
