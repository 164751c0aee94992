"""Beam search: k-step search that keeps the b best partial outfits."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Wishes
from outfits.completion.search.expansion import Additions, OutfitWishes, Partial, Propose, best_additions, first_ranks
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_step
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


def extend(
    partials: Sequence[Partial], additions: Sequence[Additions], kinds: NDArray[np.int64], width: int
) -> list[Partial]:
    """The ``width`` best different extensions of partial completions, best first.

    Two are the same if the same items answer the same wishes, in whichever order they were added.

    Args:
        partials: equally long partial completions.
        additions: additions to each.
        kinds: the first missing item of the same wish, shape ``[k]``; zeros without wishes.
        width: partial completions to keep.
    """
    enough = additions_needed(width, len(partials[0].items), kinds)
    reached = [
        partial.with_addition(extra, place)
        for partial, extra in zip(partials, additions, strict=True)
        for place in range(len(extra))[:enough]
    ]
    found: dict[tuple[tuple[int, int], ...], Partial] = {}
    for partial in sorted(reached, key=lambda partial: (-partial.value, sorted(partial.items), partial.items)):
        answers = sorted((item, int(kinds[slot])) for item, slot in zip(partial.items, partial.slots, strict=True))
        found.setdefault(tuple(answers), partial)
        if len(found) == width:
            break
    return list(found.values())


def additions_needed(width: int, added: int, kinds: NDArray[np.int64]) -> int:
    """How many additions of a partial completion with ``added`` items :func:`extend` may look at.

    A set of j items is reached from at most j partial ones, and an item answers at most so many wishes as are alike.
    """
    return width * (added + 1) * int(np.bincount(kinds).max())


def beam_search(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    width: int,
    *,
    forbidden: NDArray[np.bool_] | None = None,
    rank_of: NDArray[np.integer] | None = None,
    wishes: Wishes | None = None,
    similarity: TextSimilarity | None = None,
    propose: Callable[[int, OutfitWishes | None], Propose] | None = None,
    candidates_kept: int = 0,
    alternatives: int = 0,
) -> SearchTrace:
    """Adds an item to each of the ``width`` best partial outfits and keeps the ``width`` best results, ``k`` times.

    Width 1 is :func:`outfits.completion.search.greedy.greedy_k_step`; a width of all partial outfits is exhaustive search.
    At most ``(1 + (k - 1) · width) · N`` calls of S per outfit.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        width: ``b``, partial outfits kept.
        forbidden: categories that must not be added beyond those of the given items, bool, shape ``[B, C]``.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first additions to report.
        wishes: wishes for each outfit.
        similarity: similarity of the catalogue to texts, where texts are wished.
        propose: from an outfit's row and wishes to the candidates of its steps, which may differ between missing
            items; None: the whole catalogue.
        candidates_kept: ``M``, best candidates of each step to keep, of the then best partial outfit.
        alternatives: ``m``, best completions to keep; the last step keeps as many, however narrow the beam.

    Returns:
        The trace of the best completion. Equal values go to the smaller catalogue positions.

    Raises:
        DataError: if the rule or the wishes leave a missing item no category.
        ValueError: if ``width < 1``.
    """
    if width < 1:
        raise ValueError(f"a beam must keep at least 1 partial outfit, not {width}")
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, wishes, alternatives)
    for row in range(len(outfits)):
        wished = None if wishes is None else OutfitWishes.of(wishes, row, similarity)
        kinds = np.zeros(k, dtype=np.int64) if wished is None else wished.kinds
        proposed = None if propose is None else propose(row, wished)
        if propose is not None:
            wished = (
                wished or OutfitWishes(np.ones((k, scorer.num_categories), dtype=np.bool_), kinds)
            ).with_own_slots()
        partials = [Partial()]
        for step in range(k):
            kept = max(width, alternatives) if step == k - 1 else width
            ranked = step == 0 and rank_of is not None
            additions = best_additions(
                scorer,
                outfits[row].cpu(),
                partials,
                k,
                wishes=wished,
                forbidden=None if forbidden is None else forbidden[row],
                propose=proposed,
                keep=None if ranked else max(candidates_kept, additions_needed(kept, step, kinds)),
                what=f"outfit {row} of the batch",
            )
            trace.calls[row] += sum(extra.calls for extra in additions)
            if step == 0 and trace.ranks is not None and rank_of is not None:
                trace.ranks[row] = first_ranks(additions[0], rank_of[row], wished, len(scorer))
            record_step(trace, row, step, additions[0], calls=0, every_slot=propose is not None)
            partials = extend(partials, additions, kinds, kept)
        best = partials[0]
        trace.chosen[row] = best.items
        if trace.slots is not None:
            trace.slots[row] = best.slots
        trace.logits[row] = best.logits
        keep_alternatives(trace, row, [partial.answer(wishes is not None) for partial in partials[:alternatives]])
    return trace
