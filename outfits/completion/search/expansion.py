"""The step that every search with S repeats: scores and ranks all expansions of hypotheses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Conditions
from outfits.data.category_rule import feasible_categories, require_categories, require_feasible
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.preferences import UserPreference

CATALOGUE_PART = 65_536
"""Items of the catalogue that a search scores at once."""


@dataclass(frozen=True)
class OutfitConditions:
    """The conditions for one outfit of a search.

    Attributes:
        allowed: categories of each missing item, bool, shape ``[k, C]``.
        slot_groups: the first missing item of the same condition, int64, shape ``[k]``: search tries equal conditions
            once.
        similarity: similarity of every catalogue item to the text of each missing item, float32, shape ``[k, N]``; None
            if no item has a text, and expansions are ranked by S alone.
        alpha: weight of S against the texts.
        asked: whether there are conditions; only then does it matter which item answers which.
    """

    allowed: NDArray[np.bool_]
    slot_groups: NDArray[np.int64]
    similarity: NDArray[np.float32] | None = None
    alpha: float = 1.0
    asked: bool = True

    @classmethod
    def none(cls, k: int, num_categories: int) -> "OutfitConditions":
        """No conditions for ``k`` missing items."""
        return cls(np.ones((k, num_categories), dtype=np.bool_), np.zeros(k, dtype=np.int64), asked=False)

    @classmethod
    def of(cls, conditions: Conditions, row: int, similarity: TextSimilarity | None) -> "OutfitConditions":
        """The conditions for outfit ``row``; raises :class:`ValueError` for texts without ``similarity``."""
        if not conditions.has_text[row].any():
            return cls(conditions.allowed[row], conditions.slot_groups(row))
        if similarity is None:
            raise ValueError("texts of conditions need the catalogue's text embeddings")
        return cls(
            conditions.allowed[row], conditions.slot_groups(row), similarity(conditions.texts[row]), conditions.alpha
        )

    @property
    def described(self) -> NDArray[np.bool_]:
        """Missing items with a text to which any catalogue item is similar, shape ``[k]``."""
        if self.similarity is None:
            return np.zeros(len(self.slot_groups), dtype=np.bool_)
        return np.asarray(self.similarity.any(axis=1))

    def slots(self, free: NDArray[np.bool_]) -> list[int]:
        """The first missing item of every group that is still missing."""
        return [
            int(np.flatnonzero(free & (self.slot_groups == group))[0]) for group in np.unique(self.slot_groups[free])
        ]


@dataclass(frozen=True)
class Hypothesis:
    """A partial completion of one outfit.

    Attributes:
        items: catalogue positions in the order of selection.
        slots: which missing item each is.
        value: what the search maximises, see :func:`objective`.
        logits: logit of S after each selection.
        similarity: summed similarity to texts of conditions.
    """

    items: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    value: float = 0.0
    logits: tuple[float, ...] = ()
    similarity: float = 0.0

    def free(self, k: int) -> NDArray[np.bool_]:
        """Which items are still missing, shape ``[k]``."""
        free = np.ones(k, dtype=np.bool_)
        free[list(self.slots)] = False
        return free

    def answer(self, by_condition: bool) -> tuple[int, ...]:
        """The items in the order of the conditions they answer, or of their selection."""
        return (
            tuple(item for _, item in sorted(zip(self.slots, self.items, strict=True))) if by_condition else self.items
        )

    def expanded_by(self, expansions: "Expansions", place: int) -> "Hypothesis":
        """This hypothesis with one of its expansions."""
        return Hypothesis(
            (*self.items, int(expansions.items[place])),
            (*self.slots, int(expansions.slots[place])),
            float(expansions.values[place]),
            (*self.logits, float(expansions.logits[place])),
            self.similarity + float(expansions.similarity[place]),
        )


@dataclass(frozen=True)
class Expansions:
    """Expansions of one hypothesis that keep the rule and the conditions, best first.

    Equal values are ordered by catalogue position, then by slot.

    Attributes:
        items: catalogue positions, int64, shape ``[A]``.
        slots: which missing item each would be, int64, shape ``[A]``.
        values: what the search maximises, see :class:`Hypothesis`, float64, shape ``[A]``.
        logits: logits of S, float32, shape ``[A]``.
        similarity: similarity of the item to the text of the condition, float32, shape ``[A]``.
    """

    items: NDArray[np.int64]
    slots: NDArray[np.int64]
    values: NDArray[np.float64]
    logits: NDArray[np.float32]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def none(cls) -> "Expansions":
        """No expansions."""
        nothing, numbers = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        return cls(nothing, nothing, numbers.astype(np.float64), numbers, numbers)

    def joined(self, other: "Expansions") -> "Expansions":
        """These expansions and others, in no order."""
        return Expansions(**{name: np.concatenate([mine, getattr(other, name)]) for name, mine in vars(self).items()})

    def best_first(self) -> "Expansions":
        """All expansions, best first."""
        return self._at(np.lexsort((self.slots, self.items, -self.values)))

    def best_of_each(self, keep: int) -> "Expansions":
        """The ``keep`` best for each missing item, in no order."""
        return self._at(np.concatenate([self._best_of(slot, keep) for slot in np.unique(self.slots)], dtype=np.int64))

    def _best_of(self, slot: int, keep: int) -> NDArray[np.int64]:
        places = self.of_slot(slot)
        if len(places) > keep:
            values = self.values[places]
            places = places[values >= np.partition(values, -keep)[-keep]]  # includes all ties with the last one
            places = places[np.lexsort((self.items[places], -self.values[places]))[:keep]]
        return places

    def _at(self, places: NDArray[np.int64]) -> "Expansions":
        return self.only(places, self.slots)

    def only(self, left: NDArray[np.bool_] | NDArray[np.int64], slots: NDArray[np.int64]) -> "Expansions":
        """The expansions selected by a mask or indices, with new slots, given for all, shape ``[A]``."""
        return Expansions(self.items[left], slots[left], self.values[left], self.logits[left], self.similarity[left])

    def first_of_each_item(self) -> NDArray[np.int64]:
        """Indices of the expansions, best first, each item once."""
        return np.sort(np.unique(self.items, return_index=True)[1])

    def of_slot(self, slot: int) -> NDArray[np.int64]:
        """Indices of the expansions that would be this missing item, best first."""
        return np.flatnonzero(self.slots == slot)


CandidateProposer = Callable[
    [int, OutfitConditions, Hypothesis, NDArray[np.bool_]], tuple[NDArray[np.int64], NDArray[np.bool_]]
]
"""Candidates for the next step of a search: from an outfit's row, its conditions, a hypothesis and its feasible
categories ``[k, C]`` (none for items already chosen) to ascending catalogue positions ``[M]`` and which of
them are for which missing item ``[k, M]``."""


@dataclass(frozen=True)
class SearchQuery:
    """A query to a search with S: complete ``B`` outfits with equally many given items.

    Attributes:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        candidates_kept: ``M``, best candidates of each step to keep; fewer are kept where there were fewer.
        rank_of: catalogue positions ``[B, j]`` whose rank among the expansions of the first step to report.
        conditions: conditions for each outfit; None: none.
        similarity: similarity of the catalogue to texts, where conditions have texts.
        propose: candidates of each step; None: the whole catalogue.
        alternatives: ``m``, best completions to keep.
        preference: what a user's preference adds to the objective; None: nothing.
    """

    scorer: CandidateScorer
    outfits: Tensor
    k: int
    candidates_kept: int = 0
    rank_of: NDArray[np.integer] | None = None
    conditions: Conditions | None = None
    similarity: TextSimilarity | None = None
    propose: CandidateProposer | None = None
    alternatives: int = 0
    preference: UserPreference | None = None

    def conditions_of(self, row: int) -> OutfitConditions:
        """The conditions for one outfit; raises :class:`ValueError` for texts without ``similarity``."""
        if self.conditions is None:
            return OutfitConditions.none(self.k, self.scorer.num_categories)
        return OutfitConditions.of(self.conditions, row, self.similarity)


def expand(
    query: SearchQuery,
    row: int,
    conditions: OutfitConditions,
    hypotheses: Sequence[Hypothesis],
    keep: int | None = None,
) -> list[Expansions]:
    """Scores and ranks all expansions of equally long hypotheses of outfit ``row``.

    Scores the catalogue in parts, and keeps of each the ``keep`` best for each missing item; None: all, as in a first
    step that reports ranks.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    scorer, outfit = query.scorer, query.outfits[row].cpu()
    if query.rank_of is not None and not hypotheses[0].items:
        keep = None
    current = torch.stack(
        [torch.cat([outfit, torch.tensor(hypothesis.items, dtype=torch.int64)]) for hypothesis in hypotheses]
    )
    forbidden = scorer.taken_categories(current)  # [H, C]
    feasible = [
        _feasible(hypothesis, ~taken & scorer.has_items, conditions, row)
        for hypothesis, taken in zip(hypotheses, forbidden, strict=True)
    ]

    def score() -> list[Expansions]:
        return _scored(query, row, conditions, hypotheses, current, feasible, keep)

    best = score() if query.propose is not None else _of_all_ranks(scorer, score, keep)
    return [expansions.best_first() for expansions in best]


def _of_all_ranks(scorer: CandidateScorer, score: Callable[[], list[Expansions]], keep: int | None) -> list[Expansions]:
    """Joins the expansions, and the calls of S, of all processes that score a share of the catalogue.

    An error on one rank is raised on all of them, which would else wait for it.
    """
    before, error, best = scorer.calls, None, []
    try:
        best = score()
    except ValueError as raised:
        error = str(raised)
    found = scorer.gather((best, scorer.calls - before, error))
    scorer.calls = before + sum(calls for _, calls, _ in found)
    for _, _, reason in found:
        if reason is not None:
            raise ValueError(reason)
    joined = [reduce(Expansions.joined, of_ranks) for of_ranks in zip(*(best for best, _, _ in found), strict=True)]
    return joined if keep is None else [one.best_of_each(keep) if len(one) else one for one in joined]


def _scored(
    query: SearchQuery,
    row: int,
    conditions: OutfitConditions,
    hypotheses: Sequence[Hypothesis],
    current: Tensor,
    feasible: Sequence[NDArray[np.bool_]],
    keep: int | None,
) -> list[Expansions]:
    """The ``keep`` best expansions of each hypothesis, in no order; ``current`` are the partial outfits ``[H, n]``."""
    best = [Expansions.none() for _ in hypotheses]
    for candidates, masks in _parts(query, row, conditions, hypotheses, feasible):
        asked = np.full((len(hypotheses), max(map(len, candidates))), -1, dtype=np.int64)
        for place, (found, mask) in enumerate(zip(candidates, masks, strict=True)):
            asked[place, : len(found)] = np.where(mask.any(axis=0), found, -1)
        logits = query.scorer.addition_logits(current, torch.from_numpy(asked)).cpu()
        if torch.isnan(logits).any() or torch.isposinf(logits).any():
            raise ValueError("S gave a logit that is not finite; its weights or the item embeddings are damaged")
        for place, (hypothesis, found, mask) in enumerate(zip(hypotheses, candidates, masks, strict=True)):
            preferred = None
            if query.preference is not None:
                preferred = partial(query.preference.of_additions, row, current[place].numpy())
            scored = _expansions(hypothesis, found, mask, logits[place, : len(found)].numpy(), conditions, preferred)
            best[place] = best[place].joined(scored)
            if keep is not None and len(best[place]):
                best[place] = best[place].best_of_each(keep)
    return best


def _feasible(
    hypothesis: Hypothesis, available: NDArray[np.bool_], conditions: OutfitConditions, row: int
) -> NDArray[np.bool_]:
    """Categories ``[k, C]`` that each missing item may have; none for items already chosen."""
    k = len(conditions.allowed)
    free = hypothesis.free(k)
    require_categories(len(hypothesis.items) + int(available.sum()), k, row)
    if conditions.allowed.all():
        return np.where(free[:, None], available, False)
    feasible = feasible_categories(conditions.allowed, free, available)
    require_feasible(feasible[free], row)
    return feasible


def _parts(
    query: SearchQuery,
    row: int,
    conditions: OutfitConditions,
    hypotheses: Sequence[Hypothesis],
    feasible: Sequence[NDArray[np.bool_]],
) -> Iterator[tuple[list[NDArray[np.int64]], list[NDArray[np.bool_]]]]:
    """Candidates ``[M]`` of each hypothesis and which missing item each may be ``[k, M]``, part by part."""
    scorer = query.scorer
    if query.propose is not None:
        proposed = [
            query.propose(row, conditions, hypothesis, allowed)
            for hypothesis, allowed in zip(hypotheses, feasible, strict=True)
        ]
        yield (
            [items for items, _ in proposed],
            [
                mask & allowed[:, scorer.categories[items]]
                for (items, mask), allowed in zip(proposed, feasible, strict=True)
            ],
        )
        return
    for start in scorer.parts(CATALOGUE_PART):
        items = np.arange(start, min(start + CATALOGUE_PART, len(scorer)))
        masks = []
        for hypothesis, allowed in zip(hypotheses, feasible, strict=True):
            slots = conditions.slots(hypothesis.free(query.k))
            mask = np.zeros((query.k, len(items)), dtype=np.bool_)
            mask[slots] = allowed[slots][:, scorer.categories[items]]
            masks.append(mask)
        yield [items] * len(hypotheses), masks


def _expansions(
    hypothesis: Hypothesis,
    candidates: NDArray[np.int64],
    mask: NDArray[np.bool_],
    logits: NDArray[np.float32],
    conditions: OutfitConditions,
    preferred: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None,
) -> Expansions:
    """Scored candidates as unsorted expansions; ``preferred`` is a user's preference for distinct additions."""
    slots, places = np.nonzero(mask & np.isfinite(logits))
    items, scored = candidates[places], logits[places]
    similarity, texts = np.zeros(len(items), dtype=np.float32), None
    if conditions.similarity is not None:
        similarity = conditions.similarity[slots, items]
        texts = hypothesis.similarity + similarity.astype(np.float64)
    liked = None
    if preferred is not None and len(items):
        distinct, place = np.unique(items, return_inverse=True)
        liked = preferred(distinct)[place]
    return Expansions(items, slots, objective(scored, texts, conditions.alpha, liked), scored, similarity)


def objective(
    logits: NDArray[np.float32], texts: NDArray[np.float64] | None, alpha: float, liked: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    r"""What a search maximises: the logit, or :math:`\alpha S + (1 - \alpha) \sum S_X + \beta \langle f(O), u \rangle`.

    Without texts :math:`\alpha` is 1; where S is all there is, its logit has the same order and more digits.

    Args:
        logits: of S, shape ``[M]``.
        texts: summed similarity to texts, shape ``[M]``; None: there are none.
        alpha: weight of S against them.
        liked: a user's preference times its weight, shape ``[M]``; None: there is no user.
    """
    values = logits.astype(np.float64)
    if texts is None and liked is None:
        return values
    values = expit(values)
    if texts is not None:
        values = alpha * values + (1 - alpha) * texts
    return values if liked is None else values + liked


def ranks_in(ranking: NDArray[np.int64], items: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """0-based ranks of items ``[j]`` in a ranking of positions below ``size``; :data:`UNRANKED` if absent."""
    places = np.full(size, UNRANKED, dtype=np.int64)
    places[ranking] = np.arange(len(ranking))
    ranks: NDArray[np.int64] = places[items]
    return ranks
