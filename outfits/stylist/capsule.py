"""A capsule wardrobe: few items that make many good outfits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.data.category_rule import is_outfit
from outfits.scoring.candidates import CandidateScorer
from outfits.stylist.results import ItemRef

TOGETHER = 64  # partial outfits scored beside the whole catalogue at once


@dataclass(frozen=True)
class CapsuleOutfit:
    """An outfit of a capsule: its items, and S."""

    items: tuple[ItemRef, ...]
    score: float


@dataclass(frozen=True)
class Capsule:
    """A capsule wardrobe.

    Attributes:
        items: its items, those that were fixed first, then in the order of choice.
        chosen: how many of them were chosen.
        outfits: its good outfits, the best first.
        summed: S summed over these outfits.
    """

    items: tuple[ItemRef, ...]
    chosen: int
    outfits: tuple[CapsuleOutfit, ...]
    summed: float


@dataclass(frozen=True)
class CapsuleGoal:
    """What a capsule is chosen for.

    Attributes:
        sizes: numbers of items of an outfit, each at least 2.
        threshold: S from which on an outfit is good.
        summed: whether the S of good outfits are summed; else they are counted.
    """

    sizes: tuple[int, ...] = (3, 4)
    threshold: float = 0.5
    summed: bool = False

    def values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What outfits of these S are worth."""
        return np.where(scores >= self.threshold, scores if self.summed else 1.0, 0.0)


def grow_capsule(
    scorer: CandidateScorer,
    fixed: NDArray[np.int64],
    size: int,
    goal: CapsuleGoal,
    may_choose: NDArray[np.bool_],
    *,
    prices: NDArray[np.float64] | None = None,
    budget: float = np.inf,
) -> Iterator[list[int]]:
    r"""Adds the item that makes most new good outfits, until there are ``size`` items or none is affordable.

    The worth of a set of items is a sum over the outfits inside it, so an item is worth more the more there is to
    combine it with: it is *supermodular*. Greedy choice therefore has no guarantee (the :math:`1 - 1/e` of Nemhauser
    et al. 1978 holds for submodular functions), and lazy evaluation, which takes an old gain for an upper bound of the
    new one, would be wrong. It is not needed either: when an item joins, every gain grows by the outfits with both, so
    each outfit is scored once.

    Args:
        scorer: S over the catalogue of ``N`` items and the fixed external items.
        fixed: positions of the items that are there already, at least one.
        size: items of the capsule, the fixed ones among them.
        goal: what is maximised. Equal gains are settled by the sum of S over all outfits, good or not, and where none
            can be made yet, by that over the pairs with what is there.
        may_choose: which catalogue items may be chosen, bool, shape ``[N]``.
        prices: of the catalogue's items, shape ``[N]``; NaN is never chosen where there is a budget.
        budget: largest sum of the prices of the chosen items.

    Yields:
        Positions of the capsule, the fixed items first: these alone, and then after every item that joins.
    """
    wardrobe: list[int] = []
    gain, tie, pairs = np.zeros((3, len(scorer)))
    free = may_choose.copy()

    def add(item: int) -> None:
        for partial in _partial_outfits(wardrobe, item, goal.sizes, scorer.categories):
            possible, scores = _with_every_item(scorer, partial)
            gain[:] += np.where(possible, goal.values(scores), 0.0).sum(0)
            tie[:] += scores.sum(0)
        pairs[:] += _with_every_item(scorer, np.array([[item]]))[1][0]
        wardrobe.append(item)
        if item < len(free):
            free[item] = False

    for item in fixed.tolist():
        add(item)
    left = budget
    yield list(wardrobe)
    while len(wardrobe) < size:
        possible = np.flatnonzero(free & (True if prices is None else prices <= left))
        if not len(possible):
            break
        best = int(possible[np.lexsort((possible, -pairs[possible], -tie[possible], -gain[possible]))[0]])
        left -= 0.0 if prices is None else float(prices[best])
        add(best)
        yield list(wardrobe)


def _with_every_item(
    scorer: CandidateScorer, outfits: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Catalogue items that the rule allows beside outfits ``[B, n]``, and S with them or 0, both ``[B, N]``."""
    logits = scorer.addition_logits(torch.from_numpy(outfits)).double().cpu().numpy()
    possible = np.isfinite(logits)
    return possible, np.where(possible, expit(logits), 0.0)


def outfits_within(
    scorer: CandidateScorer, wardrobe: Sequence[int], goal: CapsuleGoal
) -> list[tuple[tuple[int, ...], float]]:
    """The good outfits of a set of items with their S, the best first, items in the order of the set."""
    sets = [
        one for size in goal.sizes for one in combinations(wardrobe, size) if is_outfit(scorer.categories[list(one)])
    ]
    if not sets:
        return []
    scores = expit(scorer.ragged_logits([np.array(one) for one in sets]).double().cpu().numpy())
    good = [(one, score) for one, score in zip(sets, scores.tolist(), strict=True) if score >= goal.threshold]
    return sorted(good, key=lambda pair: (-pair[1], pair[0]))


def capsule_of(
    scorer: CandidateScorer,
    wardrobe: Sequence[int],
    fixed: int,
    goal: CapsuleGoal,
    item_at: Callable[[int], ItemRef],
) -> Capsule:
    """Describes a set of items of which the first ``fixed`` were there already."""
    outfits = outfits_within(scorer, wardrobe, goal)
    named = tuple(CapsuleOutfit(tuple(map(item_at, items)), score) for items, score in outfits)
    return Capsule(
        tuple(map(item_at, wardrobe)), len(wardrobe) - fixed, named, float(sum(score for _, score in outfits))
    )


def _partial_outfits(
    wardrobe: Sequence[int], item: int, sizes: Sequence[int], categories: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Outfits with ``item`` that lack one item, ``[B, size - 1]`` for every size that has any, a few at a time."""
    for size in sizes:
        sets = [(*rest, item) for rest in combinations(wardrobe, size - 2) if is_outfit(categories[[*rest, item]])]
        for start in range(0, len(sets), TOGETHER):
            yield np.array(sets[start : start + TOGETHER], dtype=np.int64)
