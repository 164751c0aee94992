"""Complementary retrieval: the OutfitTransformer's second task (arXiv 2204.04812, section 3.3)."""

from dataclasses import asdict, dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.retrieval import RetrievalConfig, RetrieverArchitecture
from outfits.models.compatibility import OutfitTransformer, blocks_of, read_out
from outfits.models.generator import ConditionEncoder
from outfits.models.tokens import tokens_of
from outfits.weights import Network


class Retriever(Protocol):
    """Ranks candidates for outfits and conditions; a torch module."""

    def item_features(self, vectors: Tensor, present: Tensor) -> Tensor:
        """What is kept of every catalogue item ``[..., d]`` with presence ``[..., 2]``, shape ``[..., r]``."""

    def scores(self, query: "RetrievalQuery", features: Tensor, categories: Tensor) -> Tensor:
        """Cosines ``[B, c]`` of candidates, given as :meth:`item_features` ``[B, c, r]`` and categories ``[B, c]``."""


@dataclass(frozen=True)
class RetrievalQuery:
    """``B`` outfits and the conditions for their wanted items.

    Attributes:
        vectors: embeddings of the given items, shape ``[B, n, d]``.
        present: their presence, shape ``[B, n, 2]``.
        categories: their categories, int64, shape ``[B, n]``.
        padding: bool, shape ``[B, n]``, True where an outfit has no item.
        allowed: categories that the wanted item may have, bool, shape ``[B, C]``; all True is no condition.
        texts: texts that describe it, shape ``[B, text_dim]``; a zero row is none.
    """

    vectors: Tensor
    present: Tensor
    categories: Tensor
    padding: Tensor
    allowed: Tensor
    texts: Tensor


class RetrievalTransformer(Network[RetrieverArchitecture]):
    r"""Maps an outfit and a condition to a query near the items that complete the outfit.

    A target token, a learned start plus the condition, takes the place of S's task token among the item tokens; its
    output is the query :math:`q(O, w)`. Items have embeddings :math:`e(X)` of their tokens; :math:`\cos(q, e)` ranks
    them. Since S's tokens are narrow, linear maps of the frozen embeddings are added to both, for the query the mean of
    the outfit's items. As in CSA-Net (arXiv 1912.08967), which dimensions of a given item count depends on its category
    and the wanted one: the mean is gated by both. Tokens and blocks begin as those of S. The wanted item itself is
    never an input.

    Args:
        config: the architecture.
        image_dim, text_dim: widths of the items' two parts.
        categories: number of categories.
    """

    def __init__(self, config: RetrieverArchitecture, image_dim: int, text_dim: int, categories: int) -> None:
        super().__init__(RetrieverArchitecture, config, image_dim=image_dim, text_dim=text_dim, categories=categories)
        width = config.width
        self.item_tokens = tokens_of(config, image_dim, text_dim)
        self.blocks = blocks_of(config)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.conditions = ConditionEncoder(categories, text_dim, width)
        self.category = nn.Embedding(categories, width)
        nn.init.zeros_(self.category.weight)  # begins as S, which knows categories from texts alone
        self.query_head = _head(width, config.dim)
        self.item_head = _head(width, config.dim)
        self.item_map = nn.Linear(image_dim + text_dim, config.dim, bias=False)
        self.query_map = nn.Linear(image_dim + text_dim, config.dim, bias=False)
        opening = nn.Linear(width, config.dim)
        nn.init.zeros_(opening.weight)  # begins open
        nn.init.zeros_(opening.bias)
        self.gate = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), opening)
        self.gate_category = nn.Embedding(categories, width)
        self.dropout = nn.Dropout(config.input_dropout)

    def begin_from(self, scorer: OutfitTransformer) -> None:
        """Takes over the tokens and blocks of a trained S of the same widths."""
        self.item_tokens.load_state_dict(scorer.item_tokens.state_dict())
        self.blocks.load_state_dict(scorer.blocks.state_dict())

    def queries(self, query: RetrievalQuery) -> Tensor:
        """Queries of unit length, shape ``[B, dim]``."""
        tokens = self.item_tokens(query.vectors, query.present) + self.category(query.categories)
        condition = self.conditions(query.allowed[:, None], query.texts[:, None])[:, 0]
        read = read_out(self.blocks, self.start + condition, tokens, query.padding)
        wanted = condition[:, None].expand_as(tokens)
        gate = 1 + self.gate(torch.cat([self.gate_category(query.categories), wanted], dim=-1))
        mean = (self.query_map(self.dropout(query.vectors)) * gate * ~query.padding[..., None]).sum(1)
        return F.normalize(self.query_head(read) + mean / (~query.padding).sum(1, keepdim=True), dim=-1)

    def item_features(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Embeddings of unit length, see :class:`Retriever`."""
        embeddings = self.item_head(self.item_tokens(vectors, present)) + self.item_map(self.dropout(vectors))
        return F.normalize(embeddings, dim=-1)

    def scores(self, query: RetrievalQuery, features: Tensor, categories: Tensor) -> Tensor:
        """Cosines with the query, see :class:`Retriever`."""
        return (features @ self.queries(query)[:, :, None]).squeeze(-1)


def build_transformer(scorer: OutfitTransformer, categories: int, config: RetrievalConfig) -> RetrievalTransformer:
    """Builds a retriever that begins as S."""
    architecture = RetrieverArchitecture(**asdict(scorer.config), dim=config.dim)
    model = RetrievalTransformer(architecture, **scorer.sizes, categories=categories)
    model.begin_from(scorer)
    return model


def _head(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim))
