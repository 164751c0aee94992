"""Outcomes of methods for tests, with values that can be checked by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import UNRANKED, MethodOutcome
from outfits.completion.tasks import CompletionTasks


def some_tasks(
    removed: NDArray[np.integer], given: Sequence[Sequence[int]] | None = None, **more: Any
) -> CompletionTasks:
    """Outfits from which these items were removed; without ``given`` items that are not in the catalogue were left."""
    positions = np.arange(len(removed))
    kept = [np.array(items, dtype=np.int32) for items in given or [[12]] * len(removed)]
    return CompletionTasks(kept, np.asarray(removed, dtype=np.int32), positions, np.zeros_like(positions), **more)


def an_outcome(**changes: Any) -> MethodOutcome:
    """Three outfits, two items each, with values that can be checked by hand."""
    values: dict[str, Any] = {
        "outfit_ids": np.array(["a", "b", "c"]),
        "scores": np.array([0.2, 0.4, 0.9]),
        "judge": np.array([0.5, 0.5, 0.8]),
        "chosen": np.array([[0, 1], [0, 2], [1, 3]]),
        "valid": np.array([True, True, False]),
        "calls": np.array([0, 0, 3]),
        "seconds": np.array([0.001, 0.002, 0.006]),
        "removed_ranks": np.array([[0, 9], [10, UNRANKED], [1, 49]]),
    } | changes
    return MethodOutcome(**{"tasks": some_tasks(np.tile([0, 1], (len(values["outfit_ids"]), 1)))} | values)
