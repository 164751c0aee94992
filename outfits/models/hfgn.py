"""HFGN, the hierarchical fashion graph network (Li et al. 2020): items make outfits, outfits make users."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroLinear, MessagePassing, SimpleConv

from outfits.config.schema.personal import HfgnArchitecture, PersonalConfig
from outfits.graphs.user_graph import BESIDE, IN, LIKED_BY, spectral_vectors
from outfits.weights import Network

SLOPE = 0.2  # of the leaky ReLUs
START = 0.3  # scale of vectors from singular vectors


class CategoryExchange(MessagePassing):  # type: ignore[misc]
    r"""Lets the items of an outfit exchange what they are, category by category.

    :math:`x'_i = \sigma(W [(\sum_j A_{c_i c_j} x_j) \odot x_i] + b) + \sigma(W_0 x_i + b_0)` with j over the outfit's
    other items, A the weights of pairs of categories and :math:`\sigma` a leaky ReLU.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(aggr="sum")
        self.exchanged = nn.Linear(dim, dim)
        self.own = nn.Linear(dim, dim)

    def forward(self, x: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        """Members ``[m, d]`` with edges from the other items, ``[2, e]``, and their weights ``[e]``."""
        others = self.propagate(edges, x=x, weight=weight)
        return F.leaky_relu(self.exchanged(others * x), SLOPE) + F.leaky_relu(self.own(x), SLOPE)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """A neighbour times the weight of the pair of categories."""
        return weight[:, None] * x_j


class Hfgn(Network[HfgnArchitecture]):
    r"""Represents outfits by their items and users by their outfits; a user's preference is their inner product.

    :math:`f(O) = \hat\sigma(W_o \sum_{i \in O} x'_i) + e_O`, :math:`u = \hat\sigma(W_u \sum_O d_u^{-1/2} f(O)) + e_u`
    with :math:`\hat\sigma` a leaky ReLU scaled to unit length and x' of :class:`CategoryExchange`. The vectors e are
    those of single outfits and users, as far as the architecture has them; new ones have none.

    Args:
        config: the architecture.
        items, outfits, users, categories: their numbers.
        embedding_dim: width of the items' embeddings; 0: none.
    """

    def __init__(
        self, config: HfgnArchitecture, items: int, outfits: int, users: int, categories: int, embedding_dim: int
    ) -> None:
        super().__init__(
            HfgnArchitecture,
            config,
            items=items,
            outfits=outfits,
            users=users,
            categories=categories,
            embedding_dim=embedding_dim,
        )
        dim = config.dim
        self.category = nn.Embedding(categories, dim)
        self.item = nn.Embedding(items, dim) if config.item_ids else None
        self.outfit = nn.Embedding(outfits, dim) if config.outfit_ids else None
        self.user = nn.Embedding(users, dim) if config.user_ids else None
        for table in (self.category, self.item, self.outfit, self.user):
            if table is not None:
                nn.init.normal_(table.weight, std=0.1)
        self.hidden = HeteroLinear(embedding_dim, config.hidden, categories) if embedding_dim else None
        self.encoded = HeteroLinear(config.hidden, dim, categories) if embedding_dim else None
        self.exchange = CategoryExchange(dim)
        self.collect = SimpleConv(aggr="sum")
        self.to_outfit = nn.Linear(dim, dim)
        self.to_user = nn.Linear(dim, dim)
        self.attention = _head(dim, config.views)
        self.score = _head(dim, config.views)
        self.dropout = nn.Dropout(config.dropout)

    @torch.no_grad()
    def begin_from(self, users: Tensor, items: Tensor) -> None:
        """Starts where outfits are sums of their items, and users what they are given as.

        Vectors of users ``[U, d]`` and items ``[N, d]`` are set, linear maps become the identity, and what items
        tell each other and their categories begin small.
        """
        for table, values in ((self.user, users), (self.item, START * items)):
            if table is not None:
                table.weight.copy_(values)
        self.category.weight.mul_(START)
        self.exchange.exchanged.weight.mul_(START)
        for linear in (self.exchange.own, self.to_outfit, self.to_user):
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)

    def item_states(self, category: Tensor, number: Tensor | None, vectors: Tensor | None) -> Tensor:
        """What items are before they meet others, shape ``[N, d]``.

        Args:
            category: their categories, shape ``[N]``.
            number: their positions in the catalogue; None: external items, which have no vectors of their own.
            vectors: their embeddings, shape ``[N, embedding_dim]``; None without any.
        """
        state = self.category(category)
        if self.item is not None and number is not None:
            state = state + self.item(number)
        if self.hidden is not None and self.encoded is not None and vectors is not None:
            hidden = F.leaky_relu(self.hidden(self.dropout(vectors), category), SLOPE)
            state = state + F.leaky_relu(self.encoded(self.dropout(hidden), category), SLOPE)
        found: Tensor = self.dropout(state)
        return found

    def items(self, graph: HeteroData) -> Tensor:
        """States of the catalogue's items, see :meth:`item_states`."""
        category = graph["item"].category
        return self.item_states(
            category, torch.arange(len(category), device=category.device), graph["item"].get("vectors")
        )

    def members(self, items: Tensor, graph: HeteroData) -> Tensor:
        """Items within their outfits, shape ``[m, d]``, from :meth:`items`."""
        found: Tensor = self.exchange(items[graph["member"].item], graph[BESIDE].edge_index, graph[BESIDE].weight)
        return found

    def outfits(self, members: Tensor, graph: HeteroData) -> Tensor:
        """f(O) of the graph's outfits, shape ``[M, d]``, from :meth:`members`."""
        number = graph["outfit"].number
        found = _unit(self.to_outfit(_sum(self.collect, members, graph[IN].edge_index, len(number))))
        if self.outfit is not None:
            found = found + self.outfit(number.clamp(min=0)) * (number >= 0)[:, None]
        return found

    def histories(self, outfits: Tensor, edges: Tensor, weight: Tensor, count: int) -> Tensor:
        """Weighted sums of liked outfits ``[U, d]`` from f(O) ``[M, d]`` and edges from outfits to users ``[2, E]``."""
        return _sum(self.collect, outfits, edges, count, weight)

    def users(self, histories: Tensor, number: Tensor | None = None) -> Tensor:
        """Users ``[B, d]`` from :meth:`histories` and, of known users, their positions ``[B]``."""
        found = _unit(self.to_user(histories))
        return found if self.user is None or number is None else found + self.user(number)

    def compatibility(self, members: Tensor, graph: HeteroData) -> Tensor:
        r"""Compatibility of the graph's outfits, shape ``[M]``.

        The mean over an outfit's items of :math:`\sum_r a_r(x') \tanh(s_r(x'))`, the attention a being a softmax over
        the R views.
        """
        of_item = (self.attention(members).softmax(-1) * self.score(members).tanh()).sum(-1, keepdim=True)
        edges, count = graph[IN].edge_index, len(graph["outfit"].number)
        sizes = torch.bincount(edges[1], minlength=count)
        return _sum(self.collect, of_item, edges, count)[:, 0] / sizes

    def vectors(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """See :class:`outfits.models.recommenders.Recommender`."""
        outfits = self.outfits(self.members(self.items(graph), graph), graph)
        histories = self.histories(outfits, graph[LIKED_BY].edge_index, graph[LIKED_BY].weight, graph["user"].num_nodes)
        return self.users(histories, torch.arange(len(histories), device=histories.device)), outfits

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> Tensor:
        """See :class:`outfits.models.recommenders.Recommender`."""
        return self.outfits(self.members(self.items(graph), sets), sets)

    def training_scores(self, graph: HeteroData, users: Tensor, outfits: Tensor) -> Tensor:
        """See :class:`outfits.models.recommenders.Recommender`.

        Where the architecture says so, the liked outfit is left out of the history: in it, it would find itself, as no
        new outfit can.
        """
        vectors = self.outfits(self.members(self.items(graph), graph), graph)
        edges, weight = graph[LIKED_BY].edge_index, graph[LIKED_BY].weight
        histories = self.histories(vectors, edges, weight, graph["user"].num_nodes)[users]
        if self.config.leave_one_out:
            own = torch.bincount(edges[1], minlength=graph["user"].num_nodes)[users].float().rsqrt()
            histories = histories - own[:, None] * vectors[outfits[: len(users)]]
        return self.users(histories, users) @ vectors[outfits].T


def build_hfgn(graph: HeteroData, config: PersonalConfig) -> Hfgn:
    """Builds HFGN for the nodes of a graph."""
    model = Hfgn(
        config,
        items=len(graph["item"].category),
        outfits=len(graph["outfit"].number),
        users=graph["user"].num_nodes,
        categories=len(graph.category_weights),
        embedding_dim=graph["item"].vectors.shape[1] if "vectors" in graph["item"] else 0,
    )
    if not config.compatibility_weight:
        for head in (model.attention, model.score):
            head.requires_grad_(False)  # several ranks wait for gradients of all that has some
    if config.start == "spectral" and config.item_ids:
        model.begin_from(*spectral_vectors(graph, config.dim))
    return model


def _head(dim: int, views: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim, bias=False), nn.LeakyReLU(SLOPE), nn.Linear(dim, views, bias=False))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(F.leaky_relu(x, SLOPE), dim=-1)


def _sum(collect: SimpleConv, x: Tensor, edges: Tensor, count: int, weight: Tensor | None = None) -> Tensor:
    found: Tensor = collect((x, None), edges, edge_weight=weight, size=(len(x), count))
    return found
