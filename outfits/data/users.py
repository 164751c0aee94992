"""What users like: pairs of a user and an outfit, each in a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.naming import did_you_mean


@dataclass(frozen=True)
class UserOutfits:
    """Which of ``U`` users likes which of ``M`` outfits, ``E`` distinct pairs.

    Attributes:
        user_ids: the data set's own names of the users, unique.
        users: position in ``user_ids``, int64, shape ``[E]``.
        outfits: position in the data set's outfits, int64, shape ``[E]``.
        split: position in :data:`outfits.data.outfits.SPLITS`, int8, shape ``[E]``.
        num_outfits: ``M``.
    """

    user_ids: Sequence[str]
    users: NDArray[np.int64]
    outfits: NDArray[np.int64]
    split: NDArray[np.int8]
    num_outfits: int

    def __len__(self) -> int:
        return len(self.user_ids)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of every user id."""
        return {user_id: position for position, user_id in enumerate(self.user_ids)}

    def position(self, user_id: str) -> int:
        """Position of a user; raises :class:`DataError` with the nearest id if there is no such user."""
        if user_id not in self.positions:
            raise DataError(f"there is no user {user_id!r}{did_you_mean(user_id, self.user_ids)}")
        return self.positions[user_id]

    def pairs(self, *splits: str) -> NDArray[np.int64]:
        """Users and outfits of the pairs of some splits, int64, shape ``[2, e]``."""
        chosen = np.isin(self.split, [SPLITS.index(split) for split in splits])
        return np.stack([self.users[chosen], self.outfits[chosen]])

    def matrix(self, *splits: str) -> csr_matrix:
        """1 where a user likes an outfit in one of these splits, sparse, shape ``[U, M]``."""
        users, outfits = self.pairs(*splits)
        return csr_matrix((np.ones(len(users)), (users, outfits)), (len(self), self.num_outfits))

    def liked(self, user: int, *splits: str) -> NDArray[np.int64]:
        """Outfits that a user likes in some splits, ascending."""
        users, outfits = self.pairs(*splits)
        return np.sort(outfits[users == user])


def with_validation(splits: Sequence[str], share: float, seed: int) -> list[str]:
    """Moves a random share of what is given for training to validation."""
    moved = np.random.default_rng([seed, 2]).random(len(splits)) < share
    return ["valid" if split == "train" and move else split for split, move in zip(splits, moved, strict=True)]


def split_per_user(
    users: NDArray[np.int64], times: NDArray[np.float64], shares: Sequence[float], seed: int
) -> NDArray[np.int8]:
    """Splits each user's outfits: the first for training, the latest for testing; without times in random order.

    A share that is no whole number of a user's outfits is rounded up or down by chance, so that of many users with few
    outfits as many are tested as the shares say. Training gets what the others leave, and at least one.

    Args:
        users: the user of every pair, shape ``[E]``.
        times: their times, NaN where unknown; those come first.
        shares: shares of the splits, which sum to 1.
        seed: seed of the random order, and of the rounding.
    """
    rng = np.random.default_rng([seed, 3])
    chance = rng.random(len(users))
    split = np.zeros(len(users), dtype=np.int8)
    order = np.lexsort((chance, np.nan_to_num(times, nan=-np.inf), users))
    for rows in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        up = rng.random()
        later = min(_rounded(len(rows) * (shares[1] + shares[2]), up), len(rows) - 1)
        last = min(_rounded(len(rows) * shares[2], up), later)
        split[rows[len(rows) - later :]] = SPLITS.index("valid")
        split[rows[len(rows) - last :]] = SPLITS.index("test")
    return split


def _rounded(number: float, up: float) -> int:
    """Rounds to one of the neighbours, which ``up``, drawn in [0, 1), decides; whole numbers stay as they are."""
    return int(np.floor(round(number, 9) + up))
