"""Search in two stages: the student ranks the catalogue through an index, S scores the best of it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.search.beam import beam_search
from outfits.completion.search.expansion import CandidateProposer, Hypothesis, OutfitConditions
from outfits.completion.search.greedy import greedy_k_step
from outfits.config.schema.index import IndexConfig
from outfits.index.category_index import GPU_MAX_NEIGHBOURS, CategoryIndex, merge
from outfits.models.similarity import TextSimilarity
from outfits.models.student import TwoTower
from outfits.scoring.candidates import CandidateScorer

POOL = 2  # where a text is asked for, this many times c items from each of two rankings meet before c are chosen

BLOCK = 2**15  # items whose vectors are computed at once


class UnitBall:
    """A student's vectors of all items as unit vectors, computed block by block, for an index to read.

    Args:
        student: the student.
        tokens: the items' tokens, shape ``[N, token_width]``.
    """

    def __init__(self, student: TwoTower, tokens: Tensor) -> None:
        self._student = student
        self._tokens = tokens
        self._longest = max(
            float(self._vectors(slice(start, start + BLOCK)).norm(dim=1).max())
            for start in range(0, len(tokens), BLOCK)
        )
        self.shape = (len(tokens), student.config.width + 2)

    def __getitem__(self, rows: slice) -> Tensor:
        within = self._vectors(rows) / max(self._longest, 1e-12)
        missing = (1 - within.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([within, missing], dim=1)

    def _vectors(self, rows: slice) -> Tensor:
        with torch.inference_mode():
            return self._student.items(self._tokens[rows])


class Shortlists:
    r"""The catalogue as a student ranks it for partial outfits.

    The index finds largest cosines, the student's guess is an inner product of vectors of any length. So all items'
    vectors are divided by the longest one's length and given one more entry, :math:`\sqrt{1 - |h|^2}`, which makes them
    unit vectors; queries have 0 there, and the order of the cosines is that of the inner products.

    Args:
        student: in evaluation mode; it is moved to the scorer's device.
        scorer: S over the catalogue, for the items' tokens.
        index: how the catalogue is searched; None: exactly.
    """

    def __init__(self, student: TwoTower, scorer: CandidateScorer, index: IndexConfig | None = None) -> None:
        self._student = student.to(scorer.device)
        self._tokens = scorer.item_tokens
        self._categories = scorer.categories[: len(scorer)]
        self._index = CategoryIndex(
            UnitBall(self._student, self._tokens),
            self._categories,
            scorer.device,
            num_categories=scorer.num_categories,
            config=index,
        )

    def ranked(
        self, embedding: Tensor, feasible: NDArray[np.bool_], n: int
    ) -> tuple[list[NDArray[np.int64]], NDArray[np.float32]]:
        """The items that the student ranks highest beside one outfit.

        Args:
            embedding: S's embedding of the outfit, shape ``[token_width]``.
            feasible: categories to look in, bool, ``A`` rows, shape ``[A, C]``.
            n: items per row.

        On a GPU at most 2,048 of them are of one category.

        Returns:
            Catalogue positions for every row, best first, up to ``n``, and the outfit's vector and offset in one array
            of shape ``[width + 2]`` for :meth:`guesses`.
        """
        with torch.inference_mode():
            queries, offsets = self._student.outfits(embedding[None])
            query = torch.cat([queries, torch.zeros_like(offsets)[:, None]], dim=1)
        of_category = min(n, GPU_MAX_NEIGHBOURS) if self._index.device.type == "cuda" else n
        cosine, ids = self._index.search(query, of_category)
        listed = [merge(cosine, ids, n, ~row[None])[1][0] for row in feasible]
        state: NDArray[np.float32] = torch.cat([queries[0], offsets]).cpu().numpy()
        return [row[row >= 0] for row in listed], state

    def guesses(self, state: NDArray[np.float32], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the student takes S to be, in [0, 1], shape ``[len(items)]``; ``state`` as :meth:`ranked` gave it."""
        with torch.inference_mode():
            tokens = self._tokens[torch.from_numpy(items).to(self._tokens.device)]
            vectors = self._student.items(tokens).cpu().numpy()
        guesses: NDArray[np.float64] = expit(vectors.astype(np.float64) @ state[:-1] + state[-1])
        return guesses

    def proposals(
        self,
        scorer: CandidateScorer,
        outfits: Tensor,
        c: int,
        embedding_calls: NDArray[np.int64],
        *,
        every_slot: bool = False,
    ) -> Callable[[int, OutfitConditions | None], CandidateProposer]:
        """Candidates of a search: for every kind of missing item the ``c`` best by the student's guess.

        Where a text is asked for, the best by the guessed objective, of those items that either the student or the text
        ranks high.

        Args:
            scorer: S over the catalogue.
            outfits: positions of the given items, shape ``[B, n]``.
            c: length of a shortlist.
            embedding_calls: calls of S for embeddings of outfits, shape ``[B]``; each proposal adds one.
            every_slot: whether candidates are for every missing item, or for one, the first, of those with the same
                condition.

        Returns:
            From an outfit's row and its conditions to its candidates.
        """

        def of_outfit(row: int, outfit_conditions: OutfitConditions | None) -> CandidateProposer:
            def propose(
                hypothesis: Hypothesis, feasible: NDArray[np.bool_], free: NDArray[np.bool_]
            ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
                outfit = torch.cat([outfits[row].cpu(), torch.tensor(hypothesis.items, dtype=torch.int64)])
                embedding = scorer.outfit_embeddings(outfit[None])[0]
                embedding_calls[row] += 1
                slots = [int(np.flatnonzero(free)[0])] if outfit_conditions is None else outfit_conditions.slots(free)
                described = (
                    np.zeros(len(free), dtype=np.bool_) if outfit_conditions is None else outfit_conditions.described
                )
                ranked, state = self.ranked(embedding, feasible[slots], POOL * c if described[slots].any() else c)
                listed = {slot: ranks[:c] for slot, ranks in zip(slots, ranked, strict=True)}
                if outfit_conditions is not None and outfit_conditions.similarity is not None:
                    for slot, ranks in zip(slots, ranked, strict=True):
                        if described[slot]:
                            texts, alpha = outfit_conditions.similarity[slot], outfit_conditions.alpha
                            allowed = np.flatnonzero(feasible[slot][self._categories])
                            near = allowed[np.argsort(-texts[allowed], kind="stable")[: POOL * c]]
                            pool = np.union1d(ranks, near)
                            values = alpha * self.guesses(state, pool) + (1 - alpha) * texts[pool]
                            listed[slot] = pool[np.argsort(-values, kind="stable")[:c]]
                items = np.unique(np.concatenate(list(listed.values())))
                mask = np.zeros((len(free), len(items)), dtype=np.bool_)
                slot_groups = (
                    np.zeros(len(free), dtype=np.int64) if outfit_conditions is None else outfit_conditions.slot_groups
                )
                for slot, found in listed.items():
                    mask[free & (slot_groups == slot_groups[slot]) if every_slot else slot] = np.isin(items, found)
                return items, mask

            return propose

        return of_outfit


def greedy_two_stage(
    scorer: CandidateScorer,
    shortlists: Shortlists,
    outfits: Tensor,
    k: int,
    candidates: int,
    candidates_kept: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    """Greedy k-step search over the student's shortlists instead of the whole catalogue.

    With shortlists as long as the catalogue it selects the same items. Ranks are those within the first shortlist.

    Args:
        scorer: S over the catalogue.
        shortlists: the catalogue as the student ranks it.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        candidates: ``c``, length of a shortlist.
        candidates_kept: ``M``, best candidates of each step to keep; never more than there were.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first expansions to report.
        conditions: conditions for each outfit.
        similarity: similarity of the catalogue to texts, where texts are asked for.
        alternatives: ``m``, completions to keep: the chosen one, and those that differ in the last item added.

    Returns:
        The trace; the calls hold one per step for S's embedding of the outfit.

    Raises:
        DataError: if the rule or the conditions leave a missing item no category.
    """
    embedding_calls = np.zeros(len(outfits), dtype=np.int64)
    trace = greedy_k_step(
        scorer,
        outfits,
        k,
        candidates_kept,
        rank_of=rank_of,
        conditions=conditions,
        similarity=similarity,
        propose=shortlists.proposals(scorer, outfits, candidates, embedding_calls),
        alternatives=alternatives,
    )
    return replace(trace, calls=trace.calls + embedding_calls)


def beam_two_stage(
    scorer: CandidateScorer,
    shortlists: Shortlists,
    outfits: Tensor,
    k: int,
    width: int,
    candidates: int,
    *,
    rank_of: NDArray[np.integer] | None = None,
    conditions: Conditions | None = None,
    similarity: TextSimilarity | None = None,
    alternatives: int = 0,
) -> SearchTrace:
    """:func:`outfits.completion.search.beam.beam_search` over the student's shortlists.

    Arguments as in :func:`greedy_two_stage`, and ``width``, the partial outfits kept.
    """
    embedding_calls = np.zeros(len(outfits), dtype=np.int64)
    trace = beam_search(
        scorer,
        outfits,
        k,
        width,
        rank_of=rank_of,
        conditions=conditions,
        similarity=similarity,
        propose=shortlists.proposals(scorer, outfits, candidates, embedding_calls, every_slot=True),
        alternatives=alternatives,
    )
    return replace(trace, calls=trace.calls + embedding_calls)
