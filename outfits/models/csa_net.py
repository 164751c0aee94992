"""The mechanism of CSA-Net (Lin et al. 2020, arXiv 1912.08967): similarity in subspaces of category pairs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.retrieval import CsaArchitecture, RetrievalConfig
from outfits.models.compatibility import OutfitTransformer
from outfits.models.retrieval import RetrievalQuery
from outfits.weights import Network

PAIR_WIDTH = 32  # of the embedding of a category, and of the layer over two of them


class CsaNet(Network[CsaArchitecture]):
    r"""Ranks candidates by their mean cosine with the outfit's items in category-aware subspaces.

    An item of category a, seen beside one of category b, is :math:`\sum_m w_m(a, b)\, f(X) \odot \mu_m`: learned masks
    :math:`\mu`, weighted by a softmax of two layers over both categories. The paper's image network is replaced by
    the frozen embeddings that all models here share, and texts of conditions are not heeded.

    Args:
        config: the architecture.
        image_dim, text_dim: widths of the items' two parts.
        categories: number of categories.
    """

    def __init__(self, config: CsaArchitecture, image_dim: int, text_dim: int, categories: int) -> None:
        super().__init__(CsaArchitecture, config, image_dim=image_dim, text_dim=text_dim, categories=categories)
        self.features = nn.Linear(image_dim + text_dim, config.dim)
        self.masks = nn.Parameter(torch.rand(config.subspaces, config.dim))
        self.own, self.other = nn.Embedding(categories, PAIR_WIDTH), nn.Embedding(categories, PAIR_WIDTH)
        self.weights = nn.Sequential(
            nn.Linear(2 * PAIR_WIDTH, PAIR_WIDTH), nn.ReLU(), nn.Linear(PAIR_WIDTH, config.subspaces)
        )

    def item_features(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Features before any mask, see :class:`outfits.models.retrieval.Retriever`."""
        found: Tensor = self.features(vectors)
        return found

    def pair_masks(self) -> Tensor:
        """The weighted mask of an item of one category beside another, shape ``[C, C, dim]``."""
        count = len(self.own.weight)
        own = self.own.weight[:, None].expand(-1, count, -1)
        other = self.other.weight[None].expand(count, -1, -1)
        weights: Tensor = self.weights(torch.cat([own, other], dim=-1)).softmax(-1)
        return weights @ self.masks

    def scores(self, query: RetrievalQuery, features: Tensor, categories: Tensor) -> Tensor:
        """Mean cosines, see :class:`outfits.models.retrieval.Retriever`."""
        given, masks = self.item_features(query.vectors, query.present), self.pair_masks()
        total = features.new_zeros(features.shape[:2], dtype=torch.float32)  # as a GPU has cosines
        for place in range(given.shape[1]):  # one item of every outfit at a time, so that memory does not grow with n
            rows = (~query.padding[:, place]).nonzero().squeeze(1)
            own, beside = categories[rows], query.categories[rows, place, None].expand_as(categories[rows])  # [b, c]
            item, candidate = given[rows, place, None] * masks[beside, own], features[rows] * masks[own, beside]
            total = total.index_add(0, rows, F.cosine_similarity(item, candidate, dim=-1).to(total))
        return total / (~query.padding).sum(1, keepdim=True)


def build_csa_net(scorer: OutfitTransformer, categories: int, config: RetrievalConfig) -> CsaNet:
    """Builds the peer for the embeddings that S reads."""
    return CsaNet(CsaArchitecture(config.dim, config.subspaces), **scorer.sizes, categories=categories)
