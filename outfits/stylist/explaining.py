"""Which item is wrong: what S of an outfit becomes without an item, with another in its place, and of its pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer
from outfits.stylist.results import ItemRef


@dataclass(frozen=True)
class ItemEffect:
    """What one item does to S of its outfit.

    Attributes:
        item: the item.
        without: S without it; 1 where one item is left.
        alternative: the item of its category with which S is largest; None where the category has no other.
        replaced: S with that one in its place; None likewise.
    """

    item: ItemRef
    without: float
    alternative: ItemRef | None
    replaced: float | None


@dataclass(frozen=True)
class PairEffect:
    """S of two items of an outfit by themselves; ``first`` and ``second`` are their places in it."""

    first: int
    second: int
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why an outfit has the S that it has.

    Attributes:
        score: S of the outfit, without the zero of sets that break the category rule.
        items: effects of its items, in their order.
        pairs: its pairs, the one with the smallest S first.
        suspect: place of the item without which S is largest; of two items, that with whose best alternative it is.
            Leaving one out names a planted stranger more often than the best alternative or attention do, see
            docs/stylist.md.
    """

    score: float
    items: tuple[ItemEffect, ...]
    pairs: tuple[PairEffect, ...]
    suspect: int


def explain_set(
    scorer: CandidateScorer,
    positions: NDArray[np.int64],
    items: Sequence[ItemRef],
    item_at: Callable[[int], ItemRef],
) -> Explanation:
    """Explains an outfit of at least two items.

    Args:
        scorer: S over the catalogue and the outfit's external items.
        positions: positions of the outfit's items, shape ``[n]``.
        items: these items.
        item_at: gives the catalogue's item at a position.
    """
    score = float(_scores(scorer, [positions])[0])
    without = leave_one_out(scorer, positions)
    replaced, best = best_replacements(scorer, positions)
    effects = tuple(
        ItemEffect(
            item,
            float(without[place]),
            None if best[place] < 0 else item_at(int(best[place])),
            None if best[place] < 0 else float(replaced[place]),
        )
        for place, item in enumerate(items)
    )
    suspect = int((without if len(positions) > 2 else np.where(best >= 0, replaced, -1)).argmax())
    return Explanation(score, effects, tuple(pair_scores(scorer, positions)), suspect)


def leave_one_out(scorer: CandidateScorer, items: NDArray[np.int64]) -> NDArray[np.float64]:
    """S of an outfit ``[n]`` without each of its items, shape ``[n]``; 1 where one item is left."""
    if len(items) == 2:
        return np.ones(2)
    rests = [np.delete(items, place) for place in range(len(items))]
    return _scores(scorer, rests)


def best_replacements(
    scorer: CandidateScorer, items: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """S of an outfit ``[n]`` with each item replaced by the best of its category, and these items, both ``[n]``.

    The item itself is no replacement of its own. 0 and -1 where there is none, as where another item of the outfit has
    the same category.
    """
    scores, best = np.zeros(len(items)), np.full(len(items), -1, dtype=np.int64)
    for place, item in enumerate(items.tolist()):
        others = np.flatnonzero(scorer.categories[: len(scorer)] == scorer.categories[item])
        others = others[others != item]
        if not len(others):
            continue
        rest = torch.from_numpy(np.delete(items, place))[None]
        logits = scorer.addition_logits(rest, torch.from_numpy(others))[0].double().cpu().numpy()
        if np.isfinite(logits).any():
            first = int(logits.argmax())
            scores[place], best[place] = expit(logits[first]), others[first]
    return scores, best


def pair_scores(scorer: CandidateScorer, items: NDArray[np.int64]) -> list[PairEffect]:
    """S of all pairs of an outfit, ascending."""
    places = list(combinations(range(len(items)), 2))
    scores = _scores(scorer, [items[list(pair)] for pair in places])
    found = [PairEffect(*pair, float(score)) for pair, score in zip(places, scores, strict=True)]
    return sorted(found, key=lambda pair: (pair.score, pair.first, pair.second))


@torch.inference_mode()
def task_attention(model: OutfitTransformer, vectors: torch.Tensor, present: torch.Tensor) -> NDArray[np.float64]:
    """How much the task token attends to each item in the last layer, mean over the heads, shape ``[n]``.

    Args:
        model: S in evaluation mode.
        vectors: embeddings of the outfit's items, shape ``[n, d]``.
        present: their presence, shape ``[n, 2]``.
    """
    tokens = model.tokens(vectors, present)[None]
    h = torch.cat([model.task.expand(1, 1, -1), tokens], dim=1)
    blocks: list[Any] = list(model.blocks)
    *first, last = blocks
    for block in first:
        h = block(h, None)
    normed = last.attention_norm(h)
    query, key = last._split(last.query(normed[:, :1])), last._split(last.key_value(normed).chunk(2, dim=-1)[0])
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)  # [1, heads, 1, 1 + n]
    found: NDArray[np.float64] = weights[0, :, 0, 1:].mean(0).double().cpu().numpy()
    return found


def _scores(scorer: CandidateScorer, sets: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = expit(scorer.ragged_logits(sets).double().cpu().numpy())
    return found
