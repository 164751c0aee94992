"""How good completions are beside their score: recall, variety, validity."""

import numpy as np
from numpy.typing import NDArray


def recall_at(ranks: NDArray[np.integer], n: int) -> float:
    """Share of the items asked about that stand among the first ``n`` of a ranking.

    Args:
        ranks: 0-based ranks, any shape, at least one.
        n: length of the list that is looked at.
    """
    if ranks.size == 0:
        raise ValueError("recall needs at least one item")
    return float((ranks < n).mean())


def distinct_share(chosen: NDArray[np.integer]) -> float:
    """Different items among all chosen ones: 1 if no item was chosen twice, near 0 if always the same were.

    Args:
        chosen: catalogue positions, shape ``[T, k]``, at least one.
    """
    if chosen.size == 0:
        raise ValueError("the distinct share needs at least one chosen item")
    return len(np.unique(chosen)) / chosen.size
