"""Complementary retrieval on pools: is the item that was taken out among the first few of its category?

The protocol of CSA-Net (arXiv 1912.08967, section 4.4) and OutfitTransformer (arXiv 2204.04812): a test outfit without
one item and that item's category ask for it among at most 3,000 items of the category; recall at 10, 30 and 50 is
averaged over the categories. The published pools were never released, so figures compare within one set of pools alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import SetScorer
from outfits.models.retrieval import RetrievalQuery, Retriever

RECALL_AT = (10, 30, 50)
POOL_STREAM = 14  # first number of the seeds of pools
QUERIES = 64  # outfits whose candidates are scored at once

ItemSet = NDArray[np.int32]


@dataclass(frozen=True)
class Pool:
    """The questions about one category and their common candidates.

    Attributes:
        category: position in the catalogue's category names.
        items: candidates, catalogue positions, ascending, int64, shape ``[P]``.
        given: the outfits of the ``Q`` questions without the wanted item.
        answers: place of the wanted item in ``items``, int64, shape ``[Q]``.
    """

    category: int
    items: NDArray[np.int64]
    given: Sequence[ItemSet]
    answers: NDArray[np.int64]


PoolScores = Callable[[Pool], NDArray[np.floating]]
"""Scores the candidates of a pool for each of its questions, shape ``[Q, P]``."""


def make_pools(catalogue: Catalogue, outfits: Outfits, largest: int, least: int, seed: int) -> list[Pool]:
    """Asks once for every item of every outfit whose category has enough candidates, in the order of categories.

    Args:
        catalogue: all items; those of other splits are candidates too.
        outfits: of the measured split; those of one item are left out.
        largest: candidates of a category that has more: the wanted items, and others drawn at random.
        least: fewest candidates of a category that is asked for.
        seed: seed of the draw.
    """
    asked: dict[int, list[tuple[ItemSet, int]]] = {}
    for items in outfits:
        for place, item in enumerate(items.tolist() if len(items) > 1 else []):
            asked.setdefault(int(catalogue.categories[item]), []).append((np.delete(items, place), item))
    pools = []
    for category in sorted(asked):
        members, questions = np.flatnonzero(catalogue.categories == category), asked[category]
        if len(members) < least:
            continue
        wanted = np.unique([item for _, item in questions])
        if len(members) > largest:
            rng = np.random.default_rng([seed, POOL_STREAM, category])
            others = np.setdiff1d(members, wanted)
            members = np.union1d(wanted, rng.choice(others, max(0, min(len(others), largest - len(wanted))), False))
        answers = np.searchsorted(members, [item for _, item in questions])
        pools.append(Pool(category, members, [given for given, _ in questions], answers))
    return pools


def pool_recall(pools: Sequence[Pool], scores: PoolScores) -> dict[int, dict[int, float]]:
    """Recall of every category at every depth of :data:`RECALL_AT`, by category.

    An outfit's own other items are no candidates. Among equal scores chance decides, and its expectation counts.
    """
    found = {}
    for pool in pools:
        values = np.array(scores(pool), dtype=np.float64)
        if values.shape != (len(pool.given), len(pool.items)) or np.isnan(values).any():
            raise ValueError(f"scores of shape {values.shape} do not fit, or one is NaN")
        for row, given in enumerate(pool.given):
            values[row, np.isin(pool.items, given)] = -np.inf
        hits = {depth: expected_hits(values, pool.answers, depth) for depth in RECALL_AT}
        found[pool.category] = {depth: float(share.mean()) for depth, share in hits.items()}
    return found


def expected_hits(values: NDArray[np.float64], answers: NDArray[np.integer], depth: int) -> NDArray[np.float64]:
    """Chance of every answer to be among the first ``depth``, shape ``[Q]``; 0 where its score is no number.

    Args:
        values: scores of the candidates, shape ``[Q, P]``; equal ones are in random order.
        answers: column of the true item, shape ``[Q]``.
    """
    true = values[np.arange(len(values)), answers][:, None]
    above, equal = (values > true).sum(1), (values == true).sum(1)
    hits: NDArray[np.float64] = np.clip((depth - above) / np.maximum(equal, 1), 0, 1) * (equal > 0)
    return hits


def mean_recall(by_category: dict[int, dict[int, float]]) -> dict[int, float | None]:
    """Averages recall over the categories; None without any."""
    rows = by_category.values()
    return {depth: float(np.mean([row[depth] for row in rows])) if rows else None for depth in RECALL_AT}


def by_chance(pool: Pool) -> NDArray[np.floating]:
    """Scores all candidates alike."""
    return np.zeros((len(pool.given), len(pool.items)))


def by_frequency(occurrences: NDArray[np.integer]) -> PoolScores:
    """Scores candidates by how often they occur in training outfits, ``[N]``."""
    return lambda pool: np.tile(occurrences[pool.items].astype(np.float64), (len(pool.given), 1))


def by_mean_cosine(embeddings: ItemEmbeddings) -> PoolScores:
    """Scores candidates by the cosine of their embedding with the mean of the outfit's."""

    def scores(pool: Pool) -> NDArray[np.floating]:
        means = np.stack([embeddings.vectors[given].mean(0) for given in pool.given])
        items = embeddings.vectors[pool.items]
        found: NDArray[np.floating] = _unit(means) @ _unit(items).T
        return found

    return scores


def by_compatibility(scorer: SetScorer) -> PoolScores:
    """Scores candidates by the logit of the outfit with them."""

    def scores(pool: Pool) -> NDArray[np.floating]:
        rows = [
            scorer.ragged_logits([np.append(given, item) for item in pool.items]).cpu().numpy() for given in pool.given
        ]
        return np.stack(rows)

    return scores


def by_retriever(
    model: Retriever, catalogue: Catalogue, device: torch.device, texts: NDArray[np.float32] | None = None
) -> PoolScores:
    """Scores candidates by a retriever that is told the category.

    Args:
        model: in evaluation mode, on ``device``.
        catalogue: items with embeddings.
        texts: a text for every item ``[N, text_dim]``, of which it is told the wanted item's; None: none.
    """
    embeddings = catalogue.require_embeddings

    @torch.inference_mode()
    def scores(pool: Pool) -> NDArray[np.floating]:
        candidates = embeddings.take(pool.items)
        features = model.item_features(
            torch.from_numpy(candidates.vectors).to(device), torch.from_numpy(candidates.present).to(device)
        )
        told = None if texts is None else texts[pool.items[pool.answers]]
        rows = []
        for start in range(0, len(pool.given), QUERIES):
            some = slice(start, start + QUERIES)
            query = query_of(catalogue, pool.given[some], pool.category, None if told is None else told[some])
            count = len(query.padding)
            of_pool = torch.full((count, len(pool.items)), pool.category, device=device)
            here = RetrievalQuery(*(part.to(device) for part in vars(query).values()))
            rows.append(model.scores(here, features.expand(count, -1, -1), of_pool).float().cpu().numpy())
        return np.concatenate(rows)

    return scores


def query_of(
    catalogue: Catalogue, given: Sequence[ItemSet], category: int, texts: NDArray[np.float32] | None
) -> RetrievalQuery:
    """Pads outfits that all ask for one category; ``texts`` has shape ``[B, text_dim]``."""
    embeddings = catalogue.require_embeddings
    longest = max(map(len, given))
    rows = np.stack([np.pad(items, (0, longest - len(items))) for items in given])  # [B, n]
    padding = np.arange(longest) >= np.array([len(items) for items in given])[:, None]
    allowed = np.tile(np.arange(len(catalogue.category_names)) == category, (len(given), 1))
    if texts is None:
        texts = np.zeros((len(given), embeddings.text_dim), dtype=np.float32)
    return RetrievalQuery(
        torch.from_numpy(embeddings.vectors[rows]),
        torch.from_numpy(embeddings.present[rows]),
        torch.from_numpy(catalogue.categories[rows].astype(np.int64)),
        torch.from_numpy(padding),
        torch.from_numpy(allowed),
        torch.from_numpy(texts),
    )


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
