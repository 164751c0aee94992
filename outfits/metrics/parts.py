"""Is the same item found, seen otherwise? Ranks of the true item in a gallery, by what compares two pyramids.

A gallery has one image of every item. Queries are views of items of the gallery, in buckets by the kind of view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.metrics.paired import paired_interval
from outfits.models.grnet import Grnet
from outfits.models.pyramid_similarity import best_cosines, evidence_of, global_vectors, mean_cosines

FOUND_AT = (1, 10)
RESAMPLES = 1000
AT_ONCE = 64  # queries compared with the whole gallery

Pyramids = NDArray[np.float32]


@dataclass(frozen=True)
class PartsRanks:
    """Places, from 0, of the items that were looked for, int64, ``[Q]``, by row (what ranks) and bucket.

    Attributes:
        ranks: places by row and bucket.
        reached: whether the true item is among the candidates that GRNet ranks anew, bool, ``[Q]``, by bucket.
        gallery: number of items in the gallery.
        candidates: number of candidates.
    """

    ranks: Mapping[str, Mapping[str, NDArray[np.int64]]]
    reached: Mapping[str, NDArray[np.bool_]]
    gallery: int
    candidates: int

    @property
    def buckets(self) -> Sequence[str]:
        """Names of the buckets."""
        return list(self.reached)

    def found(self, row: str, bucket: str, depth: int) -> NDArray[np.float64]:
        """1 where the true item is among the first ``depth``, ``[Q]``."""
        return (self.ranks[row][bucket] < depth).astype(np.float64)

    def interval(self, row: str, bucket: str, depth: int, seed: int, less: str | None = None) -> dict[str, float]:
        """Share of queries found, or the difference to another row on the same queries, with its bootstrap interval."""
        values = self.found(row, bucket, depth)
        other = np.zeros(len(values)) if less is None else self.found(less, bucket, depth)
        return paired_interval(values, other, resamples=RESAMPLES, seed=seed)


def rank_items(
    model: Grnet | None,
    gallery: Pyramids,
    queries: Mapping[str, tuple[NDArray[np.int64], Pyramids]],
    candidates: int,
) -> PartsRanks:
    """Ranks the gallery for every query; items of equal similarity stand before the true one.

    Args:
        model: GRNet, which ranks the first candidates of ``global`` anew; None leaves its row out.
        gallery: shape ``[m, R, d]``.
        queries: places in the gallery ``[q]`` and pyramids ``[q, R, d]`` by bucket.
        candidates: number of candidates; those behind them keep their places.
    """
    ranks: dict[str, dict[str, NDArray[np.int64]]] = {name: {} for name in ("global", "mean_cosine", "best_cosine")}
    if model is not None:
        ranks["grnet"] = {}
    reached, candidates = {}, min(candidates, len(gallery))
    of_gallery = global_vectors(gallery)
    for bucket, (true, pyramids) in queries.items():
        cosine = global_vectors(pyramids) @ of_gallery.T
        ranks["global"][bucket] = places(cosine, true)
        for name, compare in (("mean_cosine", mean_cosines), ("best_cosine", best_cosines)):
            parts = [compare(pyramids[at : at + AT_ONCE], gallery) for at in range(0, len(pyramids), AT_ONCE)]
            ranks[name][bucket] = places(np.concatenate(parts), true)
        nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :candidates]
        reached[bucket] = (nearest == true[:, None]).any(1)
        if model is not None:
            ranks["grnet"][bucket] = _ranked_anew(model, gallery, true, pyramids, nearest, ranks["global"][bucket])
    return PartsRanks(ranks, reached, len(gallery), candidates)


def places(similarity: NDArray[np.floating], true: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places, from 0, of the true columns ``[q]`` of similarities ``[q, m]``; ties count against them."""
    own = similarity[np.arange(len(true)), true][:, None]
    found: NDArray[np.int64] = (similarity >= own).sum(1) - 1
    return found


def _ranked_anew(
    model: Grnet,
    gallery: Pyramids,
    true: NDArray[np.int64],
    pyramids: Pyramids,
    nearest: NDArray[np.int64],
    before: NDArray[np.int64],
) -> NDArray[np.int64]:
    found = before.copy()
    for row in np.flatnonzero((nearest == true[:, None]).any(1)).tolist():
        with torch.inference_mode():
            evidence = evidence_of(model, pyramids[row], gallery[nearest[row]])
        column = int(np.flatnonzero(nearest[row] == true[row])[0])
        found[row] = places(evidence[None], np.array([column]))[0]
    return found
