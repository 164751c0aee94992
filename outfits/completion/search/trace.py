"""Writes a search's trace, outfit by outfit and step by step."""

from collections.abc import Sequence

import numpy as np

from outfits.completion.completion import UNRANKED, SearchTrace
from outfits.completion.search.expansion import Expansions, OutfitConditions, SearchQuery, ranks_in


def empty_trace(query: SearchQuery) -> SearchTrace:
    """A trace to be filled row by row."""
    batch, k, kept, alternatives = len(query.outfits), query.k, query.candidates_kept, query.alternatives
    conditioned = query.conditions is not None
    return SearchTrace(
        chosen=np.full((batch, k), -1, dtype=np.int32),
        logits=np.full((batch, k), -np.inf, dtype=np.float32),
        candidates=np.full((batch, k, kept), -1, dtype=np.int32),
        candidate_logits=np.full((batch, k, kept), -np.inf, dtype=np.float32),
        calls=np.zeros(batch, dtype=np.int64),
        ranks=None if query.rank_of is None else np.full(query.rank_of.shape, UNRANKED, dtype=np.int64),
        slots=np.zeros((batch, k), dtype=np.int64) if conditioned else None,
        candidate_similarity=np.zeros((batch, k, kept), dtype=np.float32) if conditioned else None,
        alternatives=np.full((batch, alternatives, k), -1, dtype=np.int64) if alternatives else None,
    )


def record_step(trace: SearchTrace, row: int, step: int, expansions: Expansions, *, every_slot: bool = False) -> None:
    """Writes the best expansion, and the best candidates for the same or for every missing item, into a trace."""
    trace.chosen[row, step], trace.logits[row, step] = expansions.items[0], expansions.logits[0]
    places = expansions.first_of_each_item() if every_slot else expansions.of_slot(int(expansions.slots[0]))
    places = places[: trace.candidates.shape[2]]
    kept = slice(len(places))
    trace.candidates[row, step, kept] = expansions.items[places]
    trace.candidate_logits[row, step, kept] = expansions.logits[places]
    if trace.slots is not None and trace.candidate_similarity is not None:
        trace.slots[row, step] = expansions.slots[0]
        trace.candidate_similarity[row, step, kept] = expansions.similarity[places]


def record_ranks(
    trace: SearchTrace, query: SearchQuery, row: int, conditions: OutfitConditions, expansions: Expansions
) -> None:
    """Writes the ranks of the items of ``rank_of`` among the expansions of the first step; with conditions, item i is
    ranked among those that answer condition i."""
    if trace.ranks is None or query.rank_of is None:
        return
    for number, item in enumerate(query.rank_of[row].tolist()):
        slot = int(conditions.slot_groups[number]) if conditions.asked else 0
        ranking = expansions.items[expansions.of_slot(slot)]
        trace.ranks[row, number] = ranks_in(ranking, np.array([item]), len(query.scorer))[0]


def keep_alternatives(trace: SearchTrace, row: int, completions: Sequence[Sequence[int]]) -> None:
    """Writes completions, best first, into a trace that keeps alternatives."""
    if trace.alternatives is not None:
        for place, items in enumerate(completions):
            trace.alternatives[row, place] = items
