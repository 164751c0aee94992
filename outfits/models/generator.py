"""The generator: from an outfit's graph to k latent embeddings in one pass."""

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import global_add_pool

from outfits.models.message_passing import OutfitMessagePassing
from outfits.models.tokens import ItemTokens


class GeneratorSettings(TypedDict):
    """What a :class:`Generator` is built from; stored beside its weights."""

    image_dim: int
    text_dim: int
    categories: int
    k: int
    width: int
    layers: int
    dropout: float
    aggregation: str
    readout: str
    retrieval: str
    retrieval_dim: int


def join_query_nodes(edge_index: Tensor, graph_of_node: Tensor, graphs: int, k: int) -> tuple[Tensor, Tensor]:
    """Joins k query nodes to every graph of a batch; the joined graphs are complete again.

    Args:
        edge_index: edges among the item nodes, shape ``[2, E]``.
        graph_of_node: graph of every item node, shape ``[V]``.
        graphs: number of graphs B.
        k: query nodes per graph.

    Returns:
        Edges over ``V + B·k`` nodes, query node j of graph b being node ``V + b·k + j``, and the graph of every node.
    """
    device = edge_index.device
    items = len(graph_of_node)
    item = torch.arange(items, device=device).repeat_interleave(k)
    query_of_item = items + (graph_of_node * k)[:, None] + torch.arange(k, device=device)  # [V, k]
    to_query = torch.stack([item, query_of_item.flatten()])
    first = items + torch.arange(graphs, device=device) * k
    one, other = torch.meshgrid(torch.arange(k, device=device), torch.arange(k, device=device), indexing="ij")
    pairs = torch.stack([one.flatten(), other.flatten()])
    pairs = pairs[:, pairs[0] != pairs[1]]  # [2, k(k-1)]
    among_queries = (first[None, :, None] + pairs[:, None, :]).flatten(1)
    edges = torch.cat([edge_index, to_query, to_query.flip(0), among_queries], dim=1)
    graph_of_query = torch.arange(graphs, device=device).repeat_interleave(k)
    return edges, torch.cat([graph_of_node, graph_of_query])


class Generator(nn.Module):
    r"""Emits k latents for the k missing items of an outfit, :math:`F_k(O) \in \mathbb{R}^{k \times r}`.

    Item nodes start from the items' tokens and their categories. With ``readout="queries"`` k learned query nodes are
    joined to the complete graph and their final states are read; with ``"pool"`` the item nodes' final states are
    summed and k heads read the sum. Latents live in the retrieval space: the item embedding itself
    (``retrieval="item"``) or a learned linear map of it (``"map"``), which the catalogue goes through before it is
    indexed.

    Args:
        image_dim: width of the items' image part.
        text_dim: width of the items' text part.
        categories: number of categories.
        k: number of missing items.
        width: width of the node states.
        layers: message-passing steps.
        dropout: dropout inside the message and update networks.
        aggregation: name of the aggregation of messages.
        readout: ``queries`` or ``pool``.
        retrieval: ``item`` or ``map``.
        retrieval_dim: width of the learned retrieval space.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        categories: int,
        k: int,
        width: int = 256,
        layers: int = 3,
        dropout: float = 0.1,
        aggregation: str = "sum",
        readout: str = "queries",
        retrieval: str = "map",
        retrieval_dim: int = 128,
    ) -> None:
        super().__init__()
        self.settings = GeneratorSettings(
            image_dim=image_dim,
            text_dim=text_dim,
            categories=categories,
            k=k,
            width=width,
            layers=layers,
            dropout=dropout,
            aggregation=aggregation,
            readout=readout,
            retrieval=retrieval,
            retrieval_dim=retrieval_dim,
        )
        self.k = k
        self.readout = readout
        dim = image_dim + text_dim
        latent_dim = retrieval_dim if retrieval == "map" else dim
        self.item_tokens = ItemTokens(image_dim, text_dim, width)
        self.category = nn.Embedding(categories, width)
        self.queries = nn.Parameter(torch.randn(k, width)) if readout == "queries" else None
        self.layers = nn.ModuleList(OutfitMessagePassing(width, aggregation, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        heads_out = latent_dim if readout == "queries" else k * latent_dim
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, heads_out))
        self.retrieval_map = nn.Linear(dim, retrieval_dim, bias=False) if retrieval == "map" else None

    def forward(self, batch: Batch) -> Tensor:
        """Latents of a batch of completion graphs (see :mod:`outfits.graphs.completion_graph`), shape ``[B, k, r]``."""
        h = self.item_tokens(batch.x, batch.present) + self.category(batch.category)  # [V, width]
        graph_of_node, edges, graphs = batch.batch, batch.edge_index, batch.num_graphs
        if self.queries is not None:
            edges, _ = join_query_nodes(edges, graph_of_node, graphs, self.k)
            h = torch.cat([h, self.queries.repeat(graphs, 1)])  # [V + B·k, width]
        edges = edges[:, edges[1].argsort(stable=True)]  # some aggregations want the edges sorted by receiver
        for layer in self.layers:
            h = layer(h, edges)
        if self.queries is not None:
            return self.head(self.norm(h[len(graph_of_node) :])).unflatten(0, (graphs, self.k))  # type: ignore[no-any-return]
        pooled = global_add_pool(h, graph_of_node, graphs)
        return self.head(self.norm(pooled)).unflatten(-1, (self.k, -1))  # type: ignore[no-any-return]

    def retrieval_vectors(self, vectors: Tensor) -> Tensor:
        """Catalogue vectors ``[..., d]`` in the retrieval space, normalised, shape ``[..., r]``."""
        mapped = vectors if self.retrieval_map is None else self.retrieval_map(vectors)
        return F.normalize(mapped, dim=-1)
