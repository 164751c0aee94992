"""Writing a search's trace, outfit by outfit and step by step."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.completion.completion import UNRANKED, SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.search.expansion import Expansions


def empty_trace(
    batch: int,
    k: int,
    kept: int,
    rank_of: NDArray[np.integer] | None,
    conditions: Conditions | None,
    alternatives: int = 0,
) -> SearchTrace:
    """A trace to be filled row by row."""
    return SearchTrace(
        chosen=np.full((batch, k), -1, dtype=np.int32),
        logits=np.full((batch, k), -np.inf, dtype=np.float32),
        candidates=np.full((batch, k, kept), -1, dtype=np.int32),
        candidate_logits=np.full((batch, k, kept), -np.inf, dtype=np.float32),
        calls=np.zeros(batch, dtype=np.int64),
        ranks=None if rank_of is None else np.full(rank_of.shape, UNRANKED, dtype=np.int64),
        slots=None if conditions is None else np.zeros((batch, k), dtype=np.int64),
        candidate_similarity=None if conditions is None else np.zeros((batch, k, kept), dtype=np.float32),
        alternatives=np.full((batch, alternatives, k), -1, dtype=np.int64) if alternatives else None,
    )


def record_step(
    trace: SearchTrace,
    row: int,
    step: int,
    expansions: Expansions,
    *,
    calls: int | None = None,
    every_slot: bool = False,
) -> None:
    """Writes the best addition, and the best candidates for the same or for every missing item, into a trace."""
    trace.calls[row] += expansions.calls if calls is None else calls
    trace.chosen[row, step], trace.logits[row, step] = expansions.items[0], expansions.logits[0]
    places = expansions.first_of_each_item() if every_slot else expansions.of_slot(int(expansions.slots[0]))
    places = places[: trace.candidates.shape[2]]
    kept = slice(len(places))
    trace.candidates[row, step, kept] = expansions.items[places]
    trace.candidate_logits[row, step, kept] = expansions.logits[places]
    if trace.slots is not None and trace.candidate_similarity is not None:
        trace.slots[row, step] = expansions.slots[0]
        trace.candidate_similarity[row, step, kept] = expansions.similarity[places]


def keep_alternatives(trace: SearchTrace, row: int, completions: Sequence[Sequence[int]]) -> None:
    """Writes completions, best first, into a trace that keeps alternatives."""
    if trace.alternatives is not None:
        for place, items in enumerate(completions):
            trace.alternatives[row, place] = items
