"""Beam search: k-step search that keeps the b best hypotheses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete_by_search
from outfits.completion.search.expansion import Expansions, Hypothesis, SearchQuery, expand
from outfits.completion.search.trace import empty_trace, keep_alternatives, record_ranks, record_step
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import BeamConfig


def beam(tasks: CompletionTasks, context: MethodContext, options: BeamConfig) -> MethodOutcome:
    """Completes by beam search over the whole catalogue."""
    return complete_by_search(tasks, context, lambda query: beam_search(query, options.width))


def beam_search(query: SearchQuery, width: int) -> SearchTrace:
    """Expands each of the ``width`` best hypotheses and keeps the ``width`` best results, ``k`` times.

    Width 1 is :func:`outfits.completion.search.greedy.greedy_k_step`; a width of all hypotheses is exhaustive search.
    At most ``(1 + (k - 1) · width) · N`` calls of S per outfit. The last step keeps at least as many completions as
    there are alternatives to keep. Candidates may differ between missing items.

    Returns:
        The trace of the best completion, with the candidates of the best hypothesis of each step. Equal values go to
        the smaller catalogue positions.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
        ValueError: if ``width < 1``.
    """
    if width < 1:
        raise ValueError(f"a beam must keep at least 1 partial outfit, not {width}")
    trace, scorer = empty_trace(query), query.scorer
    for row in range(len(query.outfits)):
        conditions, hypotheses, before = query.conditions_of(row), [Hypothesis()], scorer.calls
        for step in range(query.k):
            kept = max(width, query.alternatives) if step == query.k - 1 else width
            needed = max(query.candidates_kept, expansions_needed(kept, step, conditions.slot_groups))
            expansions = expand(query, row, conditions, hypotheses, needed)
            if step == 0:
                record_ranks(trace, query, row, conditions, expansions[0])
            record_step(trace, row, step, expansions[0], every_slot=query.propose is not None)
            hypotheses = extend(hypotheses, expansions, conditions.slot_groups, kept)
        best = hypotheses[0]
        trace.calls[row] = scorer.calls - before
        trace.chosen[row] = best.items
        trace.logits[row] = best.logits
        if trace.slots is not None:
            trace.slots[row] = best.slots
        found = [hypothesis.answer(conditions.asked) for hypothesis in hypotheses[: query.alternatives]]
        keep_alternatives(trace, row, found)
    return trace


def extend(
    hypotheses: Sequence[Hypothesis], expansions: Sequence[Expansions], slot_groups: NDArray[np.int64], width: int
) -> list[Hypothesis]:
    """The ``width`` best different extensions of equally long hypotheses by their expansions, best first.

    Two are the same if the same items answer the same conditions, in whichever order they were added.

    Args:
        slot_groups: the first missing item of the same condition, shape ``[k]``; zeros without conditions.
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
    """How many expansions of a hypothesis with ``added`` items :func:`extend` may look at.

    A set of j items is reached from at most j hypotheses, and an item answers at most as many conditions as are equal.
    """
    return width * (added + 1) * int(np.bincount(slot_groups).max())
