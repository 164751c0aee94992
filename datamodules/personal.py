"""Batches liked outfits with others, for training recommenders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import HeteroData

from datamodules.base import OutfitLoaders
from outfits.config.schema.personal import PersonalConfig
from outfits.data.dataset import OutfitDataset
from outfits.graphs.user_graph import sets_graph

STREAM = 22  # first number of the seeds of what is drawn for a liked outfit
LEAST_ITEMS = 3  # of a random set


@dataclass(frozen=True)
class PersonalBatch:
    """Holds ``B`` liked outfits and what is worse.

    Attributes:
        users: shape ``[B]``.
        outfits: the liked outfits, then drawn ones, shape ``[B + n]``.
        liked: which of them each user likes, bool, shape ``[B, B + n]``.
        sets: the liked outfits, then as many sets of random items; None without the loss of compatibility.
    """

    users: Tensor
    outfits: Tensor
    liked: Tensor
    sets: HeteroData | None

    def to(self, device: torch.device | str) -> "PersonalBatch":
        """Moves the batch to another device (called by Lightning)."""
        sets = None if self.sets is None else self.sets.to(device)
        return PersonalBatch(self.users.to(device), self.outfits.to(device), self.liked.to(device), sets)


class LikedOutfits(Dataset[Any]):
    """Pairs that users like in training, each with another outfit and a set of random items.

    What is drawn depends on the seed, the epoch and the pair alone.
    """

    def __init__(self, dataset: OutfitDataset, config: PersonalConfig, seed: int) -> None:
        assert dataset.users is not None
        self.pairs = dataset.users.pairs("train")
        self.outfits = dataset.outfits
        self.items = np.unique(dataset.outfits.take(np.unique(self.pairs[1])).items)
        self.longest = int(dataset.outfits.sizes.max())
        self.seed = seed

    def __len__(self) -> int:
        return int(self.pairs.shape[1])

    def __getitem__(self, place: tuple[int, int]) -> tuple[int, int, int, NDArray[np.int32], NDArray[np.int32]]:
        epoch, position = place
        user, outfit = self.pairs[:, position].tolist()
        rng = np.random.default_rng([self.seed, STREAM, epoch, position])
        other = int(self.pairs[1, rng.integers(len(self))])
        size = int(rng.integers(min(LEAST_ITEMS, self.longest), self.longest + 1))
        wrong = np.unique(self.items[rng.integers(len(self.items), size=size)])
        return user, outfit, other, self.outfits[outfit], wrong


class UsersToServe(Dataset[int]):
    """Positions of the users who like an outfit of a split."""

    def __init__(self, users: NDArray[np.int64]) -> None:
        self.users = np.unique(users)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, position: int) -> int:
        return int(self.users[position])


class PersonalDataModule(OutfitLoaders):
    """Loads what users like, in training with other outfits, and in validation the users to be served.

    The data set has users; ``weights`` are those of pairs of categories. ``seed`` is that of order and draws.
    """

    samples_are = "pair of a user and an outfit"

    def __init__(
        self, dataset: OutfitDataset, weights: Tensor, config: PersonalConfig, *, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__(config.batch_size, num_workers, seed)
        assert dataset.users is not None
        self.dataset = dataset
        self.config = config
        self.weights = weights
        self.known = dataset.users.matrix("train")

    def make_samples(self, split: str) -> LikedOutfits | UsersToServe:
        """Makes the pairs of training, or the users of another split."""
        assert self.dataset.users is not None
        if split == "train":
            return LikedOutfits(self.dataset, self.config, self.seed)
        return UsersToServe(self.dataset.users.pairs(split)[0])

    def collate(self, samples: Sequence[Any]) -> PersonalBatch | Tensor:
        """Batches pairs, or users."""
        if isinstance(samples[0], int):
            return torch.tensor(samples)
        users, own, others, items, wrong = zip(*samples, strict=True)
        outfits = np.array([*own, *others])
        liked = self.known[np.array(users)][:, outfits].toarray() > 0
        sets = None
        if self.config.compatibility_weight:
            sets = sets_graph([*items, *wrong], self.dataset.catalogue.categories, self.weights)
        return PersonalBatch(torch.tensor(users), torch.from_numpy(outfits), torch.from_numpy(liked), sets)
