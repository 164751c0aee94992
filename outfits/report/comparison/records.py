"""What one method did with every outfit: the input of a report."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MethodRecord:
    """What one method did with ``B`` outfits, ``k`` items missing from each.

    Attributes:
        name: the method as it was called, as in ``beam:width=8``.
        outfit_ids: the completed outfits, unique, in any order.
        scores: S of the whole completed outfits, float64, shape ``[B]``.
        judge: the judge's score of the same, shape ``[B]``; None without a judge.
        chosen: catalogue positions of the items put in, shape ``[B, k]``, distinct within a row.
        valid: is the completed set an outfit, shape ``[B]``.
        calls: calls of S made, shape ``[B]``.
        ms: wall time, milliseconds, shape ``[B]``.
        removed_ranks: place from 0 of every removed item in the method's own ranking, -1 where it is not ranked, shape
            ``[B, k]``; None for a method that ranks nothing.
        gradients: gradients of S taken, shape ``[B]``; None for a method that takes none.
        similarity: summed similarity of the chosen items to the texts of conditions, shape ``[B]``; None without such
            conditions.
        relaxed: S at the relaxed optimum, before it was projected to real items, shape ``[B]``; None for a method that
            does not relax, as are the next two.
        moved: distance between relaxed and projected items, summed over the items of an outfit, shape ``[B]``.
        lipschitz: lower bound of S's Lipschitz constant, seen along the way to the relaxed optimum, shape ``[B]``; None
            where it was not measured.

    Raises:
        ValueError: if a field has another length, a score is no number in [0, 1], or an item is chosen twice.
    """

    name: str
    outfit_ids: Sequence[str]
    scores: NDArray[np.float64]
    judge: NDArray[np.float64] | None
    chosen: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_]
    calls: NDArray[np.integer[Any]]
    ms: NDArray[np.float64]
    removed_ranks: NDArray[np.integer[Any]] | None = None
    gradients: NDArray[np.integer[Any]] | None = None
    similarity: NDArray[np.float64] | None = None
    relaxed: NDArray[np.float64] | None = None
    moved: NDArray[np.float64] | None = None
    lipschitz: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.outfit_ids)
        if count == 0:
            raise ValueError(f"{self.name}: no outfit was completed")
        if len(set(self.outfit_ids)) != count:
            raise ValueError(f"{self.name}: an outfit is recorded twice")
        if self.chosen.ndim != 2 or self.chosen.shape[0] != count or self.chosen.shape[1] < 1:
            raise ValueError(f"{self.name}: chosen has shape {list(self.chosen.shape)}, not [{count}, k]")
        for name, value in self._columns().items():
            shape = self.chosen.shape if name in ("chosen", "removed_ranks") else (count,)
            if value is not None and value.shape != shape:
                raise ValueError(f"{self.name}: {name} has shape {list(value.shape)}, not {list(shape)}")
        for name, value in (("scores", self.scores), ("judge", self.judge), ("relaxed", self.relaxed)):
            # written so that NaN fails too
            if value is not None and not bool(np.all((value >= 0) & (value <= 1))):
                raise ValueError(f"{self.name}: {name} must be numbers in [0, 1]")
        for name in ("calls", "ms", "gradients", "moved", "lipschitz"):
            value = getattr(self, name)
            if value is not None and not np.all(np.isfinite(value) & (value >= 0)):
                raise ValueError(f"{self.name}: {name} must be finite and not negative")
        if self.similarity is not None and not np.all(np.isfinite(self.similarity)):
            raise ValueError(f"{self.name}: similarity must be finite")
        if (self.relaxed is None) != (self.moved is None) or (self.relaxed is None and self.lipschitz is not None):
            raise ValueError(f"{self.name}: relaxed and moved belong together, and lipschitz to them")
        if np.any(self.chosen < 0):
            raise ValueError(f"{self.name}: a chosen item is no catalogue position (negative)")
        ordered = np.sort(self.chosen, axis=1)
        twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        if len(twice):
            raise ValueError(f"{self.name}: an item is chosen twice for outfit {self.outfit_ids[int(twice[0])]!r}")

    @property
    def k(self) -> int:
        """Number of items put into every outfit."""
        return int(self.chosen.shape[1])

    def take(self, rows: NDArray[np.integer[Any]]) -> "MethodRecord":
        """The record of these rows, in this order."""
        columns: dict[str, Any] = {
            name: None if value is None else value[rows] for name, value in self._columns().items()
        }
        return replace(self, outfit_ids=[self.outfit_ids[int(row)] for row in rows], **columns)

    def by_outfit(self) -> "MethodRecord":
        """The same record sorted by outfit id, so that metrics do not depend on who computed which outfit."""
        ordered = self.take(np.argsort(np.asarray(self.outfit_ids, dtype=object), kind="stable"))
        real = ("scores", "judge", "ms", "similarity", "relaxed", "moved", "lipschitz")
        exact = {name: value.astype(np.float64) for name in real if (value := getattr(ordered, name)) is not None}
        return replace(ordered, **exact)

    def shared_with(self, other: "MethodRecord") -> tuple["MethodRecord", "MethodRecord"] | None:
        """Both records of the outfits that both completed, in the order of this one; None if there is none."""
        if self.outfit_ids == other.outfit_ids:
            return self, other
        rows = {outfit_id: row for row, outfit_id in enumerate(other.outfit_ids)}
        mine = [row for row, outfit_id in enumerate(self.outfit_ids) if outfit_id in rows]
        if not mine:
            return None
        return self.take(np.array(mine)), other.take(np.array([rows[self.outfit_ids[row]] for row in mine]))

    @classmethod
    def joined(cls, parts: Sequence["MethodRecord"]) -> "MethodRecord":
        """One record of the shards that one method was run in, on one rank or many.

        Raises:
            ValueError: if the parts are of different methods, disagree about k or about what was recorded, or hold an
                outfit twice.
        """
        if not parts or len({part.name for part in parts}) != 1:
            raise ValueError("the parts of a record must be of one method")
        columns: dict[str, Any] = {}
        for name in parts[0]._columns():
            values = [getattr(part, name) for part in parts]
            absent = [value is None for value in values]
            if any(absent) and not all(absent):
                raise ValueError(f"{parts[0].name}: some parts have {name} and some have not")
            columns[name] = None if all(absent) else np.concatenate(values)
        outfit_ids = [outfit_id for part in parts for outfit_id in part.outfit_ids]
        return cls(name=parts[0].name, outfit_ids=outfit_ids, **columns)

    def _columns(self) -> dict[str, NDArray[Any] | None]:
        """Everything that has a row per outfit, but the ids."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("name", "outfit_ids")}
