"""Ranks the catalogue by the student of S, through an index."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.search.expansion import Hypothesis, OutfitConditions, SearchQuery
from outfits.config.schema.index import IndexConfig
from outfits.index.category_index import GPU_MAX_NEIGHBOURS, CategoryIndex, merge
from outfits.index.proposals import code_bytes
from outfits.models.student import TwoTower
from outfits.scoring.candidates import CandidateScorer

POOL = 2  # with a text, this many times c items from each of two rankings are merged before c are chosen

BLOCK = 2**15  # items whose vectors are computed at once


class UnitBall:
    """A student's vectors of all items as unit vectors, computed block by block while an index reads them.

    They end in so many ``zeros``.
    """

    def __init__(self, student: TwoTower, scorer: CandidateScorer, zeros: int) -> None:
        self._student = student
        self._scorer = scorer
        self._longest = max(
            float(self._vectors(slice(start, start + BLOCK)).norm(dim=1).max())
            for start in range(0, len(scorer), BLOCK)
        )
        self._zeros = zeros
        self.shape = (len(scorer), student.config.width + 2 + zeros)

    def __getitem__(self, rows: slice) -> Tensor:
        within = self._vectors(rows) / max(self._longest, 1e-12)
        missing = (1 - within.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
        return F.pad(torch.cat([within, missing], dim=1), (0, self._zeros))

    def _vectors(self, rows: slice) -> Tensor:
        with torch.inference_mode():
            return self._student.items(self._scorer.tokens(rows))


class Shortlists:
    r"""The catalogue ranked by a student for partial outfits.

    The index finds largest cosines; the student's estimate is an inner product of vectors of any length. So all items'
    vectors are divided by the longest one's length and given one more entry, :math:`\sqrt{1 - |h|^2}`, which makes them
    unit vectors; queries have 0 there, and the order of the cosines is that of the inner products.

    Args:
        student: in evaluation mode; it is moved to the scorer's device.
        scorer: S over the catalogue, for the items' tokens.
        index: how the catalogue is searched; None: exactly.
    """

    def __init__(self, student: TwoTower, scorer: CandidateScorer, index: IndexConfig | None = None) -> None:
        self._student = student.to(scorer.device)
        self._scorer = scorer
        self._categories = scorer.categories[: len(scorer)]
        width = student.config.width
        parts = 1
        if index is not None and index.kind == "ivf_pq":  # product codes need a width that their number divides
            parts = index.pq_bytes or code_bytes(index, width)
            index = replace(index, pq_bytes=parts)
        self._zeros = -(width + 2) % parts
        self._index = CategoryIndex(
            UnitBall(self._student, scorer, self._zeros),
            self._categories,
            scorer.device,
            num_categories=scorer.num_categories,
            config=index,
        )

    def ranked(
        self, embedding: Tensor, feasible: NDArray[np.bool_], n: int
    ) -> tuple[list[NDArray[np.int64]], NDArray[np.float32]]:
        """The ``n`` items that the student ranks highest for one outfit; on a GPU at most 2,048 of one category.

        Args:
            embedding: S's embedding of the outfit, shape ``[token_width]``.
            feasible: categories to search, bool, ``A`` rows, shape ``[A, C]``.
            n: items per row.

        Returns:
            Catalogue positions for every row, best first, up to ``n``, and the outfit's vector and offset in one array
            of shape ``[width + 2]`` for :meth:`guesses`.
        """
        with torch.inference_mode():
            queries, offsets = self._student.outfits(embedding[None])
            query = F.pad(torch.cat([queries, torch.zeros_like(offsets)[:, None]], dim=1), (0, self._zeros))
        of_category = min(n, GPU_MAX_NEIGHBOURS) if self._index.device.type == "cuda" else n
        cosine, ids = self._index.search(query, of_category)
        listed = [merge(cosine, ids, n, ~row[None])[1][0] for row in feasible]
        state: NDArray[np.float32] = torch.cat([queries[0], offsets]).cpu().numpy()
        return [row[row >= 0] for row in listed], state

    def guesses(self, state: NDArray[np.float32], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """The student's estimates of S, in [0, 1], shape ``[len(items)]``, from the ``state`` of :meth:`ranked`."""
        with torch.inference_mode():
            tokens = self._scorer.tokens(torch.from_numpy(items).to(self._scorer.device))
            vectors = self._student.items(tokens).cpu().numpy()
        guesses: NDArray[np.float64] = expit(vectors.astype(np.float64) @ state[:-1] + state[-1])
        return guesses

    def narrowed(self, query: SearchQuery, c: int, *, every_slot: bool = False) -> SearchQuery:
        """Restricts the query to shortlists instead of the whole catalogue.

        At each step a search scores, for every slot group, the ``c`` best by the student's estimate. With a text, these
        are the best by the estimated objective, of those items that either the student or the text ranks high. A step
        takes one more call of S for each hypothesis: its embedding. A shortlist as long as the catalogue changes no
        selection. Candidates are for every missing item if ``every_slot``, else for the first of each group.
        """

        def propose(
            row: int, conditions: OutfitConditions, hypothesis: Hypothesis, feasible: NDArray[np.bool_]
        ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
            outfit = torch.cat([query.outfits[row].cpu(), torch.tensor(hypothesis.items, dtype=torch.int64)])
            embedding = query.scorer.outfit_embeddings(outfit[None])[0]
            free, groups, described = hypothesis.free(query.k), conditions.slot_groups, conditions.described
            slots = conditions.slots(free)
            ranked, state = self.ranked(embedding, feasible[slots], POOL * c if described[slots].any() else c)
            listed = {slot: ranks[:c] for slot, ranks in zip(slots, ranked, strict=True)}
            if conditions.similarity is not None:
                for slot, ranks in zip(slots, ranked, strict=True):
                    if described[slot]:
                        texts, alpha = conditions.similarity[slot], conditions.alpha
                        allowed = np.flatnonzero(feasible[slot][self._categories])
                        near = allowed[np.argsort(-texts[allowed], kind="stable")[: POOL * c]]
                        pool = np.union1d(ranks, near)
                        values = alpha * self.guesses(state, pool) + (1 - alpha) * texts[pool]
                        listed[slot] = pool[np.argsort(-values, kind="stable")[:c]]
            items = np.unique(np.concatenate(list(listed.values())))
            mask = np.zeros((len(free), len(items)), dtype=np.bool_)
            for slot, found in listed.items():
                mask[free & (groups == groups[slot]) if every_slot else slot] = np.isin(items, found)
            return items, mask

        return replace(query, propose=propose)
