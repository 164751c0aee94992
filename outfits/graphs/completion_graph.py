"""Outfit graphs: the complete directed graph over the given items of a completion task."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch_geometric.data import Data

from outfits.data.catalogue import Catalogue


def complete_edges(nodes: int) -> torch.Tensor:
    """All ordered pairs of different nodes, int64, shape ``[2, nodes · (nodes - 1)]``."""
    source, target = torch.meshgrid(torch.arange(nodes), torch.arange(nodes), indexing="ij")
    edges = torch.stack([source.flatten(), target.flatten()])
    return edges[:, edges[0] != edges[1]]


@dataclass(frozen=True)
class GraphTargets:
    """What greedy search selected for the tasks of a :class:`CompletionGraphs`, task by task.

    Attributes:
        chosen: int32, shape ``[T, k]``, catalogue positions in the order of selection.
        candidates: int32, shape ``[T, k, M]``, best candidates of every step, ``-1`` where there were fewer.
        candidate_scores: float32, shape ``[T, k, M]``, their logits under S.
        scores: float64, shape ``[T]``, logit of the completed outfit.
    """

    chosen: NDArray[np.int32]
    candidates: NDArray[np.int32]
    candidate_scores: NDArray[np.float32]
    scores: NDArray[np.float64]


def completion_graph(
    catalogue: Catalogue,
    given: NDArray[np.int32],
    removed: NDArray[np.int32],
    task_id: int,
    targets: GraphTargets | None = None,
) -> Data:
    """The graph of one completion task.

    Args:
        catalogue: items with embeddings.
        given: catalogue positions of the given items, shape ``[n]``.
        removed: catalogue positions of the removed items, shape ``[k]``.
        task_id: position of the task, kept through batching and gathering.
        targets: greedy targets, of which row ``task_id`` is attached.

    Returns:
        ``x [n, d]``, ``present [n, 2]``, ``category [n]``, ``item_id [n]``, ``edge_index [2, n(n-1)]``,
        ``removed_id [1, k]``, ``task_id [1]``; with targets also ``target_id [1, k]``, ``target_score [1]``,
        ``candidate_id [1, k, M]`` and ``candidate_score [1, k, M]``.
    """
    features = catalogue.features
    data = Data(
        x=torch.from_numpy(np.array(features.vectors[given])),
        present=torch.from_numpy(np.array(features.present[given])),
        category=torch.from_numpy(catalogue.categories[given].astype(np.int64)),
        item_id=torch.from_numpy(given.astype(np.int64)),
        edge_index=complete_edges(len(given)),
        removed_id=torch.from_numpy(removed.astype(np.int64))[None],
        task_id=torch.tensor([task_id]),
    )
    if targets is not None:
        data.target_id = torch.from_numpy(targets.chosen[task_id].astype(np.int64))[None]
        data.target_score = torch.tensor([targets.scores[task_id]], dtype=torch.float64)
        data.candidate_id = torch.from_numpy(targets.candidates[task_id].astype(np.int64))[None]
        data.candidate_score = torch.from_numpy(np.array(targets.candidate_scores[task_id]))[None]
    return data


class CompletionGraphs(Dataset[Data]):
    """Completion tasks as graphs, made when they are asked for.

    Args:
        catalogue: items with embeddings.
        given: catalogue positions of the given items of every task.
        removed: catalogue positions of the removed items, shape ``[T, k]``.
        targets: greedy targets of the same tasks.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        given: list[NDArray[np.int32]],
        removed: NDArray[np.int32],
        targets: GraphTargets | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.given = given
        self.removed = removed
        self.targets = targets

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int | tuple[int, int]) -> Data:
        position = index[1] if isinstance(index, tuple) else index
        return completion_graph(self.catalogue, self.given[position], self.removed[position], position, self.targets)
