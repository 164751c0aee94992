"""The step that every search with S repeats: all additions to partial outfits, scored and ranked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Wishes
from outfits.data.category_rule import open_categories, require_categories, require_wishes
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer

CATALOGUE_PART = 65_536
"""Items of the catalogue that a search scores before it forgets what it does not need of them."""


@dataclass(frozen=True)
class OutfitWishes:
    """The wishes for one outfit as a search needs them.

    Attributes:
        allowed: categories of each missing item, bool, shape ``[k, C]``.
        kinds: the first missing item of the same wish, int64, shape ``[k]``: items wished alike are tried once.
        similarity: similarity of every catalogue item to the text of each missing item, float32, shape ``[k, N]``; None
            if no item has a text, and additions are ranked by S alone.
        alpha: weight of S against the texts.
    """

    allowed: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    similarity: NDArray[np.float32] | None = None
    alpha: float = 1.0

    @classmethod
    def of(cls, wishes: Wishes, row: int, similarity: TextSimilarity | None) -> "OutfitWishes":
        """The wishes for outfit ``row`` of a batch.

        Raises:
            ValueError: if there are texts and nothing to compare them with.
        """
        if not wishes.has_text[row].any():
            return cls(wishes.allowed[row], wishes.kinds(row))
        if similarity is None:
            raise ValueError("wished texts need the catalogue's text embeddings")
        return cls(wishes.allowed[row], wishes.kinds(row), similarity(wishes.texts[row]), wishes.alpha)

    @property
    def described(self) -> NDArray[np.bool_]:
        """Missing items with a text that any catalogue item has something in common with, shape ``[k]``."""
        if self.similarity is None:
            return np.zeros(len(self.kinds), dtype=np.bool_)
        return np.asarray(self.similarity.any(axis=1))

    def with_own_slots(self) -> "OutfitWishes":
        """The same wishes with every missing item tried, for candidates that differ from one to the other."""
        return replace(self, kinds=np.arange(len(self.kinds)))

    def slots(self, free: NDArray[np.bool_]) -> list[int]:
        """One missing item, the first, of every kind that is still missing."""
        return [int(np.flatnonzero(free & (self.kinds == kind))[0]) for kind in np.unique(self.kinds[free])]


@dataclass(frozen=True)
class Partial:
    """A partial completion of one outfit.

    Attributes:
        items: catalogue positions in the order of selection.
        slots: which missing item each is.
        value: what the search maximises: the logit of S, or the spec's objective where there are texts.
        logits: logit of S after each selection.
        similarity: summed similarity to wished texts.
    """

    items: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    value: float = 0.0
    logits: tuple[float, ...] = ()
    similarity: float = 0.0

    def free(self, k: int) -> NDArray[np.bool_]:
        """Missing items that are still missing, shape ``[k]``."""
        free = np.ones(k, dtype=np.bool_)
        free[list(self.slots)] = False
        return free

    def answer(self, by_wish: bool) -> tuple[int, ...]:
        """The items in the order of the wishes they answer, or in that of their selection."""
        return tuple(item for _, item in sorted(zip(self.slots, self.items, strict=True))) if by_wish else self.items

    def with_addition(self, additions: "Additions", place: int) -> "Partial":
        """This partial outfit with one of its additions."""
        return Partial(
            (*self.items, int(additions.items[place])),
            (*self.slots, int(additions.slots[place])),
            float(additions.values[place]),
            (*self.logits, float(additions.logits[place])),
            self.similarity + float(additions.similarity[place]),
        )


@dataclass(frozen=True)
class Additions:
    """Additions to one partial outfit that keep the rule and the wishes, best first.

    Equal values stand in the order of catalogue positions, then of slots.

    Attributes:
        items: catalogue positions, int64, shape ``[A]``.
        slots: which missing item each would be, int64, shape ``[A]``.
        values: what the search maximises, see :class:`Partial`, float64, shape ``[A]``.
        logits: logits of S, float32, shape ``[A]``.
        similarity: similarity of the item to the wished text, float32, shape ``[A]``.
        calls: sets that S scored for them.
    """

    items: NDArray[np.int64]
    slots: NDArray[np.int64]
    values: NDArray[np.float64]
    logits: NDArray[np.float32]
    similarity: NDArray[np.float32]
    calls: int

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def none(cls) -> "Additions":
        """No additions."""
        nothing, numbers = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        return cls(nothing, nothing, numbers.astype(np.float64), numbers, numbers, calls=0)

    def joined(self, other: "Additions") -> "Additions":
        """These additions and others, in no order."""
        return Additions(
            np.concatenate([self.items, other.items]),
            np.concatenate([self.slots, other.slots]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.logits, other.logits]),
            np.concatenate([self.similarity, other.similarity]),
            self.calls + other.calls,
        )

    def best_first(self) -> "Additions":
        """All additions, best first."""
        return self._at(np.lexsort((self.slots, self.items, -self.values)))

    def best_of_each(self, keep: int) -> "Additions":
        """The ``keep`` best for each missing item, in no order."""
        return self._at(np.concatenate([self._best_of(slot, keep) for slot in np.unique(self.slots)], dtype=np.int64))

    def _best_of(self, slot: int, keep: int) -> NDArray[np.int64]:
        places = self.of_slot(slot)
        if len(places) > keep:
            values = self.values[places]
            places = places[values >= np.partition(values, -keep)[-keep]]  # with all that tie with the last one
            places = places[np.lexsort((self.items[places], -self.values[places]))[:keep]]
        return places

    def _at(self, places: NDArray[np.int64]) -> "Additions":
        return self.only(places, self.slots)

    def only(self, left: NDArray[np.bool_] | NDArray[np.int64], slots: NDArray[np.int64]) -> "Additions":
        """The additions that are left, a mask or places, with new slots, given for all, shape ``[A]``."""
        return Additions(
            self.items[left], slots[left], self.values[left], self.logits[left], self.similarity[left], self.calls
        )

    def first_of_each_item(self) -> NDArray[np.int64]:
        """Places of the additions, best first, each item once."""
        return np.sort(np.unique(self.items, return_index=True)[1])

    def of_slot(self, slot: int) -> NDArray[np.int64]:
        """Places of the additions that would be this missing item, best first."""
        return np.flatnonzero(self.slots == slot)


Propose = Callable[[Partial, NDArray[np.bool_], NDArray[np.bool_]], tuple[NDArray[np.int64], NDArray[np.bool_]]]
"""Candidates for one outfit: from a partial completion, open categories ``[k, C]`` (none where an item is not missing
any more) and the items still missing ``[k]`` to ascending catalogue positions ``[M]`` and which of them are for which
item ``[k, M]``."""


def best_additions(
    scorer: CandidateScorer,
    outfit: Tensor,
    partials: Sequence[Partial],
    k: int,
    *,
    wishes: OutfitWishes | None = None,
    forbidden: NDArray[np.bool_] | None = None,
    propose: Propose | None = None,
    keep: int | None = None,
    what: str = "outfit",
) -> list[Additions]:
    """Scores all additions to partial completions of one outfit, equally long ones, and ranks them.

    The catalogue is gone through in parts. With ``keep`` what is needed of a part is kept and the rest forgotten.

    Args:
        scorer: S over the catalogue.
        outfit: catalogue positions of the given items, shape ``[n]``.
        partials: partial completions.
        k: number of missing items.
        wishes: what is wished for them.
        forbidden: categories that must not be added beyond those of the given items, bool, shape ``[C]``.
        propose: candidates to score; None: the whole catalogue.
        keep: additions to keep for each missing item; None: all.
        what: the outfit in messages.

    Raises:
        DataError: if the rule or the wishes leave a missing item no category.
    """
    current = torch.stack([torch.cat([outfit, torch.tensor(partial.items, dtype=torch.int64)]) for partial in partials])
    barred = scorer.taken_categories(current)  # [H, C]
    if forbidden is not None:
        barred = barred | forbidden
    opened = [
        _opened(partial, k, ~taken & scorer.stocked, wishes, what)
        for partial, taken in zip(partials, barred, strict=True)
    ]
    best = [Additions.none() for _ in partials]
    for candidates, masks in _parts(scorer, partials, k, opened, wishes, propose):
        asked = np.full((len(partials), max(map(len, candidates))), -1, dtype=np.int64)
        for row, (found, mask) in enumerate(zip(candidates, masks, strict=True)):
            asked[row, : len(found)] = np.where(mask.any(axis=0), found, -1)
        logits = scorer.addition_logits(current, torch.from_numpy(asked)).cpu()
        if torch.isnan(logits).any() or torch.isposinf(logits).any():
            raise ValueError("S gave a logit that is not finite; its weights or the item embeddings are damaged")
        for row, (partial, found, mask) in enumerate(zip(partials, candidates, masks, strict=True)):
            scored = _additions(partial, found, mask, logits[row, : len(found)].numpy(), wishes)
            best[row] = best[row].joined(scored)
            if keep is not None and len(best[row]):
                best[row] = best[row].best_of_each(keep)
    return [additions.best_first() for additions in best]


def _opened(
    partial: Partial, k: int, available: NDArray[np.bool_], wishes: OutfitWishes | None, what: str
) -> NDArray[np.bool_]:
    """Categories ``[k, C]`` that each missing item may have; none for items that are not missing any more."""
    free = partial.free(k)
    require_categories(len(partial.items) + int(available.sum()), k, what)
    if wishes is None or wishes.allowed.all():
        return np.where(free[:, None], available, False)
    opened = open_categories(wishes.allowed, free, available)
    require_wishes(opened[free], what)
    return opened


def _parts(
    scorer: CandidateScorer,
    partials: Sequence[Partial],
    k: int,
    opened: Sequence[NDArray[np.bool_]],
    wishes: OutfitWishes | None,
    propose: Propose | None,
) -> Iterator[tuple[list[NDArray[np.int64]], list[NDArray[np.bool_]]]]:
    """Candidates ``[M]`` of each partial completion and which missing item each may be ``[k, M]``, part by part."""
    if propose is not None:
        proposed = [
            propose(partial, allowed, partial.free(k)) for partial, allowed in zip(partials, opened, strict=True)
        ]
        yield (
            [items for items, _ in proposed],
            [
                mask & allowed[:, scorer.categories[items]]
                for (items, mask), allowed in zip(proposed, opened, strict=True)
            ],
        )
        return
    for start in range(0, len(scorer), CATALOGUE_PART):
        items = np.arange(start, min(start + CATALOGUE_PART, len(scorer)))
        masks = []
        for partial, allowed in zip(partials, opened, strict=True):
            free = partial.free(k)
            slots = [int(np.flatnonzero(free)[0])] if wishes is None else wishes.slots(free)
            mask = np.zeros((k, len(items)), dtype=np.bool_)
            mask[slots] = allowed[slots][:, scorer.categories[items]]
            masks.append(mask)
        yield [items] * len(partials), masks


def _additions(
    partial: Partial,
    candidates: NDArray[np.int64],
    mask: NDArray[np.bool_],
    logits: NDArray[np.float32],
    wishes: OutfitWishes | None,
) -> Additions:
    """Scored candidates as additions, in no order yet."""
    slots, places = np.nonzero(mask & np.isfinite(logits))
    items, scored = candidates[places], logits[places]
    if wishes is None or wishes.similarity is None:
        similarity = np.zeros(len(items), dtype=np.float32)
        values = scored.astype(np.float64)
    else:
        similarity = wishes.similarity[slots, items]
        texts = partial.similarity + similarity.astype(np.float64)
        values = wishes.alpha * expit(scored.astype(np.float64)) + (1 - wishes.alpha) * texts
    return Additions(items, slots, values, scored, similarity, calls=int(np.isfinite(logits).sum()))


def first_ranks(
    additions: Additions, wanted: NDArray[np.integer], wishes: OutfitWishes | None, size: int
) -> NDArray[np.int64]:
    """0-based place of items among the additions of the first step, :data:`UNRANKED` for those not among them.

    Args:
        additions: all additions to the outfit itself.
        wanted: catalogue positions asked about, shape ``[j]``.
        wishes: with wishes, item i's place is that among the additions that answer wish i.
        size: number of catalogue items.
    """
    ranks = np.full(len(wanted), UNRANKED, dtype=np.int64)
    for number, item in enumerate(wanted.tolist()):
        ranking = additions.items if wishes is None else additions.items[additions.of_slot(int(wishes.kinds[number]))]
        ranks[number] = ranks_in(ranking, np.array([item]), size)[0]
    return ranks


def ranks_in(ranking: NDArray[np.int64], items: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """0-based place of items ``[j]`` in a ranking of catalogue positions; :data:`UNRANKED` for those not in it.

    Args:
        ranking: catalogue positions, best first.
        items: catalogue positions asked about.
        size: number of catalogue items.
    """
    places = np.full(size, UNRANKED, dtype=np.int64)
    places[ranking] = np.arange(len(ranking))
    ranks: NDArray[np.int64] = places[items]
    return ranks
