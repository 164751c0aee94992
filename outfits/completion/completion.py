"""What methods return: completions with their invariants, and the trace of a search with S."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNRANKED = np.iinfo(np.int64).max
"""Rank of an item that a method cannot choose at all: it counts as a miss at every cut."""


def _concatenate(parts: Sequence[NDArray[Any] | None]) -> Any:
    arrays = [part for part in parts if part is not None]
    if not arrays:
        return None
    if len(arrays) != len(parts):
        raise ValueError("a field that some batches have and others lack cannot be concatenated")
    return np.concatenate(arrays)


@dataclass(frozen=True)
class Completions:
    """The answers of one method to a batch of ``B`` tasks.

    Attributes:
        given: catalogue positions of the given items, ``B`` arrays.
        chosen: catalogue positions of the chosen items, shape ``[B, k]``.
        calls: calls of S that choosing took, shape ``[B]``; the final scoring is the experiment's, not the method's.
        seconds: wall time of choosing, shape ``[B]``; the batch's time in equal shares.
        step_scores: S after each step, shape ``[B, k]``, of methods that look at S step by step.
        removed_ranks: 0-based rank of every removed item in the method's own ranking of single additions, shape
            ``[B, k]``; :data:`UNRANKED` where the method cannot choose it. None for methods that do not rank.
        scores: S of the completed outfit, shape ``[B]``, once scored; without the zero of sets that are not outfits.

    Raises:
        ValueError: if shapes differ, an item is chosen twice, is a given one or no catalogue position, or a number is
            not finite.
    """

    given: Sequence[NDArray[np.integer]]
    chosen: NDArray[np.int64]
    calls: NDArray[np.int64]
    seconds: NDArray[np.float64]
    step_scores: NDArray[np.float64] | None = None
    removed_ranks: NDArray[np.int64] | None = None
    scores: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.chosen.ndim != 2 or len(self.given) != len(self.chosen):
            raise ValueError(f"{len(self.given)} outfits cannot have chosen items of shape {list(self.chosen.shape)}")
        batch, k = self.chosen.shape
        for name, array, shape in (
            ("calls", self.calls, (batch,)),
            ("seconds", self.seconds, (batch,)),
            ("step_scores", self.step_scores, (batch, k)),
            ("removed_ranks", self.removed_ranks, (batch, k)),
            ("scores", self.scores, (batch,)),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, not {list(array.shape)}")
            if array is not None and not np.isfinite(array).all():
                raise ValueError(f"{name} of completion {np.argwhere(~np.isfinite(array))[0][0]} is not finite")
        if (self.chosen < 0).any():  # -1 is what an index returns for "nothing found", and Python's last item
            raise ValueError(f"completion {np.argwhere(self.chosen < 0)[0][0]} holds no catalogue position")
        for row, (given, chosen) in enumerate(zip(self.given, self.chosen, strict=True)):
            if len(np.unique(chosen)) != k:
                raise ValueError(f"completion {row} chooses an item twice: {chosen.tolist()}")
            if np.isin(chosen, given).any():
                raise ValueError(f"completion {row} chooses a given item: {chosen.tolist()} beside {list(given)}")

    def __len__(self) -> int:
        return len(self.chosen)

    def sets(self) -> list[NDArray[np.int64]]:
        """The completed outfits, given items first."""
        return [np.concatenate([given, chosen]) for given, chosen in zip(self.given, self.chosen, strict=True)]

    def with_scores(self, scores: NDArray[np.float64]) -> "Completions":
        """The same completions with S of the completed outfits, shape ``[B]``."""
        return replace(self, scores=scores)

    @classmethod
    def concatenate(cls, parts: Sequence["Completions"]) -> "Completions":
        """The completions of several batches as one."""
        arrays: dict[str, Any] = {
            field.name: _concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "given"
        }
        return cls(given=[given for part in parts for given in part.given], **arrays)


@dataclass(frozen=True)
class SearchTrace:
    """What a search with S saw, step by step, for ``B`` outfits.

    Attributes:
        chosen: catalogue positions in the order of selection, int32, shape ``[B, k]``.
        logits: logit of S after each selection, float32, shape ``[B, k]``; S is its sigmoid.
        candidates: best candidates of each step, best first, int32, shape ``[B, k, M]``, padded with -1.
        candidate_logits: their logits, float32, shape ``[B, k, M]``, padded with ``-inf``.
        calls: calls of S, int64, shape ``[B]``.
        ranks: 0-based rank of the items that were asked about among the additions of the first step, int64, shape
            ``[B, j]``, :data:`UNRANKED` where forbidden; None if none were asked about.
    """

    chosen: NDArray[np.int32]
    logits: NDArray[np.float32]
    candidates: NDArray[np.int32]
    candidate_logits: NDArray[np.float32]
    calls: NDArray[np.int64]
    ranks: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.int64]) -> "SearchTrace":
        """The trace of these rows, in this order."""
        return SearchTrace(
            chosen=self.chosen[rows],
            logits=self.logits[rows],
            candidates=self.candidates[rows],
            candidate_logits=self.candidate_logits[rows],
            calls=self.calls[rows],
            ranks=None if self.ranks is None else self.ranks[rows],
        )

    @classmethod
    def concatenate(cls, parts: Sequence["SearchTrace"]) -> "SearchTrace":
        """The traces of several batches as one."""
        arrays: dict[str, Any] = {f.name: _concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)}
        return cls(**arrays)
