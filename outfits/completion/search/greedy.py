"""Greedy completion: the best single additions under S, or under S and wished texts."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Wishes
from outfits.completion.search.expansion import Additions, OutfitWishes, Partial, Propose, best_additions, first_ranks
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_step
from outfits.data.category_rule import open_categories, require_categories, require_wishes
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


def first_of_each(categories: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Places of the first ``k`` entries of a ranking whose categories differ; fewer if there are fewer categories."""
    _, first = np.unique(categories, return_index=True)
    return np.sort(first)[:k].astype(np.int64)


def greedy_k_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    forbidden: NDArray[np.bool_] | None = None,
    rank_of: NDArray[np.integer] | None = None,
    wishes: Wishes | None = None,
    similarity: TextSimilarity | None = None,
    propose: Callable[[int, OutfitWishes | None], Propose] | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    r"""Adds :math:`\arg\max_x S(O \cup \{x\})` over the whole catalogue, ``k`` times.

    With wished texts it adds the item and the missing item it answers that maximise the spec's objective so far.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        candidates_kept: ``M``, best candidates of each step to keep.
        forbidden: categories that must not be added beyond those of the given items, bool, shape ``[B, C]``.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first additions to report.
        wishes: wishes for each outfit.
        similarity: similarity of the catalogue to texts, where texts are wished.
        propose: from an outfit's row and wishes to the candidates of its steps; None: the whole catalogue.
        alternatives: ``m``, completions to keep: the chosen one, and those that differ in the last item added.

    Returns:
        The trace, ties by the smaller catalogue position.

    Raises:
        DataError: if the rule or the wishes leave a missing item no category.
    """
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, wishes, alternatives)
    needed = max(1, candidates_kept, alternatives)
    for row in range(len(outfits)):  # one outfit at a time: memory is one row, and bits do not depend on the batch
        wished = None if wishes is None else OutfitWishes.of(wishes, row, similarity)
        barred = None if forbidden is None else forbidden[row]
        proposed = None if propose is None else propose(row, wished)
        partial, outfit = Partial(), outfits[row].cpu()
        for step in range(k):
            (additions,) = best_additions(
                scorer,
                outfit,
                [partial],
                k,
                wishes=wished,
                forbidden=barred,
                propose=proposed,
                keep=None if step == 0 and rank_of is not None else needed,
                what=f"outfit {row} of the batch",
            )
            if step == 0 and trace.ranks is not None and rank_of is not None:
                trace.ranks[row] = first_ranks(additions, rank_of[row], wished, len(scorer))
            if step == k - 1:
                last = [
                    partial.with_addition(additions, place).answer(wishes is not None)
                    for place in range(len(additions))[:alternatives]
                ]
                keep_alternatives(trace, row, last)
            record_step(trace, row, step, additions)
            partial = partial.with_addition(additions, 0)
    return trace


def greedy_one_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    forbidden: NDArray[np.bool_] | None = None,
    rank_of: NDArray[np.integer] | None = None,
    wishes: Wishes | None = None,
    similarity: TextSimilarity | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    r"""Scores every single addition once and takes the ``k`` best that form an outfit.

    Arguments as in :func:`greedy_k_step`.

    Returns:
        The trace; ``logits[:, j]`` is that of the j-th item added *alone*, and without wishes all steps have the same
        candidates.

    Raises:
        DataError: if the rule or the wishes leave a missing item no category.
    """
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, wishes, alternatives)
    for row in range(len(outfits)):
        wished = None if wishes is None else OutfitWishes.of(wishes, row, similarity)
        what = f"outfit {row} of the batch"
        (additions,) = best_additions(
            scorer,
            outfits[row].cpu(),
            [Partial()],
            k,
            wishes=wished,
            forbidden=None if forbidden is None else forbidden[row],
            what=what,
        )
        if trace.ranks is not None and rank_of is not None:
            trace.ranks[row] = first_ranks(additions, rank_of[row], wished, len(scorer))
        for step, left in enumerate(_best_of_slots(scorer, additions, k, wished, what)):
            record_step(trace, row, step, left, calls=additions.calls if step == 0 else 0)
        keep_alternatives(trace, row, [tuple(trace.by_wish[row].tolist())][:alternatives])
    return trace


def _best_of_slots(
    scorer: CandidateScorer, additions: Additions, k: int, wishes: OutfitWishes | None, what: str
) -> Iterator[Additions]:
    """What is left of single additions before each of ``k`` selections, the best one taken each time."""
    kinds = np.zeros(k, dtype=np.int64) if wishes is None else wishes.kinds
    allowed = np.ones((k, scorer.num_categories), dtype=np.bool_) if wishes is None else wishes.allowed
    free = np.ones(k, dtype=np.bool_)
    available = np.isin(np.arange(scorer.num_categories), scorer.categories[additions.items])
    for step in range(k):
        require_categories(step + int(available.sum()), k, what)
        opened = open_categories(allowed, free, available)
        slot_of_kind = np.full(k, -1)
        for slot in np.flatnonzero(free)[::-1]:
            slot_of_kind[kinds[slot]] = slot
        slots = slot_of_kind[additions.slots]
        left = (slots >= 0) & opened[slots, scorer.categories[additions.items]]
        if not left.any():
            require_wishes(opened[free], what)
        remaining = additions.only(left, slots)
        yield remaining
        free[remaining.slots[0]] = False
        available[scorer.categories[remaining.items[0]]] = False
