"""Negative outfits for the compatibility model."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outfits.config.schema.scorer import NegativesConfig
from outfits.errors import DataError


@dataclass(frozen=True)
class OutfitWithNegatives:
    """A positive outfit with its negatives; all sets have the positive's size.

    Attributes:
        sets: catalogue positions, int64, shape ``[1 + P, n]``; row 0 is the outfit, the others are negatives.
        replaced: position within the outfit of the one item that hard negatives and the ranking loss replace.
        candidates: int64, shape ``[c]``, replacements of that item from its own category (any item where the category
            has no other).
        hard: bool, shape ``[P]``; a hard row is overwritten by the candidate of the highest S.
        copied: row of ``sets`` to which a near-copy of one of its items is added.
        copy: that near-copy; -1 without.
        score: given score of the outfit; NaN where it has none.
    """

    sets: NDArray[np.int64]
    replaced: int
    candidates: NDArray[np.int64]
    hard: NDArray[np.bool_]
    copied: int = 0
    copy: int = -1
    score: float = math.nan


class NegativeSampler:
    """Draws negatives for an outfit: all items replaced or one, by any item or one of the same category.

    Args:
        categories: of the catalogue's items, shape ``[N]``.
        config: shares of the kinds of negatives.
        epochs: training epochs that the schedule of hard negatives spans.
        copies: near-copies of every item, shape ``[N, c]``, -1 where there is none; None: none is drawn.
    """

    def __init__(
        self,
        categories: NDArray[np.int32],
        config: NegativesConfig,
        epochs: int,
        copies: NDArray[np.int64] | None = None,
    ) -> None:
        self.categories = categories
        self.config = config
        self.epochs = epochs
        self.copies = copies
        order = np.argsort(categories, kind="stable")
        bounds = np.searchsorted(categories[order], np.arange(int(categories.max()) + 2))
        self.members = [order[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]

    def hard_share(self, epoch: int) -> float:
        """Share of one-item negatives that are hard in an epoch: 0, then a linear rise, then ``config.hard_share``."""
        start, full = self.config.hard_start * self.epochs, self.config.hard_full * self.epochs
        progress = float(epoch >= start) if full <= start else float(np.clip((epoch - start) / (full - start), 0, 1))
        return self.config.hard_share * progress

    def replacements(
        self, outfit: NDArray[np.int32], item: int, count: int, same_category: bool, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draws replacements of ``item`` from outside the outfit; of any category where its own has no other item.

        Raises:
            DataError: if the outfit has every item.
        """
        if len(outfit) >= len(self.categories):
            raise DataError(f"an outfit has all {len(outfit)} items of the catalogue, so that none can replace another")
        pool = self.members[self.categories[item]] if same_category else np.arange(len(self.categories))
        if same_category and len(pool) <= (self.categories[outfit] == self.categories[item]).sum():
            pool = np.arange(len(self.categories))
        drawn = pool[rng.integers(len(pool), size=count)]
        while (clash := (drawn[:, None] == outfit).any(axis=1)).any():
            drawn[clash] = pool[rng.integers(len(pool), size=int(clash.sum()))]
        return drawn.astype(np.int64)

    def near_copy(
        self, sets: NDArray[np.int64], rows: NDArray[np.int64], copies: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draws one of the sets at ``rows``, the outfit as often as a negative, and a near-copy of one of its items.

        The near-copy is -1 where the item has none outside the set.
        """
        row = 0 if len(rows) == 1 or rng.random() < 0.5 else int(rng.choice(rows[1:]))
        near = copies[rng.choice(sets[row])]
        others = near[(near >= 0) & ~(near[:, None] == sets[row]).any(axis=1)]
        return row, int(rng.choice(others)) if len(others) else -1

    def sample(self, outfit: NDArray[np.int32], epoch: int, rng: np.random.Generator) -> OutfitWithNegatives:
        """Draws the negatives of one outfit in one epoch."""
        config = self.config
        size, count = len(outfit), config.per_outfit
        sets = np.tile(outfit.astype(np.int64), (1 + count, 1))
        replaced = int(rng.integers(size))
        hard = np.zeros(count, dtype=bool)
        for row in range(1, count + 1):
            if rng.random() < config.replace_all:
                for place in range(size):
                    same = rng.random() < config.same_category
                    sets[row, place] = self.replacements(outfit, int(outfit[place]), 1, same, rng)[0]
            else:
                hard[row - 1] = rng.random() < self.hard_share(epoch)
                place = replaced if hard[row - 1] else int(rng.integers(size))
                same = rng.random() < config.same_category
                sets[row, place] = self.replacements(outfit, int(outfit[place]), 1, same, rng)[0]
        candidates = self.replacements(outfit, int(outfit[replaced]), config.hard_candidates, True, rng)
        # not of a hard row, whose item S is still to choose
        rows = np.append(0, 1 + np.flatnonzero(~hard))
        copied, copy = (0, -1) if self.copies is None else self.near_copy(sets, rows, self.copies, rng)
        return OutfitWithNegatives(sets, replaced, candidates, hard, copied, copy)
