"""From latents to items: the nearest items that form an outfit, and their re-ranking by S."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from outfits.completion.additions import OutfitWishes, Propose, ranks_in
from outfits.completion.completion import UNRANKED
from outfits.completion.rules import open_categories, require_categories, require_wishes
from outfits.completion.wishes import Wishes
from outfits.index.category_index import CategoryIndex, merge, unit_rows
from outfits.models.similarity import TextSimilarity


@dataclass(frozen=True)
class NearestOutfits:
    """Items nearest to latents that keep the category rule.

    Attributes:
        chosen: catalogue position for every latent, int64, shape ``[B, k]``.
        similarity: cosine of latent and chosen item, float32, shape ``[B, k]``.
    """

    chosen: NDArray[np.int64]
    similarity: NDArray[np.float32]


def complete_from_latents(
    latents: Tensor, index: CategoryIndex, forbidden: NDArray[np.bool_], wishes: Wishes | None = None
) -> NearestOutfits:
    r"""The exact maximiser of :math:`\sum_j \cos(z_j, X_j)` over items of pairwise different, allowed categories.

    Within a category only its nearest item can be best for a latent, so choosing items is assigning latents to
    categories (Kuhn–Munkres); where the latents' own favourites already differ in category, they are the answer.

    Args:
        latents: shape ``[B, k, r]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``: categories that must not be added to an outfit.
        wishes: wished categories; latent i answers wish i.

    Raises:
        DataError: if the rule or the wishes leave a latent no category with items.
        ValueError: if a latent is not finite.
    """
    batch, k, _ = latents.shape
    similarity, ids = index.search(latents.flatten(0, 1), 1)
    similarity = similarity.reshape(batch, k, -1)  # [B, k, C]
    ids = ids.reshape(batch, k, -1)
    available = ~(forbidden | index.empty_categories)  # [B, C]
    chosen = np.empty((batch, k), dtype=np.int64)
    cosines = np.empty((batch, k), dtype=np.float32)
    for row in range(batch):
        opened = opened_to(wishes, row, k, available[row], f"outfit {row} of the batch")
        chosen[row] = assign_to_categories(similarity[row], ids[row], opened)
        category = index.categories[chosen[row]]
        cosines[row] = similarity[row][np.arange(k), category]
    return NearestOutfits(chosen, cosines)


def complete_from_latents_and_texts(
    latents: Tensor,
    index: CategoryIndex,
    forbidden: NDArray[np.bool_],
    wishes: Wishes,
    similarity: TextSimilarity | None,
    wanted: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    r"""The maximiser of :math:`\sum_j \alpha \cos(z_j, X_j) + (1 - \alpha) S_X(X_j, \hat T_j)`: no call of S.

    The cosine to the latent stands in for what S would say. Reads the whole catalogue once per outfit.

    Args:
        latents: shape ``[B, k, r]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``.
        wishes: wished categories and texts; latent i answers wish i.
        similarity: similarity of the catalogue to texts, where texts are wished.
        wanted: catalogue positions ``[B, k]`` whose rank for wish i to report.

    Returns:
        Catalogue positions ``[B, k]``, and 0-based ranks ``[B, k]`` of the wanted items among all that wish i allows.

    Raises:
        DataError: if the rule or the wishes leave a latent no category with items.
    """
    batch, k, _ = latents.shape
    available = ~(forbidden | index.empty_categories)
    chosen = np.empty((batch, k), dtype=np.int64)
    ranks = None if wanted is None else np.full((batch, k), UNRANKED, dtype=np.int64)
    members = [np.flatnonzero(index.categories == category) for category in range(index.num_categories)]
    for row in range(batch):
        opened = opened_to(wishes, row, k, available[row], f"outfit {row} of the batch")
        wished = OutfitWishes.of(wishes, row, similarity)
        values = np.stack([nearness_to(latents[row, slot : slot + 1], index) for slot in range(k)]).astype(np.float64)
        if wished.similarity is not None:
            mixed = wishes.alpha * values + (1 - wishes.alpha) * wished.similarity
            values = np.where(wishes.has_text[row][:, None], mixed, values)
        best = np.full((k, index.num_categories), -np.inf)
        items = np.full((k, index.num_categories), -1, dtype=np.int64)
        for category in np.flatnonzero(opened.any(axis=0)):
            place = values[:, members[category]].argmax(axis=1)
            items[:, category] = members[category][place]
            best[:, category] = values[np.arange(k), items[:, category]]
        chosen[row] = assign_to_categories(best, items, opened)
        if ranks is not None and wanted is not None:
            for slot in range(k):
                allowed = np.flatnonzero(opened[slot][index.categories])
                ranking = allowed[np.argsort(-values[slot, allowed], kind="stable")]
                ranks[row, slot] = ranks_in(ranking, wanted[row, slot : slot + 1], len(index))[0]
    return chosen, ranks


def opened_to(wishes: Wishes | None, row: int, k: int, available: NDArray[np.bool_], what: str) -> NDArray[np.bool_]:
    """Categories that each of ``k`` missing items of outfit ``row`` can take, bool, shape ``[k, C]``.

    Raises:
        DataError: if the rule or the wishes leave one none.
    """
    require_categories(int(available.sum()), k, what)
    if wishes is None:
        return np.broadcast_to(available, (k, len(available)))
    opened = open_categories(wishes.allowed[row], np.ones(k, dtype=np.bool_), available)
    require_wishes(opened, what)
    return opened


def assign_to_categories(
    values: NDArray[np.floating], items: NDArray[np.int64], opened: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The items of the best assignment of missing items to different categories, shape ``[k]``.

    Args:
        values: value of the best item of every category for every missing item, shape ``[k, C]``.
        items: these items, catalogue positions, shape ``[k, C]``.
        opened: categories that each missing item can take, such that there is an assignment, bool, shape ``[k, C]``.
    """
    k = len(values)
    columns = np.flatnonzero(opened.any(axis=0))
    value = np.where(opened[:, columns], values[:, columns].astype(np.float64), -np.inf)
    item = items[:, columns]
    column = np.lexsort((item, -value), axis=-1)[:, 0]  # every latent's favourite, ties by catalogue position
    if len(np.unique(column)) < k:
        _, column = linear_sum_assignment(value, maximize=True)
    chosen: NDArray[np.int64] = item[np.arange(k), column]
    return chosen


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


def latent_shortlists(
    latents: Tensor,
    index: CategoryIndex,
    r: int,
    *,
    joint: bool = True,
    wishes: Wishes | None = None,
    similarity: TextSimilarity | None = None,
) -> Callable[[int], Propose]:
    """Candidates of a search: the ``r`` nearest items of every latent that is not used yet.

    Where a text is wished, half of them are the items nearest to the text. Without wishes an item on several lists
    stands on that of its nearest latent alone, so that S is not asked twice and the other latents stay free.

    Args:
        latents: shape ``[B, k, r_dim]``.
        index: the catalogue in the latents' space.
        r: length of a latent's list.
        joint: whether a step tries the lists of all unused latents, or of the first alone.
        wishes: wishes for each outfit.
        similarity: similarity of the catalogue to texts, where texts are wished.

    Returns:
        From an outfit's row to its candidates, for :func:`outfits.completion.beam_search.beam_search`.
    """
    batch, k, _ = latents.shape
    cosine, ids = index.search(latents.flatten(0, 1), r)
    cosine, ids = cosine.reshape(batch, k, -1, r), ids.reshape(batch, k, -1, r)

    def of_outfit(row: int) -> Propose:
        wished = None if wishes is None else OutfitWishes.of(wishes, row, similarity)
        texts = None if wished is None or wishes is None or wished.similarity is None else wishes.has_text[row]

        def propose(opened: NDArray[np.bool_], free: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
            nearness, listed = merge(cosine[row], ids[row], r, ~opened)  # [k, r]
            active = free if joint else np.arange(k) == np.flatnonzero(free)[0]
            if texts is not None and wished is not None and wished.similarity is not None:
                for described in np.flatnonzero(texts & active):
                    allowed = opened[described][index.categories]
                    nearest = _nearest_to_text(wished.similarity[described], allowed, r // 2)
                    listed[described, r - len(nearest) :] = nearest
            listed = np.where(active[:, None], listed, -1)
            items = np.unique(listed[listed >= 0])
            mask = np.stack([np.isin(items, listed[slot]) for slot in range(k)])
            if wished is None:
                places = [np.searchsorted(items, listed[slot, listed[slot] >= 0]) for slot in range(k)]
                of_item = np.full(mask.shape, -np.inf, dtype=np.float32)
                for slot, place in enumerate(places):
                    of_item[slot, place] = nearness[slot, listed[slot] >= 0]
                mask &= np.arange(k)[:, None] == of_item.argmax(axis=0)
            return items, mask

        return propose

    return of_outfit


def _nearest_to_text(similarity: NDArray[np.float32], allowed: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """The ``n`` allowed items most similar to a text, shape ``[<= n]``, ties by catalogue position."""
    items = np.flatnonzero(allowed)
    return items[np.argsort(-similarity[items], kind="stable")[:n]]


def rerank_ranks(
    latents: Tensor,
    index: CategoryIndex,
    forbidden: NDArray[np.bool_],
    scored: NDArray[np.int32],
    items: NDArray[np.integer],
    wishes: Wishes | None = None,
) -> NDArray[np.int64]:
    """0-based rank of items: those that re-ranking scored first by their logits, all other allowed ones by cosine.

    Args:
        latents: shape ``[B, k, r_dim]``.
        index: the catalogue in the latents' space.
        forbidden: bool, shape ``[B, C]``.
        scored: candidates of the first step, best first, -1 padded, shape ``[B, M]``.
        items: catalogue positions asked about, shape ``[B, j]``.
        wishes: with wishes, item i is ranked among those that wish i allows, by its cosine to latent i.

    Returns:
        Int64, shape ``[B, j]``; :data:`UNRANKED` for items of categories that are not allowed. Ties go to the smaller
        position.
    """
    ranks = np.full(items.shape, UNRANKED, dtype=np.int64)
    for row in range(len(latents)):
        first = scored[row][scored[row] >= 0].astype(np.int64)
        for number in range(items.shape[1]):
            if wishes is not None or number == 0:
                some = latents[row] if wishes is None else latents[row, number : number + 1]
                allowed = ~forbidden[row] if wishes is None else ~forbidden[row] & wishes.allowed[row, number]
                ranking = _ranking(nearness_to(some, index), first, allowed[index.categories])
            ranks[row, number] = ranks_in(ranking, items[row, number : number + 1], len(index))[0]
    return ranks


def _ranking(nearness: NDArray[np.float32], first: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Allowed items: some in their order first, the others by nearness."""
    first = first[allowed[first]]
    rest = allowed.copy()
    rest[first] = False
    others = np.flatnonzero(rest)
    return np.concatenate([first, others[np.argsort(-nearness[others], kind="stable")]])
