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
class Relaxation:
    r"""How far the relaxed optimum of the gradient method lies from what it was projected to.

    If S is M-Lipschitz in :math:`\sum_i \rho(X_i, X'_i)`, the score lost is at most M times the distance moved.

    Attributes:
        scores: S at the relaxed optimum, before projection, float64, shape ``[B]``.
        moved: summed Euclidean distance between relaxed and real items, in embedding units, float64, shape ``[B]``.
        lipschitz: largest slope of S seen along the ascent, a lower bound of M, float64, shape ``[B]``.
    """

    scores: NDArray[np.float64]
    moved: NDArray[np.float64]
    lipschitz: NDArray[np.float64]


@dataclass(frozen=True)
class Completions:
    """The answers of one method to a batch of ``B`` tasks.

    Attributes:
        given: catalogue positions of the given items, ``B`` arrays.
        chosen: catalogue positions of the chosen items, shape ``[B, k]``, in the order of selection; where there were
            conditions, item i is the answer to condition i.
        calls: calls of S that choosing took, shape ``[B]``; the final scoring is the experiment's, not the method's.
        seconds: wall time of choosing, shape ``[B]``; the batch's time in equal shares.
        step_scores: S after each step, shape ``[B, k]``, of methods that look at S step by step; of ``greedy_1`` S of
            each item added alone, of ``exhaustive``, which takes no steps, that of the whole.
        removed_ranks: 0-based rank of every removed item in the method's own ranking of single expansions, shape
            ``[B, j]``; :data:`UNRANKED` where the method cannot choose it. None for methods that do not rank.
        scores: S of the completed outfit, shape ``[B]``, once scored; without the zero of sets that are not outfits.
        gradients: gradients of S taken, shape ``[B]``; None: none.
        relaxation: what the gradient method saw before projection.
        alternatives: further answers, best first and the chosen one first among them, shape ``[B, m, k]``; rows of -1
            where there are fewer. None for methods that have but one answer.

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
    gradients: NDArray[np.int64] | None = None
    relaxation: Relaxation | None = None
    alternatives: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.chosen.ndim != 2 or len(self.given) != len(self.chosen):
            raise ValueError(f"{len(self.given)} outfits cannot have chosen items of shape {list(self.chosen.shape)}")
        (batch, k), ranked = self.chosen.shape, self.removed_ranks
        for name, array, shape in (
            ("calls", self.calls, (batch,)),
            ("seconds", self.seconds, (batch,)),
            ("step_scores", self.step_scores, (batch, k)),
            ("removed_ranks", self.removed_ranks, (batch, 0 if ranked is None else ranked.shape[-1])),
            ("scores", self.scores, (batch,)),
            ("gradients", self.gradients, (batch,)),
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


@dataclass(frozen=True)
class SearchTrace:
    """What a search with S saw, step by step, for ``B`` outfits.

    Attributes:
        chosen: catalogue positions in the order of selection, int32, shape ``[B, k]``.
        logits: logit of S after each selection, float32, shape ``[B, k]``; S is its sigmoid.
        candidates: best candidates of each step, best first, int32, shape ``[B, k, M]``, padded with -1.
        candidate_logits: their logits, float32, shape ``[B, k, M]``, padded with ``-inf``.
        calls: calls of S, int64, shape ``[B]``.
        ranks: 0-based rank of the items that were asked about among the expansions of the first step, int64, shape
            ``[B, j]``, :data:`UNRANKED` where forbidden; None if none were asked about. With conditions, item i's place
            is that among the expansions that answer condition i.
        slots: which missing item each selection is, int64, shape ``[B, k]``; None without conditions.
        candidate_similarity: summed similarity of the candidates to the text of the condition that they would answer,
            float32, shape ``[B, k, M]``; None without conditions.
        alternatives: catalogue positions of the best completions found, best first, items in the order of conditions,
            int64, shape ``[B, m, k]``, rows of -1 where there are fewer; None if none were kept.
    """

    chosen: NDArray[np.int32]
    logits: NDArray[np.float32]
    candidates: NDArray[np.int32]
    candidate_logits: NDArray[np.float32]
    calls: NDArray[np.int64]
    ranks: NDArray[np.int64] | None = None
    slots: NDArray[np.int64] | None = None
    candidate_similarity: NDArray[np.float32] | None = None
    alternatives: NDArray[np.int64] | None = None

    @property
    def by_condition(self) -> NDArray[np.int64]:
        """The chosen items in the order of the conditions they answer, ``[B, k]``; as selected without conditions."""
        chosen = self.chosen.astype(np.int64)
        return chosen if self.slots is None else np.take_along_axis(chosen, np.argsort(self.slots, axis=1), axis=1)

    def take(self, rows: NDArray[np.int64]) -> "SearchTrace":
        """The trace of these rows, in this order."""
        arrays: dict[str, Any] = {name: None if array is None else array[rows] for name, array in vars(self).items()}
        return SearchTrace(**arrays)

    @classmethod
    def concatenate(cls, parts: Sequence["SearchTrace"]) -> "SearchTrace":
        """The traces of several batches as one."""
        arrays: dict[str, Any] = {f.name: _concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)}
        return cls(**arrays)
