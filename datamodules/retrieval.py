"""Batches outfits, each with one item taken out, for training complementary retrieval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import OutfitLoaders
from datamodules.compatibility import CollateCompatibility, CompatibilityBatch, OutfitsWithNegatives
from outfits.config.schema.retrieval import RetrievalConfig
from outfits.config.schema.scorer import NegativesConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.negatives import NegativeSampler, OutfitWithNegatives
from outfits.data.outfits import Outfits


@dataclass(frozen=True)
class RetrievalBatch(CompatibilityBatch):
    """Holds outfits whose item at ``replaced`` is wanted, and ``candidates`` of its category that are wrong.

    Attributes:
        categories: of the distinct items, int64, shape ``[U]``.
    """

    categories: Tensor

    @property
    def wanted(self) -> Tensor:
        """The wanted items, rows of ``vectors``, shape ``[B]``."""
        return self.sets[:, 0].gather(1, self.replaced[:, None])[:, 0]

    @property
    def not_given(self) -> Tensor:
        """Places without a given item, bool, shape ``[B, n]``: the padding and the wanted item."""
        return self.padding.scatter(1, self.replaced[:, None], True)


@dataclass(frozen=True)
class CollateRetrieval:
    """Batches outfits with the categories and positions of their items."""

    compatibility: CollateCompatibility
    catalogue_categories: NDArray[np.int32]

    def __call__(self, samples: Sequence[OutfitWithNegatives]) -> RetrievalBatch:
        """Batches outfits with wrong items."""
        batch = self.compatibility(samples)
        categories = torch.from_numpy(self.catalogue_categories[batch.items.numpy()].astype(np.int64))
        return RetrievalBatch(**vars(batch), categories=categories)


class RetrievalDataModule(OutfitLoaders):
    """Loads outfits with a wanted item; in training another one in every epoch, in validation always the same.

    The data set has embeddings. ``train`` are the outfits that are trained on; None: all of the training split.
    ``seed`` is that of order, wanted items and wrong items.
    """

    def __init__(
        self,
        dataset: OutfitDataset,
        config: RetrievalConfig | None = None,
        train: Outfits | None = None,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.config = RetrievalConfig() if config is None else config
        super().__init__(self.config.batch_size, num_workers, seed)
        self.dataset = dataset
        self.train = train
        catalogue = dataset.catalogue
        self.collate = CollateRetrieval(CollateCompatibility(catalogue.require_embeddings), catalogue.categories)

    def make_samples(self, split: str) -> OutfitsWithNegatives:
        """Makes outfits with wrong items of the wanted one's category."""
        config = self.config
        drawn = NegativesConfig(per_outfit=1, replace_all=0.0, hard_share=0.0, hard_candidates=config.negatives)
        sampler = NegativeSampler(self.dataset.catalogue.categories, drawn, config.epochs)
        if split == "train":
            train = self.dataset.outfits.of("train") if self.train is None else self.train
            return OutfitsWithNegatives(train, sampler, self.seed, config.subset_share)
        return OutfitsWithNegatives(self.dataset.outfits.of(split), sampler, self.seed)
