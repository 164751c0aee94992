"""Completion tasks: outfits with k items removed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.conditions import Conditions
from outfits.data.outfits import Outfits
from outfits.errors import DataError
from outfits.scoring.preferences import UserPreference

# First numbers of seeds, so that no two streams coincide (NumPy reads [s, 0] and [s, 0, 0] as one seed).
RANDOM_STREAM, REMOVAL_STREAM, LIMIT_STREAM, START_STREAM = 1, 2, 3, 4


@dataclass(frozen=True)
class CompletionTasks:
    """``T`` completion tasks of ``k`` missing items.

    Attributes:
        given: catalogue positions of the given items, ``T`` int32 arrays.
        removed: catalogue positions of the removed items, int32, shape ``[T, j]``; ``j = 0`` where nothing was
            removed. With conditions, removed item i is what missing item i is compared with.
        outfits: position of the outfit within its split, int64, shape ``[T]``.
        removals: number of the removal among those of its outfit, int64, shape ``[T]``.
        left_out: outfits with fewer than j + 2 items, of which no task was made.
        missing: number of missing items; None: as many as were removed.
        conditions: conditions for the missing items; None: none.
        alternatives: completions to keep for each task, by methods that find more than one.
        preference: what users' preferences add to the objective, for methods that follow it; None: nothing.

    Raises:
        ValueError: if the fields differ in length.
    """

    given: Sequence[NDArray[np.int32]]
    removed: NDArray[np.int32]
    outfits: NDArray[np.int64]
    removals: NDArray[np.int64]
    left_out: int = 0
    missing: int | None = None
    conditions: Conditions | None = None
    alternatives: int = 0
    preference: UserPreference | None = None

    def __post_init__(self) -> None:
        if self.removed.ndim != 2 or {len(self.removed), len(self.outfits), len(self.removals)} != {len(self.given)}:
            raise ValueError("given, removed, outfits and removals differ in length")
        if self.conditions is not None and (len(self.conditions), self.conditions.k) != (len(self.given), self.k):
            raise ValueError(f"conditions for {len(self.conditions)} × {self.conditions.k} items do not fit the tasks")

    def __len__(self) -> int:
        return len(self.given)

    @property
    def k(self) -> int:
        """Number of missing items."""
        return int(self.removed.shape[1]) if self.missing is None else self.missing

    @property
    def have_texts(self) -> bool:
        """Whether any condition has a text."""
        return self.conditions is not None and bool(self.conditions.has_text.any())

    def asking_for(self, k: int) -> "CompletionTasks":
        """The same outfits with ``k`` missing items, however many were removed, without conditions."""
        return replace(self, missing=k, conditions=None)

    def conditioned(self, conditions: Conditions | None) -> "CompletionTasks":
        """The same tasks with these conditions."""
        return replace(self, conditions=conditions)

    def with_added(self, items: Sequence[int], missing: NDArray[np.bool_]) -> "CompletionTasks":
        """These items given too, in every outfit; of the missing ones those in the mask ``[k]`` remain."""
        added = np.array(items, dtype=np.int32)
        return replace(
            self,
            given=[np.concatenate([given, added]) for given in self.given],
            removed=self.removed[:, :0],
            missing=int(missing.sum()),
            conditions=None if self.conditions is None else self.conditions.of_missing(missing),
        )

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Identifies a task in any subset: outfit and removal number, shape ``[T, 2]``."""
        return np.stack([self.outfits, self.removals], axis=1)

    def take(self, rows: NDArray[np.integer] | Sequence[int]) -> "CompletionTasks":
        """The tasks at these positions, in this order."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            given=[self.given[row] for row in rows.tolist()],
            removed=self.removed[rows],
            outfits=self.outfits[rows],
            removals=self.removals[rows],
            conditions=None if self.conditions is None else self.conditions.take(rows),
            preference=None if self.preference is None else self.preference.take(rows),
        )

    def by_size(self) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows and given items ``[b, n]`` of the tasks with equally many given items, smallest first."""
        sizes = np.array([len(given) for given in self.given], dtype=np.int64)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            yield rows, torch.from_numpy(np.stack([self.given[row] for row in rows.tolist()]).astype(np.int64))

    def digest(self) -> str:
        """SHA-256 over given and removed items, outfits, removal numbers, number of missing items, conditions."""
        digest = hashlib.sha256()
        sizes = np.array([len(given) for given in self.given], dtype=np.int64)
        for array in (sizes, *self.given, self.removed, self.outfits, self.removals):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(str(self.k).encode())
        if self.conditions is not None:
            digest.update(np.packbits(self.conditions.allowed).tobytes())
            digest.update(np.ascontiguousarray(self.conditions.texts).tobytes())
            digest.update(str(self.conditions.alpha).encode())
        return digest.hexdigest()


def make_tasks(outfits: Outfits, k: int, removals: int, limit: int | None, seed: int) -> CompletionTasks:
    """Removes ``k`` random items from the outfits of a split, in their order.

    A removal is seeded by the outfit's position and its own number, so it is the same for every ``limit`` and number of
    ``removals``; the outfits of a smaller limit are among those of a larger one. Outfits with fewer than ``k + 2``
    items are left out and counted.

    Args:
        removals: different removals per outfit; fewer where an outfit has fewer k-subsets.
        limit: number of outfits to draw; None: all.

    Raises:
        DataError: if no outfit is large enough.
    """
    eligible = np.flatnonzero(outfits.sizes >= k + 2)
    if not len(eligible):
        raise DataError(
            f"none of {len(outfits)} outfits has the {k + 2} items that removing {k} takes; set model.k smaller"
        )
    left_out = len(outfits) - len(eligible)
    if limit is not None:
        # One draw per outfit of the whole split, not of the eligible ones, so that it does not depend on k.
        draw = np.random.default_rng([seed, LIMIT_STREAM]).random(len(outfits))
        eligible = np.sort(eligible[np.argsort(draw[eligible], kind="stable")[:limit]])
    given: list[NDArray[np.int32]] = []
    rows: list[tuple[int, int]] = []
    removed: list[NDArray[np.int32]] = []
    for position in eligible.tolist():
        items = outfits[position]
        for number, places in enumerate(_removals(len(items), k, removals, seed, position)):
            given.append(np.delete(items, places).astype(np.int32))
            removed.append(items[places].astype(np.int32))
            rows.append((position, number))
    table = np.array(rows, dtype=np.int64)
    return CompletionTasks(given, np.stack(removed), table[:, 0], table[:, 1], left_out)


def _removals(size: int, k: int, count: int, seed: int, outfit: int) -> list[NDArray[np.int64]]:
    """Up to ``count`` different k-subsets of ``range(size)``, each seeded by its own number."""
    subsets: list[NDArray[np.int64]] = []
    seen: set[tuple[int, ...]] = set()
    for number in range(min(count, comb(size, k))):
        rng = np.random.default_rng([seed, REMOVAL_STREAM, outfit, number])
        while True:
            subset = np.sort(rng.choice(size, k, replace=False)).astype(np.int64)
            if tuple(subset.tolist()) not in seen:
                break
        seen.add(tuple(subset.tolist()))
        subsets.append(subset)
    return subsets
