"""The generator: maps an outfit's graph and conditions for missing items to k latents in one pass."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool

from outfits.config.schema.model import GRAPH_LAYERS, GeneratorArchitecture
from outfits.data.catalogue import ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.tokens import ItemTokens
from outfits.weights import Network


def join_query_nodes(edge_index: Tensor, graph_of_node: Tensor, graphs: int, k: int) -> tuple[Tensor, Tensor]:
    """Joins k query nodes to every graph of a batch of B; the joined graphs are complete again.

    ``edge_index`` has shape ``[2, E]``, ``graph_of_node`` shape ``[V]``, both of the item nodes.

    Returns:
        Edges over ``V + B·k`` nodes, query node j of graph b being node ``V + b·k + j``, and the graph of every node.
    """
    device = edge_index.device
    items = graph_of_node.shape[0]
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


def canonical_order(allowed: Tensor, texts: Tensor) -> Tensor:
    """Sorts conditions lexicographically, so that results do not depend on their order.

    Args:
        allowed: categories that each missing item may have, bool, shape ``[B, k, C]``.
        texts: texts of conditions, shape ``[B, k, text_dim]``.

    Returns:
        The condition at every place of the order, int64, shape ``[B, k]``; equal conditions keep their order.
    """
    rows = torch.cat([allowed.to(texts.dtype), texts], dim=-1)  # [B, k, D]
    k = rows.shape[1]
    one, other = rows[:, :, None].expand(-1, -1, k, -1), rows[:, None].expand(-1, k, -1, -1)  # [B, k, k, D]
    first = (one != other).to(torch.uint8).argmax(-1, keepdim=True)  # first column that differs, 0 for equal rows
    difference = (one.gather(-1, first) - other.gather(-1, first)).squeeze(-1)  # [B, k, k]
    earlier = torch.ones(k, k, dtype=torch.bool, device=rows.device).tril(-1)  # whether other precedes one
    place: Tensor = ((difference > 0) | ((difference == 0) & earlier)).sum(-1)
    return place.argsort(-1)


class ConditionEncoder(nn.Module):
    """Encodes a missing item's condition as the sum of a vector of its categories and one of its text.

    Allowed categories are the mean of their embeddings. "Any category" and "no text" have learned vectors of their own,
    so that "no condition" differs from the mean of all categories and from a text of zeros.

    Shapes:
        allowed ``[B, k, C]`` bool, texts ``[B, k, text_dim]`` → ``[B, k, width]``.
    """

    def __init__(self, categories: int, text_dim: int, width: int) -> None:
        super().__init__()
        self.text_dim = text_dim
        self.category = nn.Embedding(categories, width)
        self.any_category = nn.Parameter(torch.randn(width) * 0.02)
        self.text = nn.Linear(text_dim, width) if text_dim else None
        if self.text is not None:
            nn.init.normal_(self.text.weight)  # texts have unit length: match the category embedding's scale
        # without a text encoder there is no text to lack, and DDP refuses parameters without a gradient
        self.no_text = nn.Parameter(torch.randn(width) * 0.02, requires_grad=text_dim > 0)

    def forward(self, allowed: Tensor, texts: Tensor) -> Tensor:
        """Encodes conditions, shapes as in the class; uses every parameter in any case."""
        share = allowed / allowed.sum(-1, keepdim=True)
        condition = torch.where(allowed.all(-1, keepdim=True), self.any_category, share @ self.category.weight)
        if self.text is not None:
            condition = condition + torch.where(texts.any(-1, keepdim=True), self.text(texts), self.no_text)
        return condition


class ScorerTokens(nn.Module):
    """S's tokens of items, layer-normalised. S's linear map stays as it is, and only the normalisation learns.

    Shapes:
        vectors ``[..., image_dim + text_dim]``, present ``[..., 2]`` bool → ``[..., token_width]``.
    """

    def __init__(self, image_dim: int, text_dim: int, token_width: int) -> None:
        super().__init__()
        self.projection = ItemTokens(image_dim, text_dim, token_width).requires_grad_(False)
        self.norm = nn.LayerNorm(token_width)

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Computes tokens of items; see the class for shapes."""
        tokens: Tensor = self.norm(self.projection(vectors, present))
        return tokens


class Generator(Network[GeneratorArchitecture]):
    r"""Emits k latents for the k missing items of an outfit, :math:`F_k(O) \in \mathbb{R}^{k \times r}`.

    One network serves every k up to ``k_max``. Item nodes start from the items' tokens and categories; each missing
    item is a slot: a learned vector plus one for k plus its condition. With ``readout="queries"`` the k slots are nodes
    joined to the complete graph, whose final states are read; with ``"pool"`` a head reads the sum of the item nodes'
    final states with each slot, independent of the other conditions. Latents lie in the retrieval space: the item
    embeddings themselves (``retrieval="item"``), a learned linear map of them (``"map"``) or a network of them
    (``"tower"``), which also maps the catalogue before it is indexed. Slots take conditions in canonical order: their
    given order does not matter.

    With a ``token_width`` the item nodes and the retrieval map start from S's tokens of the items, see
    :class:`ScorerTokens`: S's linear map of an item's embedding, which is computed once per item and is no call of S.

    Args:
        config: the architecture, or the section ``model`` that contains it.
        image_dim: width of the items' image part.
        text_dim: width of the items' text part, and of texts of conditions.
        categories: number of categories.
        token_width: width of S's tokens; 0: item nodes have tokens of their own, the map reads item embeddings.
        references: number of latents that are kept with the weights, see :meth:`keep_references`.
    """

    references: Tensor

    def __init__(
        self,
        config: GeneratorArchitecture,
        image_dim: int,
        text_dim: int,
        categories: int,
        token_width: int = 0,
        references: int = 0,
    ) -> None:
        sizes = {"image_dim": image_dim, "text_dim": text_dim, "categories": categories, "token_width": token_width}
        super().__init__(GeneratorArchitecture, config, **sizes, references=references)
        width, dim = config.width, image_dim + text_dim
        self.num_categories = categories
        self.latent_dim = dim if config.retrieval == "item" else config.retrieval_dim
        self.scorer_tokens = ScorerTokens(image_dim, text_dim, token_width) if token_width else None
        self.item_tokens = nn.Linear(token_width, width) if token_width else ItemTokens(image_dim, text_dim, width)
        self.category = nn.Embedding(categories, width)
        self.slots = nn.Parameter(torch.randn(config.k_max, width))
        self.slots_of_k = nn.Parameter(torch.randn(config.k_max, width) * 0.02)
        self.conditions = ConditionEncoder(categories, text_dim, width)
        self.layers = nn.ModuleList(
            GRAPH_LAYERS[config.layer].load()(width, config.aggregation, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, self.latent_dim))
        self.retrieval_map = _retrieval_map(config, token_width or dim)
        self.register_buffer("references", torch.zeros(references, self.latent_dim))

    def forward(self, batch: Batch, k: int | None = None) -> Tensor:
        """Computes latents ``[B, k, r]`` of completion graphs; latent i answers condition i.

        Args:
            batch: graphs, all with conditions or all without; of more than k conditions the first k count.
            k: number of missing items; None: as many as there are conditions, or ``k_max`` without any.

        Raises:
            ValueError: if k is not one of 1…k_max, or there are fewer conditions.
        """
        allowed, texts = self._conditions(batch, k)
        order = canonical_order(allowed, texts)  # [B, k]
        conditions = self.conditions(_in_order(allowed, order), _in_order(texts, order))
        missing = order.shape[1]
        slots = self.slots[:missing] + self.slots_of_k[missing - 1] + conditions  # [B, k, width]
        h = self._node_tokens(batch.x, batch.present) + self.category(batch.category)  # [V, width]
        read = self._from_queries if self.config.readout == "queries" else self._pooled
        latents = read(h, slots, batch)
        return _in_order(latents, order.argsort(-1))

    def _from_queries(self, h: Tensor, slots: Tensor, batch: Batch) -> Tensor:
        graphs, k, _ = slots.shape
        edges, _ = join_query_nodes(batch.edge_index, batch.batch, graphs, k)
        h = self._pass_messages(torch.cat([h, slots.flatten(0, 1)]), edges)  # [V + B·k, width]
        return self.head(self.norm(h[batch.batch.shape[0] :])).unflatten(0, (graphs, k))  # type: ignore[no-any-return]

    def _pooled(self, h: Tensor, slots: Tensor, batch: Batch) -> Tensor:
        pooled = global_add_pool(self._pass_messages(h, batch.edge_index), batch.batch, len(slots))  # [B, width]
        return self.head(self.norm(pooled)[:, None] + slots)  # type: ignore[no-any-return]

    def _pass_messages(self, h: Tensor, edges: Tensor) -> Tensor:
        # some aggregations need edges sorted by receiver; a stable sort has no equivalent in ONNX
        place = torch.arange(edges.shape[1], device=edges.device)
        edges = edges[:, (edges[1] * edges.shape[1] + place).argsort()]
        for layer in self.layers:
            h = layer(h, edges)
        return h

    def _conditions(self, batch: Batch, k: int | None) -> tuple[Tensor, Tensor]:
        """Returns allowed categories ``[B, k, C]`` and texts ``[B, k, text_dim]``, empty ones without conditions."""
        conditions = "condition_categories" in batch
        if k is None:
            k = batch.condition_categories.shape[1] if conditions else self.config.k_max
        if not 1 <= k <= self.config.k_max:
            raise ValueError(f"this generator emits 1 to {self.config.k_max} latents, not {k}")
        if conditions:
            if batch.condition_categories.shape[1] < k:
                raise ValueError(
                    f"there are conditions for {batch.condition_categories.shape[1]} missing items, not for {k}"
                )
            return batch.condition_categories[:, :k], batch.condition_texts[:, :k]
        graphs, like = batch.num_graphs, self.slots
        allowed = torch.ones(graphs, k, self.category.num_embeddings, dtype=torch.bool, device=like.device)
        return allowed, like.new_zeros(graphs, k, self.conditions.text_dim)

    def keep_references(self, latents: Tensor) -> None:
        """Keeps latents ``[Q, r]`` of training tasks, by which an index corrects for items that are near to all."""
        self.references = F.normalize(latents, dim=-1).to(self.slots.device)
        self.sizes["references"] = len(latents)

    def _node_tokens(self, vectors: Tensor, present: Tensor) -> Tensor:
        if self.scorer_tokens is None:
            return self.item_tokens(vectors, present)  # type: ignore[no-any-return]
        return self.item_tokens(self.scorer_tokens(vectors, present))  # type: ignore[no-any-return]

    def retrieval_vectors(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Maps items ``[..., d]`` with presence ``[..., 2]`` to the retrieval space, normalised, ``[..., r]``."""
        if self.retrieval_map is None:
            return F.normalize(vectors, dim=-1)
        items = vectors if self.scorer_tokens is None else self.scorer_tokens(vectors, present)
        return F.normalize(self.retrieval_map(items), dim=-1)


def build_generator(
    config: GeneratorArchitecture, items: ItemEmbeddings, categories: int, scorer: OutfitTransformer | None
) -> Generator:
    """Builds a generator for a catalogue, with S's tokens of the items if ``scorer`` is given and projects them."""
    token_width = 0 if scorer is None or not scorer.config.projected else scorer.config.width
    model = Generator(config, items.image_dim, items.text_dim, categories, token_width)
    if scorer is not None and model.scorer_tokens is not None:
        model.scorer_tokens.projection.load_state_dict(scorer.item_tokens.state_dict())
    return model


def _retrieval_map(config: GeneratorArchitecture, dim: int) -> nn.Module | None:
    """Builds the map of items ``[..., dim]`` to the retrieval space; None where that is the embeddings' own."""
    if config.retrieval == "item":
        return None
    if config.retrieval == "map":
        return nn.Linear(dim, config.retrieval_dim, bias=False)
    hidden = 2 * config.width
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, config.retrieval_dim))


def latents_of(generator: Generator, graphs: Sequence[Data], k: int, device: torch.device | str) -> Tensor:
    """Computes latents of completion graphs in one pass, without gradients.

    Args:
        generator: in evaluation mode on ``device``.
        graphs: graphs of B tasks, all with conditions for k missing items or all without.

    Returns:
        Float32 on the CPU, shape ``[B, k, r]``; latent i answers condition i.

    Raises:
        ArtifactError: if the generator was trained for fewer missing items.
    """
    k_max = generator.config.k_max
    if k > k_max:
        raise ArtifactError(
            f"the generator was trained for at most {k_max} missing items, not {k}; ask for fewer, or train one with "
            f"model.k_max={k}"
        )
    with torch.inference_mode():
        latents: Tensor = generator(Batch.from_data_list(list(graphs)).to(device), k)
    return latents.float().cpu()


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    """Orders rows ``[B, k, D]`` by ``[B, k]``."""
    return rows.gather(1, order[..., None].expand(-1, -1, rows.shape[-1]))
