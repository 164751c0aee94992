"""What one method did with every outfit: the input of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MethodRecord:
    """What one method did with ``B`` outfits, ``k`` items missing from each.

    Attributes:
        name: the method.
        outfit_ids: the completed outfits, unique, in any order.
        scores: S of the whole completed outfits, float64, shape ``[B]``.
        judge: the judge's score of the same, shape ``[B]``; None without a judge.
        chosen: catalogue positions of the items put in, shape ``[B, k]``, distinct within a row.
        valid: is the completed set an outfit, shape ``[B]``.
        calls: calls of S made, shape ``[B]``.
        ms: wall time, milliseconds, shape ``[B]``.
        removed_ranks: place from 0 of every removed item in the method's own ranking, -1 where it is not ranked, shape
            ``[B, k]``; None for a method that ranks nothing.

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

    def __post_init__(self) -> None:
        count = len(self.outfit_ids)
        if count == 0:
            raise ValueError(f"{self.name}: no outfit was completed")
        if len(set(self.outfit_ids)) != count:
            raise ValueError(f"{self.name}: an outfit is recorded twice")
        if self.chosen.ndim != 2 or self.chosen.shape[0] != count or self.chosen.shape[1] < 1:
            raise ValueError(f"{self.name}: chosen has shape {list(self.chosen.shape)}, not [{count}, k]")
        expected = {"scores": (count,), "judge": (count,), "valid": (count,), "calls": (count,), "ms": (count,)}
        for name, shape in (expected | {"removed_ranks": self.chosen.shape}).items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{self.name}: {name} has shape {list(value.shape)}, not {list(shape)}")
        for name, value in (("scores", self.scores), ("judge", self.judge)):
            # written so that NaN fails too
            if value is not None and not bool(np.all((value >= 0) & (value <= 1))):
                raise ValueError(f"{self.name}: {name} must be numbers in [0, 1]")
        if np.any(self.calls < 0) or not np.all(np.isfinite(self.ms) & (self.ms >= 0)):
            raise ValueError(f"{self.name}: calls and ms must be finite and not negative")
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

    def by_outfit(self) -> "MethodRecord":
        """The same record sorted by outfit id, so that figures do not depend on who computed which outfit."""
        order = np.argsort(np.asarray(self.outfit_ids, dtype=object), kind="stable")
        return MethodRecord(
            self.name,
            [self.outfit_ids[position] for position in order],
            self.scores[order].astype(np.float64),
            None if self.judge is None else self.judge[order].astype(np.float64),
            self.chosen[order],
            self.valid[order],
            self.calls[order],
            self.ms[order].astype(np.float64),
            None if self.removed_ranks is None else self.removed_ranks[order],
        )

    @classmethod
    def joined(cls, parts: Sequence["MethodRecord"]) -> "MethodRecord":
        """One record of the shards that one method was run in, on one rank or many.

        Raises:
            ValueError: if the parts are of different methods, disagree about k, the judge or the ranks, or hold an
                outfit twice.
        """
        if not parts or len({part.name for part in parts}) != 1:
            raise ValueError("the parts of a record must be of one method")
        columns: dict[str, Any] = {}
        for name in ("scores", "judge", "chosen", "valid", "calls", "ms", "removed_ranks"):
            values = [getattr(part, name) for part in parts]
            absent = [value is None for value in values]
            if any(absent) and not all(absent):
                raise ValueError(f"{parts[0].name}: some parts have {name} and some have not")
            columns[name] = None if all(absent) else np.concatenate(values)
        outfit_ids = [outfit_id for part in parts for outfit_id in part.outfit_ids]
        return cls(name=parts[0].name, outfit_ids=outfit_ids, **columns)
