"""Users, outfits and items as one PyG graph, for recommending outfits to users.

An item stands in several outfits and is something else in each: a node *member* is an item in one outfit.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds
from torch import Tensor
from torch_geometric.data import HeteroData

from outfits.data.catalogue import Catalogue
from outfits.data.outfits import Outfits
from outfits.data.users import UserOutfits

IN, BESIDE = ("member", "in", "outfit"), ("member", "beside", "member")
LIKED_BY = ("outfit", "liked_by", "user")
NO_ID = -1


def category_weights(categories: NDArray[np.integer], outfits: Outfits, num_categories: int) -> Tensor:
    """How strongly categories go together, shape ``[C, C]``, rows sum to 1 (or are 0).

    Counts of pairs of items in one outfit, divided by the sums of the columns, then by those of the rows, as HFGN does.
    """
    first, second = _pairs(outfits.offsets)
    counts = np.zeros((num_categories, num_categories))
    np.add.at(counts, (categories[outfits.items[first]], categories[outfits.items[second]]), 1)
    for axis in (0, 1):
        sums = counts.sum(axis, keepdims=True)
        counts = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    return torch.from_numpy(counts.astype(np.float32))


def sets_graph(sets: Sequence[NDArray[np.integer]], categories: NDArray[np.integer], weights: Tensor) -> HeteroData:
    """Sets of items as a graph of members and outfits.

    Args:
        sets: positions of the items of every set, none of them empty.
        categories: category of every item, shape ``[N]``.
        weights: :func:`category_weights`.
    """
    offsets = np.cumsum([0, *map(len, sets)])
    items = np.concatenate([np.asarray(one, dtype=np.int64) for one in sets])
    first, second = (torch.from_numpy(side) for side in _pairs(offsets))
    of_member = torch.from_numpy(categories[items].astype(np.int64))
    graph = HeteroData()
    graph["member"].item = torch.from_numpy(items)
    graph["outfit"].num_nodes = len(sets)
    graph["outfit"].number = torch.full((len(sets),), NO_ID)
    graph[IN].edge_index = torch.stack(
        [torch.arange(len(items)), torch.repeat_interleave(torch.from_numpy(np.diff(offsets)))]
    )
    graph[BESIDE].edge_index = torch.stack([second, first])  # from the other item to this one
    graph[BESIDE].weight = weights[of_member[first], of_member[second]]
    return graph


def user_graph(catalogue: Catalogue, outfits: Outfits, users: UserOutfits) -> HeteroData:
    """All outfits, with edges to the users who like them in training, and the weights of pairs of categories.

    ``outfit.number`` is an outfit's position. Without embeddings of the catalogue items have categories alone.
    """
    training = outfits.take(np.unique(users.pairs("train")[1]))
    weights = category_weights(catalogue.categories, training, len(catalogue.category_names))
    graph = sets_graph(list(outfits), catalogue.categories, weights)
    graph.category_weights = weights
    graph["outfit"].number = torch.arange(len(outfits))
    graph["item"].category = torch.from_numpy(catalogue.categories.astype(np.int64))
    if catalogue.embeddings is not None:
        graph["item"].vectors = torch.from_numpy(np.array(catalogue.embeddings.vectors))
    edges = torch.from_numpy(users.pairs("train"))
    graph["user"].num_nodes = len(users)
    graph[LIKED_BY].edge_index = edges.flip(0)
    graph[LIKED_BY].weight = like_weights(edges[0], len(users))
    return graph


def members_of(sets: HeteroData, items: int) -> csr_matrix:
    """1 where a set has an item, sparse, shape ``[m, N]``, N being the number of items."""
    members, number = sets[IN].edge_index.cpu().numpy()
    rows = sets["member"].item.cpu().numpy()[members]
    return csr_matrix((np.ones(len(members)), (number, rows)), (len(sets["outfit"].number), items))


def likes_of(graph: HeteroData) -> csr_matrix:
    """1 where a user likes an outfit in training, sparse, shape ``[U, M]``."""
    outfits, users = graph[LIKED_BY].edge_index.cpu().numpy()
    return csr_matrix((np.ones(len(users)), (users, outfits)), (graph["user"].num_nodes, len(graph["outfit"].number)))


def owned_items(graph: HeteroData) -> csr_matrix:
    """1 where an outfit that a user likes in training has an item, sparse, shape ``[U, N]``."""
    owned = likes_of(graph) @ members_of(graph, len(graph["item"].category))
    owned.data[:] = 1
    return csr_matrix(owned)


def spectral_vectors(graph: HeteroData, dim: int) -> tuple[Tensor, Tensor]:
    r"""Vectors of users ``[U, dim]``, of unit length, and of items ``[N, dim]``: singular vectors of who has what.

    They are those of :math:`D_U^{-1/2} A D_N^{-1/2}`, A of :func:`owned_items`, the items' divided by
    :math:`D_N^{1/2}`, so that rare items count more. Missing columns of a small matrix are 0.
    """
    owned = owned_items(graph)
    of_users, of_items = (diags(1 / np.sqrt(np.maximum(np.asarray(owned.sum(axis)).ravel(), 1))) for axis in (1, 0))
    scaled = of_users @ owned @ of_items
    rank = min(dim, min(owned.shape) - 1)
    if rank:
        start = np.random.default_rng(0).standard_normal(min(owned.shape))
        left, _, right = svds(scaled, k=rank, v0=start)
    else:  # one user or one item, for whom the sparse solver has no vector
        rank = 1
        left, _, right = np.linalg.svd(scaled.toarray(), full_matrices=False)
    users, items = np.zeros((owned.shape[0], dim)), np.zeros((owned.shape[1], dim))
    users[:, :rank], items[:, :rank] = left, of_items @ right.T
    users /= np.maximum(np.linalg.norm(users, axis=1, keepdims=True), 1e-12)
    items /= np.maximum(np.sqrt((items**2).sum(1).mean()), 1e-12)
    return torch.from_numpy(users.astype(np.float32)), torch.from_numpy(items.astype(np.float32))


def like_weights(users: Tensor, count: int) -> Tensor:
    r"""Weights :math:`d_u^{-1/2}` of the edges to users, given as the user of each ``[E]``."""
    return torch.bincount(users, minlength=count)[users].float().rsqrt()


def _pairs(offsets: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ordered pairs of different members of one outfit, as positions among all members."""
    sizes = np.diff(offsets)
    first = np.repeat(np.arange(offsets[-1]), np.repeat(sizes, sizes))
    starts = np.repeat(np.repeat(offsets[:-1], sizes), np.repeat(sizes, sizes))
    ends = np.cumsum(np.repeat(sizes, sizes))
    second = starts + np.arange(len(first)) - np.repeat(ends - np.repeat(sizes, sizes), np.repeat(sizes, sizes))
    other = first != second
    return first[other], second[other].astype(np.int64)
