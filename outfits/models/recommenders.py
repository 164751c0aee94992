"""Peers of HFGN: what ranks outfits for users by less, or by another graph.

All give users and outfits as rows of two matrices, sparse ones where that is smaller, whose inner products are the
users' preferences.
"""

from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, diags, hstack
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import LightGCN

from outfits.config.schema.personal import PersonalConfig
from outfits.graphs.user_graph import IN, LIKED_BY, likes_of, members_of, owned_items

CATEGORY_WEIGHT = 0.01  # of categories beside items, so that they decide among outfits of equal items
SMOOTHING = 0.01  # added to a category's share


class Recommender(Protocol):
    """Ranks outfits for users. One that has parameters is a torch module, trained by ``training_scores``."""

    def vectors(self, graph: HeteroData) -> tuple[Any, Any]:
        """Users ``[U, d]`` and outfits ``[M, d]`` of the graph, tensors or sparse matrices."""

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> Any:
        """Other sets of items ``[m, d]``, as of :func:`outfits.graphs.user_graph.sets_graph`."""

    def training_scores(self, graph: HeteroData, users: Tensor, outfits: Tensor) -> Tensor:
        """Preferences ``[B, c]`` of users ``[B]`` for outfits ``[c]``, of which the first B are liked ones."""


class Popularity:
    """Prefers what most users like in training; an outfit without likes has no preference."""

    def __init__(self, graph: HeteroData, config: PersonalConfig) -> None:
        liked = torch.bincount(graph[LIKED_BY].edge_index[0], minlength=len(graph["outfit"].number))
        self.likes = liked[:, None].float()

    def vectors(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """One column: 1, and the number of likes."""
        return torch.ones(graph["user"].num_nodes, 1), self.likes

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> Tensor:
        """Zeros: they have no likes."""
        return torch.zeros(len(sets["outfit"].number), 1)


class Owned:
    """Prefers items that stand in outfits that the user likes in training, each divided by the number of such users."""

    def __init__(self, graph: HeteroData, config: PersonalConfig) -> None:
        owned = owned_items(graph)
        self.users = csr_matrix(owned @ diags(1 / np.maximum(np.asarray(owned.sum(0)).ravel(), 1)))

    def vectors(self, graph: HeteroData) -> tuple[csr_matrix, csr_matrix]:
        """A column for every item."""
        return self.users, self.set_vectors(graph, graph)

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> csr_matrix:
        """1 where a set has an item."""
        return members_of(sets, len(graph["item"].category))


class Content:
    r"""Prefers items that a user has or that stand beside such items in training outfits, then the user's categories.

    Items count by :math:`D^{-1/2} (D^{-1/2} M^\top M D^{-1/2}) D^{-1/2}` from the user's items, M the training outfits
    and D how often items occur in them; categories by the logarithm of the user's share over that of all users.
    """

    def __init__(self, graph: HeteroData, config: PersonalConfig) -> None:
        items, liked = members_of(graph, len(graph["item"].category)), likes_of(graph)
        training = items[np.unique(liked.indices)]
        scale = diags(1 / np.sqrt(np.maximum(np.asarray(training.sum(0)).ravel(), 1)))
        beside = scale @ scale @ (training.T @ training) @ scale @ scale
        share = (liked @ _categories(graph, items)).toarray()
        share /= np.maximum(share.sum(1, keepdims=True), 1)
        taste = np.log((share + SMOOTHING) / (share.mean(0) + SMOOTHING))
        self.users = csr_matrix(hstack([owned_items(graph) @ beside, CATEGORY_WEIGHT * taste]))
        self.outfits = _with_categories(graph, items)

    def vectors(self, graph: HeteroData) -> tuple[csr_matrix, csr_matrix]:
        """A column for every item and every category."""
        return self.users, self.outfits

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> csr_matrix:
        """Numbers of items and categories."""
        return _with_categories(graph, members_of(sets, len(graph["item"].category)))


class InnerProduct(nn.Module):
    """Trains the inner products of its vectors; every peer that learns is one."""

    def vectors(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """See :class:`Recommender`."""
        raise NotImplementedError

    def training_scores(self, graph: HeteroData, users: Tensor, outfits: Tensor) -> Tensor:
        """See :class:`Recommender`."""
        of_users, of_outfits = self.vectors(graph)
        return of_users[users] @ of_outfits[outfits].T


class MatrixFactorisation(InnerProduct):
    """Gives every user a vector, and every outfit one of its own or the mean of those of its items."""

    def __init__(self, graph: HeteroData, dim: int, of_items: bool) -> None:
        super().__init__()
        self.users = _embedding(graph["user"].num_nodes, dim)
        self.rows = _embedding(len(graph["item"].category if of_items else graph["outfit"].number), dim)
        self.of_items = of_items

    def vectors(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """See :class:`Recommender`."""
        return self.users.weight, self.set_vectors(graph, graph) if self.of_items else self.rows.weight

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> Tensor:
        """Means of the items' vectors; zeros where outfits have vectors of their own."""
        if self.of_items:
            return _mean(self.rows.weight, sets)
        return self.rows.weight.new_zeros(len(sets["outfit"].number), self.rows.embedding_dim)


class LightGcn(InnerProduct):
    """LightGCN (He et al. 2020), PyG's, on users and outfits, and with ``of_items`` on their items too."""

    def __init__(self, graph: HeteroData, dim: int, layers: int, of_items: bool) -> None:
        super().__init__()
        outfits, users = graph[LIKED_BY].edge_index
        self.counts = [graph["user"].num_nodes, len(graph["outfit"].number)]
        edges = torch.stack([users, outfits + self.counts[0]])
        if of_items:
            members, number = graph[IN].edge_index
            items = graph["member"].item[members] + sum(self.counts)
            edges = torch.cat([edges, torch.stack([number + self.counts[0], items])], dim=1)
            self.counts.append(len(graph["item"].category))
        self.register_buffer("edges", torch.cat([edges, edges.flip(0)], dim=1), persistent=False)
        self.network = LightGCN(sum(self.counts), dim, layers)
        nn.init.normal_(self.network.embedding.weight, std=0.1)

    def vectors(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """See :class:`Recommender`."""
        users, outfits, *_ = self.network.get_embedding(self.edges).split(self.counts)
        return users, outfits

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> Tensor:
        """Means of the items' vectors; zeros where items are no nodes."""
        _, outfits, *items = self.network.get_embedding(self.edges).split(self.counts)
        return _mean(items[0], sets) if items else outfits.new_zeros(len(sets["outfit"].number), outfits.shape[1])


def build_matrix_factorisation(graph: HeteroData, config: PersonalConfig) -> MatrixFactorisation:
    """Factorises the matrix of users and outfits."""
    return MatrixFactorisation(graph, config.dim, of_items=False)


def build_item_factorisation(graph: HeteroData, config: PersonalConfig) -> MatrixFactorisation:
    """Factorises users and the items of outfits."""
    return MatrixFactorisation(graph, config.dim, of_items=True)


def build_light_gcn(graph: HeteroData, config: PersonalConfig) -> LightGcn:
    """Builds LightGCN on users and outfits."""
    return LightGcn(graph, config.dim, config.layers, of_items=False)


def build_item_light_gcn(graph: HeteroData, config: PersonalConfig) -> LightGcn:
    """Builds LightGCN on users, outfits and items."""
    return LightGcn(graph, config.dim, config.layers, of_items=True)


def _embedding(rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=0.1)
    return table


def _mean(items: Tensor, sets: HeteroData) -> Tensor:
    """Means of item vectors ``[N, d]`` over sets, shape ``[m, d]``."""
    members, number = sets[IN].edge_index
    count = len(sets["outfit"].number)
    sums = items.new_zeros(count, items.shape[1]).index_add(0, number, items[sets["member"].item[members]])
    return sums / torch.bincount(number, minlength=count)[:, None]


def _categories(graph: HeteroData, items: csr_matrix) -> csr_matrix:
    """Number of items of each category, sparse, shape ``[m, C]``, from their members."""
    category = graph["item"].category.numpy()
    return items @ csr_matrix(coo_matrix((np.ones(len(category)), (np.arange(len(category)), category))))


def _with_categories(graph: HeteroData, items: csr_matrix) -> csr_matrix:
    return csr_matrix(hstack([items, _categories(graph, items)]))
