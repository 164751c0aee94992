"""Chooses what a report shows of many."""

import numpy as np
from numpy.typing import NDArray


def evenly_spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of ``count`` places, from the first to the last, so that examples are not picked."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)
