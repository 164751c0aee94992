"""Beam search: k-step search that keeps the b best partial outfits."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.search.expansion import (
    CandidateProposer,
    Expansions,
    Hypothesis,
    OutfitConditions,
    expand,
    first_ranks,
)
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_step
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


def extend(
    hypotheses: Sequence[Hypothesis], expansions: Sequence[Expansions], slot_groups: NDArray[np.int64], width: int
) -> list[Hypothesis]:
    """The ``width`` best different extensions of partial completions, best first.

    Two are the same if the same items answer the same conditions, in whichever order they were added.

    Args:
        hypotheses: equally long partial completions.
        expansions: expansions to each.
        slot_groups: the first missing item of the same condition, shape ``[k]``; zeros without conditions.
        width: partial completions to keep.
    """
    enough = expansions_needed(width, len(hypotheses[0].items), slot_groups)
    reached = [
        hypothesis.expanded_by(extra, place)
        for hypothesis, extra in zip(hypotheses, expansions, strict=True)
        for place in range(len(extra))[:enough]
    ]
    found: dict[tuple[tuple[int, int], ...], Hypothesis] = {}
    for hypothesis in sorted(
        reached, key=lambda hypothesis: (-hypothesis.value, sorted(hypothesis.items), hypothesis.items)
    ):
        answers = sorted(
            (item, int(slot_groups[slot])) for item, slot in zip(hypothesis.items, hypothesis.slots, strict=True)
        )
        found.setdefault(tuple(answers), hypothesis)
        if len(found) == width:
            break
    return list(found.values())


def expansions_needed(width: int, added: int, slot_groups: NDArray[np.int64]) -> int:
    """How many expansions of a partial completion with ``added`` items :func:`extend` may look at.

    A set of j items is reached from at most j partial ones, and an item answers at most so many conditions as are
    equal.
    """
    return width * (added + 1) * int(np.bincount(slot_groups).max())


def beam_search(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    width: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    propose: Callable[[int, OutfitConditions | None], CandidateProposer] | None = None,
    candidates_kept: int = 0,
    alternatives: int = 0,
) -> SearchTrace:
    """Adds an item to each of the ``width`` best partial outfits and keeps the ``width`` best results, ``k`` times.

    Width 1 is :func:`outfits.completion.search.greedy.greedy_k_step`; a width of all partial outfits is exhaustive
    search. At most ``(1 + (k - 1) · width) · N`` calls of S per outfit.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        width: ``b``, partial outfits kept.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first expansions to report.
        conditions: conditions for each outfit.
        similarity: similarity of the catalogue to texts, where texts are asked for.
        propose: from an outfit's row and conditions to the candidates of its steps, which may differ between missing
            items; None: the whole catalogue.
        candidates_kept: ``M``, best candidates of each step to keep, of the then best partial outfit.
        alternatives: ``m``, best completions to keep; the last step keeps as many, however narrow the beam.

    Returns:
        The trace of the best completion. Equal values go to the smaller catalogue positions.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
        ValueError: if ``width < 1``.
    """
    if width < 1:
        raise ValueError(f"a beam must keep at least 1 partial outfit, not {width}")
    trace = empty_trace(len(outfits), k, candidates_kept, rank_of, conditions, alternatives)
    for row in range(len(outfits)):
        outfit_conditions = None if conditions is None else OutfitConditions.of(conditions, row, similarity)
        slot_groups = np.zeros(k, dtype=np.int64) if outfit_conditions is None else outfit_conditions.slot_groups
        proposed = None if propose is None else propose(row, outfit_conditions)
        if propose is not None:
            outfit_conditions = (
                outfit_conditions or OutfitConditions(np.ones((k, scorer.num_categories), dtype=np.bool_), slot_groups)
            ).with_own_slots()
        hypotheses = [Hypothesis()]
        for step in range(k):
            kept = max(width, alternatives) if step == k - 1 else width
            ranked = step == 0 and rank_of is not None
            expansions = expand(
                scorer,
                outfits[row].cpu(),
                hypotheses,
                k,
                conditions=outfit_conditions,
                propose=proposed,
                keep=None if ranked else max(candidates_kept, expansions_needed(kept, step, slot_groups)),
                what=f"outfit {row} of the batch",
            )
            trace.calls[row] += sum(extra.calls for extra in expansions)
            if step == 0 and trace.ranks is not None and rank_of is not None:
                trace.ranks[row] = first_ranks(expansions[0], rank_of[row], outfit_conditions, len(scorer))
            record_step(trace, row, step, expansions[0], calls=0, every_slot=propose is not None)
            hypotheses = extend(hypotheses, expansions, slot_groups, kept)
        best = hypotheses[0]
        trace.chosen[row] = best.items
        if trace.slots is not None:
            trace.slots[row] = best.slots
        trace.logits[row] = best.logits
        keep_alternatives(
            trace, row, [hypothesis.answer(conditions is not None) for hypothesis in hypotheses[:alternatives]]
        )
    return trace
