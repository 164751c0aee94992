"""From latents to items: the nearest items that form an outfit, and their re-ranking by S."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from outfits.completion.candidates import CandidateScorer
from outfits.completion.completion import UNRANKED, SearchTrace
from outfits.completion.greedy import best_first, ranks_in
from outfits.completion.rules import forbidden_categories, require_categories
from outfits.index.category_index import CategoryIndex, merge, unit_rows


@dataclass(frozen=True)
class NearestOutfits:
    """Items nearest to latents that keep the category rule.

    Attributes:
        chosen: catalogue position for every latent, int64, shape ``[B, k]``.
        similarity: cosine of latent and chosen item, float32, shape ``[B, k]``.
    """

    chosen: NDArray[np.int64]
    similarity: NDArray[np.float32]


def complete_from_latents(latents: Tensor, index: CategoryIndex, forbidden: NDArray[np.bool_]) -> NearestOutfits:
    r"""The exact maximiser of :math:`\sum_j \cos(z_j, X_j)` over items of pairwise different, allowed categories.

    Within a category only its nearest item can be best for a latent, so choosing items is assigning latents to
    categories (Kuhn–Munkres); where the latents' own favourites already differ in category, they are the answer.

    Args:
        latents: shape ``[B, k, r]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``: categories that must not be added to an outfit.

    Raises:
        DataError: if fewer than ``k`` categories with items are allowed for an outfit.
        ValueError: if a latent is not finite.
    """
    batch, k, _ = latents.shape
    similarity, ids = index.search(latents.flatten(0, 1), 1)
    similarity = similarity.reshape(batch, k, -1)  # [B, k, C]
    ids = ids.reshape(batch, k, -1)
    allowed = ~(forbidden | index.empty_categories)  # [B, C]
    chosen = np.empty((batch, k), dtype=np.int64)
    cosines = np.empty((batch, k), dtype=np.float32)
    for row in range(batch):
        columns = np.flatnonzero(allowed[row])
        require_categories(len(columns), k, f"outfit {row} of the batch")
        value, item = similarity[row][:, columns], ids[row][:, columns]
        column = np.lexsort((item, -value), axis=-1)[:, 0]  # every latent's favourite, ties by catalogue position
        if len(np.unique(column)) < k:
            _, column = linear_sum_assignment(value.astype(np.float64), maximize=True)
        chosen[row], cosines[row] = item[np.arange(k), column], value[np.arange(k), column]
    return NearestOutfits(chosen, cosines)


def latent_ranks(
    latents: Tensor, index: CategoryIndex, forbidden: NDArray[np.bool_], items: NDArray[np.integer]
) -> NDArray[np.int64]:
    """0-based rank of items among all allowed items by their largest cosine to any of an outfit's latents.

    Args:
        latents: shape ``[B, k, r]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``.
        items: catalogue positions asked about, shape ``[B, j]``.

    Returns:
        Int64, shape ``[B, j]``; :data:`UNRANKED` for items of forbidden categories. Ties go to the smaller position.
    """
    return rerank_ranks(latents, index, forbidden, np.empty((len(items), 0), dtype=np.int32), items)


def nearness_to(latents: Tensor, index: CategoryIndex) -> NDArray[np.float32]:
    """Largest cosine of every catalogue item to one outfit's latents ``[k, r]``; shape ``[N]``."""
    with torch.inference_mode():
        unit = torch.from_numpy(unit_rows(latents)).to(index.device)
        # One outfit per product: always the same shape, so the same bits in any batch.
        nearness: NDArray[np.float32] = (index.vectors @ unit.T).amax(dim=1).cpu().numpy()
    return nearness


def rerank(
    latents: Tensor,
    index: CategoryIndex,
    scorer: CandidateScorer,
    outfits: Tensor,
    r: int,
    *,
    joint: bool = True,
    forbidden: NDArray[np.bool_] | None = None,
) -> SearchTrace:
    r"""Greedy completion among the ``r`` nearest allowed items of every latent.

    Each step adds the candidate that S likes best and retires the latent that it is nearest to. Jointly, a step scores
    the shortlists of all latents not used yet (at most :math:`r\,k(k+1)/2` calls of S per outfit); otherwise step j
    scores that of latent j alone (at most :math:`r\,k` calls).

    Args:
        latents: shape ``[B, k, r_dim]``.
        index: the catalogue in the latents' space.
        scorer: S over the same catalogue.
        outfits: catalogue positions of the given items, shape ``[B, n]``.
        r: length of a latent's shortlist.
        joint: whether a step chooses among all unused latents.
        forbidden: categories that must not be added beyond those of the given items, bool, shape ``[B, C]``.

    Raises:
        DataError: if fewer than ``k`` categories with items are allowed for an outfit.
        ValueError: if a latent is not finite.
    """
    batch, k, _ = latents.shape
    similarity, ids = index.search(latents.flatten(0, 1), r)  # [B · k, C, r]
    barred = forbidden_categories(outfits.cpu().numpy(), index.categories, index.num_categories)
    if forbidden is not None:
        barred |= forbidden
    for row, free in enumerate((~(barred | index.empty_categories)).sum(axis=1)):
        require_categories(int(free), k, f"outfit {row} of the batch")
    width = r * k if joint else r
    trace = SearchTrace(
        chosen=np.full((batch, k), -1, dtype=np.int32),
        logits=np.full((batch, k), -np.inf, dtype=np.float32),
        candidates=np.full((batch, k, width), -1, dtype=np.int32),
        candidate_logits=np.full((batch, k, width), -np.inf, dtype=np.float32),
        calls=np.zeros(batch, dtype=np.int64),
    )
    current = outfits.cpu().to(torch.int64)
    unused = np.ones((batch, k), dtype=np.bool_)
    for step in range(k):
        cosine, shortlist = merge(similarity, ids, r, np.repeat(barred, k, axis=0))
        cosine, shortlist = cosine.reshape(batch, k, -1), shortlist.reshape(batch, k, -1)
        active = unused if joint else np.arange(k)[None] == np.full((batch, 1), step)
        candidates, latent_of = _distinct(cosine, shortlist, active)
        logits = scorer.addition_logits(current, torch.from_numpy(candidates), forbidden).cpu()
        trace.calls[:] += torch.isfinite(logits).sum(dim=1).numpy()
        for row in range(batch):
            places, values = best_first(logits[row])
            items = candidates[row, places]
            trace.chosen[row, step], trace.logits[row, step] = items[0], values[0]
            trace.candidates[row, step, : len(items)], trace.candidate_logits[row, step, : len(items)] = items, values
            unused[row, latent_of[row, places[0]]] = False
            barred[row, index.categories[items[0]]] = True
        current = torch.cat([current, torch.from_numpy(trace.chosen[:, step : step + 1].astype(np.int64))], dim=1)
    return trace


def _distinct(
    cosine: NDArray[np.float32], shortlist: NDArray[np.int64], active: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Union of the active latents' shortlists ``[B, k, r]``: items ``[B, k · r]``, -1 for none, and the latent of each.

    An item on several lists is kept once, under the latent it is nearest to, so that S is not asked twice. Items stand
    in ascending order, so that equal logits go to the smaller catalogue position.
    """
    batch, k, r = shortlist.shape
    latent = np.broadcast_to(np.repeat(np.arange(k), r), (batch, k * r))
    items = np.where(active[:, :, None], shortlist, -1).reshape(batch, -1)
    order = np.lexsort((latent, -cosine.reshape(batch, -1), items), axis=-1)
    ordered = np.take_along_axis(items, order, axis=1)
    repeated = np.zeros_like(ordered, dtype=np.bool_)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return np.where(repeated, -1, ordered), np.take_along_axis(latent, order, axis=1)


def rerank_ranks(
    latents: Tensor,
    index: CategoryIndex,
    forbidden: NDArray[np.bool_],
    scored: NDArray[np.int32],
    items: NDArray[np.integer],
) -> NDArray[np.int64]:
    """0-based rank of items: those that :func:`rerank` scored first by their logits, all other allowed ones by cosine.

    Args:
        latents: shape ``[B, k, r_dim]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``.
        scored: candidates of the first step, best first, -1 padded, shape ``[B, M]``.
        items: catalogue positions asked about, shape ``[B, j]``.

    Returns:
        Int64, shape ``[B, j]``; :data:`UNRANKED` for items of forbidden categories.
    """
    ranks = np.full(items.shape, UNRANKED, dtype=np.int64)
    for row in range(len(latents)):
        first = scored[row][scored[row] >= 0].astype(np.int64)
        nearness = nearness_to(latents[row], index)
        nearness[forbidden[row][index.categories]] = -np.inf
        nearness[first] = -np.inf
        rest = np.argsort(-nearness, kind="stable")
        rest = rest[: np.count_nonzero(np.isfinite(nearness))]
        ranks[row] = ranks_in(np.concatenate([first, rest]), items[row], len(index))
    return ranks
