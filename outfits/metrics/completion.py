"""How good completions are beside their score: recall, variety, and both by category."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def recall_at(ranks: NDArray[np.integer], n: int) -> float:
    """Share of the items asked about that stand among the first ``n`` of a ranking.

    Args:
        ranks: 0-based ranks, any shape, at least one; a negative one is an item that is not ranked, a miss.
        n: length of the list that is looked at.
    """
    if ranks.size == 0:
        raise ValueError("recall needs at least one item")
    return float(((ranks >= 0) & (ranks < n)).mean())


def distinct_share(chosen: NDArray[np.integer]) -> float:
    """Different items among all chosen ones: 1 if no item was chosen twice, near 0 if always the same were.

    Args:
        chosen: catalogue positions, shape ``[T, k]``, at least one.
    """
    if chosen.size == 0:
        raise ValueError("the distinct share needs at least one chosen item")
    return len(np.unique(chosen)) / chosen.size


def by_category(
    categories: NDArray[np.integer],
    names: Sequence[str],
    removed: NDArray[np.integer],
    chosen: NDArray[np.integer],
    scores: NDArray[np.floating],
    ranks: NDArray[np.integer] | None,
) -> dict[str, dict[str, float | None]]:
    """What a method did, by category of the removed and of the chosen items.

    Args:
        categories: category of every catalogue item, shape ``[N]``.
        names: names of the categories.
        removed: catalogue positions of the items removed from ``B`` outfits, shape ``[B, k]``.
        chosen: catalogue positions of the items put in, shape ``[B, k]``.
        scores: S of the completed outfits, shape ``[B]``.
        ranks: rank of each removed item, shape ``[B, k]``, as for :func:`recall_at`; None if nothing was ranked.

    Returns:
        By name of every category that occurs: ``removed`` and ``chosen``, how often an item of it was; ``score_mean``,
        the mean score of outfits from which one was removed, and ``recall_at_10`` of its removed items, None without
        any. In the order of ``names``.
    """
    gone, put_in = categories[removed], categories[chosen]  # [B, k]
    metrics: dict[str, dict[str, float | None]] = {}
    for category in np.union1d(gone, put_in):
        here = gone == category
        metrics[names[int(category)]] = {
            "removed": int(here.sum()),
            "chosen": int((put_in == category).sum()),
            "score_mean": float(scores[here.any(axis=1)].mean()) if here.any() else None,
            "recall_at_10": recall_at(ranks[here], 10) if ranks is not None and here.any() else None,
        }
    return metrics
