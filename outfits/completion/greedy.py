"""Greedy completion: the best single additions under S."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.candidates import CandidateScorer
from outfits.completion.completion import UNRANKED, SearchTrace
from outfits.completion.rules import require_categories


def best_first(logits: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions and values of the entries of logits ``[M]`` above ``-inf``, best first, ties by the smaller position.

    Raises:
        ValueError: if a logit is NaN or ``+inf``.
    """
    if torch.isnan(logits).any() or torch.isposinf(logits).any():
        raise ValueError("S gave a logit that is not finite; its weights or the item embeddings are damaged")
    ordered, positions = logits.sort(descending=True, stable=True)
    finite = int(torch.isfinite(ordered).sum())
    return positions[:finite].cpu().numpy(), ordered[:finite].cpu().numpy()


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


def first_of_each(categories: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Places of the first ``k`` entries of a ranking whose categories differ; fewer if there are fewer categories."""
    _, first = np.unique(categories, return_index=True)
    return np.sort(first)[:k].astype(np.int64)


def _keep(
    candidates: NDArray[np.int32], logits: NDArray[np.float32], items: NDArray[np.int64], values: NDArray[np.float32]
) -> None:
    """Writes the best of a ranking into the padded rows ``[M]`` of a trace."""
    kept = min(len(candidates), len(items))
    candidates[:kept], logits[:kept] = items[:kept], values[:kept]


def greedy_k_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    forbidden: NDArray[np.bool_] | None = None,
    rank_of: NDArray[np.integer] | None = None,
) -> SearchTrace:
    r"""Adds :math:`\arg\max_x S(O \cup \{x\})` over the whole catalogue, ``k`` times.

    Args:
        scorer: S over the catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        k: number of missing items.
        candidates_kept: ``M``, best candidates of each step to keep.
        forbidden: categories that must not be added beyond those of the given items, bool, shape ``[B, C]``.
        rank_of: catalogue positions ``[B, j]`` whose rank among the first additions to report.

    Returns:
        The trace, ties by the smaller catalogue position.

    Raises:
        DataError: if fewer than ``k`` categories are left for an outfit.
    """
    batch = len(outfits)
    trace = _empty_trace(batch, k, candidates_kept, rank_of)
    for row in range(batch):  # one outfit at a time: memory is one row of logits, and bits do not depend on the batch
        outfit = outfits[row].cpu()
        barred = None if forbidden is None else forbidden[row : row + 1]
        for step in range(k):
            items, values = best_first(scorer.addition_logits(outfit.unsqueeze(0), forbidden=barred)[0])
            if not len(items):
                require_categories(step, k, f"outfit {row} of the batch")
            trace.calls[row] += len(items)
            trace.chosen[row, step], trace.logits[row, step] = items[0], values[0]
            _keep(trace.candidates[row, step], trace.candidate_logits[row, step], items, values)
            if step == 0 and trace.ranks is not None and rank_of is not None:
                trace.ranks[row] = ranks_in(items, rank_of[row], len(scorer))
            outfit = torch.cat([outfit, torch.tensor([items[0]])])
    return trace


def greedy_one_step(
    scorer: CandidateScorer,
    outfits: Tensor,
    k: int,
    candidates_kept: int,
    *,
    forbidden: NDArray[np.bool_] | None = None,
    rank_of: NDArray[np.integer] | None = None,
) -> SearchTrace:
    r"""Scores every single addition once and takes the ``k`` best that form an outfit.

    Arguments as in :func:`greedy_k_step`.

    Returns:
        The trace; ``logits[:, j]`` is that of the j-th item added *alone*, and all steps have the same candidates.

    Raises:
        DataError: if fewer than ``k`` categories are left for an outfit.
    """
    batch = len(outfits)
    trace = _empty_trace(batch, k, candidates_kept, rank_of)
    for row in range(batch):
        barred = None if forbidden is None else forbidden[row : row + 1]
        items, values = best_first(scorer.addition_logits(outfits[row : row + 1], forbidden=barred)[0])
        chosen = first_of_each(scorer.categories[items], k)
        require_categories(len(chosen), k, f"outfit {row} of the batch")
        trace.calls[row] = len(items)
        trace.chosen[row], trace.logits[row] = items[chosen], values[chosen]
        for step in range(k):
            _keep(trace.candidates[row, step], trace.candidate_logits[row, step], items, values)
        if trace.ranks is not None and rank_of is not None:
            trace.ranks[row] = ranks_in(items, rank_of[row], len(scorer))
    return trace


def _empty_trace(batch: int, k: int, kept: int, rank_of: NDArray[np.integer] | None) -> SearchTrace:
    return SearchTrace(
        chosen=np.full((batch, k), -1, dtype=np.int32),
        logits=np.full((batch, k), -np.inf, dtype=np.float32),
        candidates=np.full((batch, k, kept), -1, dtype=np.int32),
        candidate_logits=np.full((batch, k, kept), -np.inf, dtype=np.float32),
        calls=np.zeros(batch, dtype=np.int64),
        ranks=None if rank_of is None else np.full(rank_of.shape, UNRANKED, dtype=np.int64),
    )
