"""Batches outfits and negatives for training the compatibility model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import OutfitLoaders
from outfits.config.schema.scorer import NegativesConfig, ScorerConfig
from outfits.data.catalogue import ItemEmbeddings
from outfits.data.dataset import OutfitDataset
from outfits.data.near_copies import nearest_of_category
from outfits.data.negatives import NegativeSampler, OutfitWithNegatives
from outfits.data.outfits import Outfits

VALIDATION_NEGATIVES = NegativesConfig(per_outfit=1, replace_all=0.0, same_category=1.0, hard_share=0.0)
NEAR_COPIES = 8  # of each item, to draw from


@dataclass(frozen=True)
class CompatibilityBatch:
    """Holds outfits and negatives over the batch's own list of distinct items.

    Attributes:
        items: catalogue positions of the distinct items, int64, shape ``[U]``.
        vectors: embeddings of the distinct items, shape ``[U, d]``.
        present: their presence, shape ``[U, 2]``.
        sets: rows of ``vectors``, int64, shape ``[B, 1 + P, n]``; set 0 is the outfit.
        padding: bool, shape ``[B, n]``, True where an outfit has no item.
        replaced: place of the item that hard negatives replace, shape ``[B]``.
        candidates: its possible replacements, rows of ``vectors``, shape ``[B, c]``.
        hard: bool, shape ``[B, P]``, negatives to be replaced by S's favourite candidate.
        copied: which of the sets gets a near-copy of one of its items, shape ``[B]``.
        copies: that near-copy, row of ``vectors``, shape ``[B]``; -1 without.
        scores: given scores of the outfits, shape ``[B]``; NaN where there are none.
    """

    items: Tensor
    vectors: Tensor
    present: Tensor
    sets: Tensor
    padding: Tensor
    replaced: Tensor
    candidates: Tensor
    hard: Tensor
    copied: Tensor
    copies: Tensor
    scores: Tensor

    def with_candidates(self) -> Tensor:
        """Exchanges the replaced item of the outfits for every candidate, shape ``[B, c, n]``."""
        rows, count = self.candidates.shape
        sets = self.sets[:, :1].repeat(1, count, 1)
        places = self.replaced[:, None, None].expand(rows, count, 1)
        return sets.scatter(2, places, self.candidates[:, :, None])

    def to(self, device: torch.device | str) -> "CompatibilityBatch":
        """Moves the batch to another device (called by Lightning)."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


class OutfitsWithNegatives(Dataset[OutfitWithNegatives]):
    """Draws negatives that depend on (seed, epoch, outfit) alone, whatever worker draws them.

    A ``subset_share`` of the outfits is replaced by random subsets of at least two of their items; none of those with
    given scores, since a part need not be as good as the whole.
    """

    def __init__(self, outfits: Outfits, sampler: NegativeSampler, seed: int, subset_share: float = 0.0) -> None:
        self.outfits = outfits
        self.sampler = sampler
        self.seed = seed
        self.subset_share = subset_share if outfits.scores is None else 0.0

    def __len__(self) -> int:
        return len(self.outfits)

    def __getitem__(self, index: int | tuple[int, int]) -> OutfitWithNegatives:
        epoch, position = index if isinstance(index, tuple) else (0, index)
        rng = np.random.default_rng([self.seed, epoch, position])
        outfit = self.outfits[position]
        if len(outfit) > 2 and rng.random() < self.subset_share:
            outfit = rng.choice(outfit, int(rng.integers(2, len(outfit))), replace=False)
        sample, scores = self.sampler.sample(outfit, epoch, rng), self.outfits.scores
        return sample if scores is None else replace(sample, score=float(scores[position]))


def _items_of(sample: OutfitWithNegatives) -> NDArray[np.int64]:
    """Catalogue positions of all sets of an outfit."""
    copy = [] if sample.copy < 0 else [sample.copy]
    return np.concatenate([sample.sets.ravel(), sample.candidates, copy]).astype(np.int64)


@dataclass(frozen=True)
class CollateCompatibility:
    """Pads outfits of a batch and fetches the embeddings of its distinct items."""

    embeddings: ItemEmbeddings

    def __call__(self, samples: Sequence[OutfitWithNegatives]) -> CompatibilityBatch:
        """Batches outfits with negatives."""
        longest = max(sample.sets.shape[1] for sample in samples)
        items: NDArray[np.int64] = np.unique(np.concatenate([_items_of(sample) for sample in samples]))
        copies = np.array([sample.copy for sample in samples])
        padded = np.full((len(samples), len(samples[0].sets), longest), items[0])
        padding = np.ones((len(samples), longest), dtype=bool)
        for row, sample in enumerate(samples):
            padded[row, :, : sample.sets.shape[1]] = sample.sets
            padding[row, : sample.sets.shape[1]] = False
        return CompatibilityBatch(
            items=torch.from_numpy(items),
            vectors=torch.from_numpy(np.array(self.embeddings.vectors[items])),
            present=torch.from_numpy(np.array(self.embeddings.present[items])),
            sets=torch.from_numpy(np.searchsorted(items, padded)),
            padding=torch.from_numpy(padding),
            replaced=torch.tensor([sample.replaced for sample in samples]),
            candidates=torch.from_numpy(np.searchsorted(items, np.stack([sample.candidates for sample in samples]))),
            hard=torch.from_numpy(np.stack([sample.hard for sample in samples])),
            copied=torch.tensor([sample.copied for sample in samples]),
            copies=torch.from_numpy(np.where(copies >= 0, np.searchsorted(items, copies), -1)),
            scores=torch.tensor([sample.score for sample in samples]),
        )


class CompatibilityDataModule(OutfitLoaders):
    """Loads training outfits with configured negatives; validation outfits with one same-category replacement each.

    The data set has embeddings. ``train`` are the outfits that S is trained on; None: all of the training split.
    ``seed`` is that of order and negatives.
    """

    def __init__(
        self,
        dataset: OutfitDataset,
        config: ScorerConfig | None = None,
        train: Outfits | None = None,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.config = ScorerConfig() if config is None else config
        super().__init__(self.config.batch_size, num_workers, seed)
        self.dataset = dataset
        self.train = train
        self.collate = CollateCompatibility(dataset.catalogue.require_embeddings)

    def make_samples(self, split: str) -> OutfitsWithNegatives:
        """Makes outfits with negatives; those of validation are the same in every epoch."""
        categories, config = self.dataset.catalogue.categories, self.config
        if split == "train":
            train = self.training_outfits
            negatives = NegativeSampler(categories, config.negatives, config.epochs, self._near_copies(train))
            return OutfitsWithNegatives(train, negatives, self.seed, config.subset_share)
        negatives = NegativeSampler(categories, VALIDATION_NEGATIVES, 1)
        return OutfitsWithNegatives(self.dataset.outfits.of(split), negatives, self.seed)

    @property
    def training_outfits(self) -> Outfits:
        """The outfits that are trained on."""
        return self.dataset.outfits.of("train") if self.train is None else self.train

    def _near_copies(self, train: Outfits) -> NDArray[np.int64] | None:
        """Near-copies of the items of training outfits, ``[N, c]``; None where none are wanted."""
        if not self.config.copy_weight or not self.config.negatives.per_outfit:
            return None
        copies = np.full((len(self.dataset.catalogue), NEAR_COPIES), -1)
        items = np.unique(train.items)
        copies[items] = nearest_of_category(self.dataset.catalogue, items, NEAR_COPIES)
        return copies
