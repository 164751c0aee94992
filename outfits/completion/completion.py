"""The trace of a search with S and the outcome of a method, with a row per outfit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from outfits.completion.tasks import CompletionTasks
from outfits.storage import Arrays

UNRANKED = np.iinfo(np.int64).max
"""Rank of an item that a method cannot choose at all: it counts as a miss at every cut."""


def concatenated(parts: Sequence[Arrays]) -> Arrays:
    """Concatenates the arrays of several batches; raises :class:`ValueError` if there is none or their names differ."""
    if not parts:
        raise ValueError("there is nothing to concatenate")
    names = {name for part in parts for name in part}
    if partial := sorted(name for name in names if not all(name in part for part in parts)):
        raise ValueError(f"some parts have {', '.join(partial)} and some have not")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class OutfitRows:
    """Fields with a row per outfit; one that has no meaning is None."""

    def arrays(self) -> Arrays:
        """The arrays by field, those that are None left out."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def take(self, rows: NDArray[np.integer]) -> Self:
        """These rows, in this order."""
        taken: dict[str, Any] = {
            name: value[rows] if isinstance(value, np.ndarray) else value.take(rows)
            for name, value in vars(self).items()
            if value is not None
        }
        return replace(self, **taken)


@dataclass(frozen=True, eq=False)
class MethodOutcome(OutfitRows):
    r"""The outcome of one method for ``B`` tasks of ``k`` missing items, from the search to the report.

    A method fills the fields up to ``alternatives``; evaluation adds the others.

    If S is M-Lipschitz in :math:`\sum_i \rho(X_i, X'_i)`, projection of a relaxed optimum to real items loses at most M
    times the distance moved: ``relaxed``, ``moved`` and ``lipschitz`` check this bound.

    Attributes:
        tasks: what was completed.
        chosen: catalogue positions of the chosen items, int64, shape ``[B, k]``, in the order of selection; with
            conditions, item i answers condition i.
        calls: calls of S that choosing took, int64, shape ``[B]``, the final scoring not counted.
        seconds: wall time of choosing, float64, shape ``[B]``; the batch's time in equal shares.
        step_scores: S after each step, shape ``[B, k]``; of ``greedy_1`` S of each item added alone, of ``exhaustive``,
            which takes no steps, that of the whole outfit. None for methods that do not score step by step.
        removed_ranks: 0-based rank of every removed item in the method's own ranking of single expansions, int64, shape
            ``[B, j]``; :data:`UNRANKED` where the method cannot choose it. None for methods that do not rank.
        gradients: gradients of S taken, int64, shape ``[B]``; None for a method that takes none.
        relaxed: S at the relaxed optimum, before projection, float64, shape ``[B]``; None for a method that does not
            relax, as are the next two.
        moved: Euclidean distance between relaxed and real items, summed over the items, in embedding units, float64,
            shape ``[B]``.
        lipschitz: largest slope of S seen along the ascent, a lower bound of M, float64, shape ``[B]``; None where it
            was not measured.
        alternatives: further answers, best first and the chosen one first among them, int64, shape ``[B, m, k]``; rows
            of -1 where there are fewer. None for methods that have but one answer.
        scores: S of the completed outfits, float64, shape ``[B]``, without the zero of sets that are not outfits.
        judge: the judge's scores of the same, shape ``[B]``; None without a judge.
        valid: which completed sets are outfits, bool, shape ``[B]``.
        similarity: similarity of the chosen items to the texts of conditions, summed over the items, float64, shape
            ``[B]``; None without texts.
        outfit_ids: the data set's names of the outfits, unique, shape ``[B]``.

    Raises:
        ValueError: if there is no task, a shape does not fit, an item is chosen twice, is a given one or no catalogue
            position, a number is not finite, a score lies outside [0, 1], an amount is negative, or an outfit occurs
            twice.
    """

    tasks: CompletionTasks
    chosen: NDArray[np.int64]
    calls: NDArray[np.int64]
    seconds: NDArray[np.float64]
    step_scores: NDArray[np.float64] | None = None
    removed_ranks: NDArray[np.int64] | None = None
    gradients: NDArray[np.int64] | None = None
    relaxed: NDArray[np.float64] | None = None
    moved: NDArray[np.float64] | None = None
    lipschitz: NDArray[np.float64] | None = None
    alternatives: NDArray[np.int64] | None = None
    scores: NDArray[np.float64] | None = None
    judge: NDArray[np.float64] | None = None
    valid: NDArray[np.bool_] | None = None
    similarity: NDArray[np.float64] | None = None
    outfit_ids: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        self._check_arrays()
        self._check_chosen()
        if (self.relaxed is None) != (self.moved is None) or (self.relaxed is None and self.lipschitz is not None):
            raise ValueError("relaxed and moved belong together, and lipschitz to them")
        if self.outfit_ids is not None and len(np.unique(self.outfit_ids)) != len(self):
            raise ValueError("an outfit is recorded twice")

    def _check_arrays(self) -> None:
        """Checks shapes, finite numbers, scores in [0, 1] and amounts of no less than 0."""
        if not len(self):
            raise ValueError("no outfit was completed")
        steps = (len(self), self.tasks.k)
        shapes = {"chosen": steps, "step_scores": steps, "removed_ranks": self.tasks.removed.shape}
        if self.alternatives is not None:
            shapes["alternatives"] = (len(self), self.alternatives.shape[1], self.tasks.k)
        for name, array in self.arrays().items():
            shape = shapes.get(name, (len(self),))
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, not {list(array.shape)}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} of completion {np.argwhere(~np.isfinite(array))[0][0]} is not finite")
            if name in ("scores", "judge", "relaxed") and not (array.min() >= 0 and array.max() <= 1):
                raise ValueError(f"{name} must lie in [0, 1]")
            if name in ("calls", "seconds", "gradients", "moved", "lipschitz") and array.min() < 0:
                raise ValueError(f"{name} must not be negative")

    def _check_chosen(self) -> None:
        """Checks for catalogue positions, distinct within an outfit and none of its given items."""
        ordered = np.sort(self.chosen, axis=1)
        outfit = np.repeat(np.arange(len(self)), [len(given) for given in self.tasks.given])
        repeated = self.chosen[outfit] == np.concatenate(self.tasks.given)[:, None]  # [Σ n, k]
        for wrong, what in (
            (np.flatnonzero(self.chosen.min(axis=1) < 0), "holds no catalogue position"),  # -1: "nothing found"
            (np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)), "chooses an item twice"),
            (outfit[repeated.any(axis=1)], "chooses a given item"),
        ):
            if len(wrong):
                row = int(wrong[0])
                raise ValueError(
                    f"completion {row} {what}: {self.chosen[row].tolist()} beside {self.tasks.given[row].tolist()}"
                )

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def ms(self) -> NDArray[np.float64]:
        """Wall time, milliseconds, shape ``[B]``."""
        return self.seconds * 1000

    @property
    def require_outfit_ids(self) -> NDArray[np.str_]:
        """The names of the outfits; raises :class:`ValueError` if there are none."""
        if self.outfit_ids is None:
            raise ValueError("an outcome needs the names of its outfits to be reported")
        return self.outfit_ids

    def sets(self) -> list[NDArray[np.int64]]:
        """The completed outfits, given items first."""
        return [np.concatenate([given, chosen]) for given, chosen in zip(self.tasks.given, self.chosen, strict=True)]


@dataclass(frozen=True, eq=False)
class SearchTrace(OutfitRows):
    """A search with S, step by step, for ``B`` outfits.

    Attributes:
        chosen: catalogue positions in the order of selection, int32, shape ``[B, k]``.
        logits: logit of S after each selection, float32, shape ``[B, k]``; S is its sigmoid.
        candidates: best candidates of each step, best first, int32, shape ``[B, k, M]``, padded with -1.
        candidate_logits: their logits, float32, shape ``[B, k, M]``, padded with ``-inf``.
        calls: calls of S, int64, shape ``[B]``.
        ranks: 0-based rank of the items of ``rank_of`` among the expansions of the first step, int64, shape ``[B, j]``,
            :data:`UNRANKED` where forbidden; with conditions, item i is ranked among those that answer condition i.
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
        """The chosen items ``[B, k]`` in the order of conditions, or of selection without conditions."""
        chosen = self.chosen.astype(np.int64)
        return chosen if self.slots is None else np.take_along_axis(chosen, np.argsort(self.slots, axis=1), axis=1)

    @property
    def final_logits(self) -> NDArray[np.float64]:
        """Logit of S after the last step taken, shape ``[B]``; ``chosen`` has -1 for steps that were not."""
        last = (self.chosen >= 0).sum(axis=1, keepdims=True) - 1
        return np.take_along_axis(self.logits, last, axis=1)[:, 0].astype(np.float64)

    @classmethod
    def concatenate(cls, parts: Sequence["SearchTrace"]) -> "SearchTrace":
        """Concatenates the traces of several batches."""
        arrays: dict[str, Any] = concatenated([part.arrays() for part in parts])
        return cls(**arrays)
