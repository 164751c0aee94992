"""Measures completions beside their score: recall, variety, and both by category."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RECALL_AT = (1, 10, 50)  # of the removed items, wherever it is measured


def recall_at(ranks: NDArray[np.integer], n: int) -> float:
    """Computes the share of items whose 0-based rank is below ``n``; ``ranks`` has any shape and at least one entry.

    A negative rank is an item that is not ranked, a miss.
    """
    if ranks.size == 0:
        raise ValueError("recall needs at least one item")
    return float(((ranks >= 0) & (ranks < n)).mean())


def distinct_share(chosen: NDArray[np.integer]) -> float:
    """Divides the number of distinct items by that of all chosen ones, catalogue positions ``[T, k]``, at least one."""
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
    """Summarises a method's completions by category of the removed and of the chosen items.

    Args:
        categories: category of every catalogue item, shape ``[N]``.
        names: names of the categories.
        removed: catalogue positions of the items removed from ``B`` outfits, shape ``[B, k]``.
        chosen: catalogue positions of the chosen items, shape ``[B, k]``.
        scores: S of the completed outfits, shape ``[B]``.
        ranks: rank of each removed item, shape ``[B, k]``, as for :func:`recall_at`; None if nothing was ranked.

    Returns:
        By name of every category that occurs, in the order of ``names``: ``removed`` and ``chosen``, numbers of its
        items; ``score_mean``, the mean score of outfits from which one was removed, and ``recall_at_10`` of its removed
        items, None without any.
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
