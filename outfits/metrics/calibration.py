"""Measures whether S means what it says: by size of the outfit, as a probability, and against near-copies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from outfits.data.catalogue import Catalogue
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import SetScorer
from outfits.metrics.questions import LabelledSets, replacement_negatives

BINS = 10  # of equal width in the reliability diagram
COPY_STREAM = 13  # first number of the seeds of near-copies


@dataclass(frozen=True)
class Bin:
    """Sets whose S lies in one bin: their number, mean S, and the share of real outfits among them."""

    sets: int
    score: float
    real: float


@dataclass(frozen=True)
class SizeScores:
    """Mean S at one size: of real outfits, and of them with one item replaced; None where there is no set."""

    outfits: int
    real: float
    same_category: float | None
    random: float | None


@dataclass(frozen=True)
class Calibration:
    """Holds what :func:`measure_calibration` finds.

    Attributes:
        error: expected calibration error (Guo et al. 2017, arXiv 1706.04599) over real outfits and as many with one
            item replaced by another of its category; in [0, 1].
        bins: the non-empty bins of S, ascending.
        sizes: mean S by number of items.
        copies: outfits to which a near-copy was added.
        copies_raised: share of them whose S rose.
        copies_change: mean change of S.
    """

    error: float
    bins: list[Bin]
    sizes: dict[int, SizeScores] = field(default_factory=dict)
    copies: int = 0
    copies_raised: float | None = None
    copies_change: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Converts the result to JSON values."""
        return asdict(self)


def measure_calibration(scorer: SetScorer, catalogue: Catalogue, outfits: Outfits, seed: int) -> Calibration | None:
    """Measures S on outfits, on them with one item replaced, and on them with a near-copy of an item added.

    A near-copy is the other item of the same category whose embedding has the largest cosine with an item drawn from
    the outfit. The zero of sets with two items of one category is a rule beside S, and left out here. Returns None
    without an outfit that allows a replacement.

    Args:
        scorer: S over the catalogue.
        catalogue: items with embeddings.
        outfits: real outfits, of a split that S was not trained on.
        seed: seed of the draws.
    """
    categories = catalogue.categories
    same = replacement_negatives(outfits, categories, seed, same_category=True)
    if not same.positives:
        return None
    anywhere = replacement_negatives(outfits, categories, seed, same_category=False)
    real, replaced, random = (_scores(scorer, sets) for sets in (same.positives, same.negatives, anywhere.negatives))
    bins, error = reliability(np.concatenate([real, replaced]), np.arange(2 * len(real)) < len(real))
    given, copied = near_copies(catalogue, outfits, seed)
    change = _scores(scorer, copied) - _scores(scorer, given) if given else np.zeros(0)
    return Calibration(
        error,
        bins,
        _by_size(same, anywhere, real, replaced, random),
        len(given),
        float((change > 0).mean()) if given else None,
        float(change.mean()) if given else None,
    )


def reliability(scores: NDArray[np.float64], real: NDArray[np.bool_]) -> tuple[list[Bin], float]:
    """Compares predicted with observed shares in bins of equal width; returns the bins and the expected error."""
    places = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        bins.append(Bin(int(inside.sum()), float(scores[inside].mean()), float(real[inside].mean())))
    return bins, sum(part.sets * abs(part.score - part.real) for part in bins) / len(scores)


def near_copies(
    catalogue: Catalogue, outfits: Outfits, seed: int
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
    """Pairs each outfit with itself and the nearest other item of the category of one of its items.

    Outfits whose drawn item is the only one of its category, outside the outfit, are left out.
    """
    vectors = catalogue.require_embeddings.vectors
    categories = catalogue.categories
    members = {int(category): np.flatnonzero(categories == category) for category in np.unique(categories)}
    given, copied = [], []
    for position, items in enumerate(outfits):
        item = int(np.random.default_rng([seed, COPY_STREAM, position]).choice(items))
        others = np.setdiff1d(members[int(categories[item])], items)
        if len(others):
            lengths = np.linalg.norm(vectors[others], axis=1)
            nearest = others[np.argmax(vectors[others] @ vectors[item] / np.maximum(lengths, 1e-12))]
            given.append(items)
            copied.append(np.append(items, nearest).astype(items.dtype))
    return given, copied


def _scores(scorer: SetScorer, sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = expit(scorer.ragged_logits(sets).double().cpu().numpy()) if sets else np.zeros(0)
    return scores


def _by_size(
    same: LabelledSets,
    anywhere: LabelledSets,
    real: NDArray[np.float64],
    replaced: NDArray[np.float64],
    random: NDArray[np.float64],
) -> dict[int, SizeScores]:
    sizes = np.array([len(items) for items in same.positives])
    sizes_anywhere = np.array([len(items) for items in anywhere.negatives], dtype=np.int64)
    found = {}
    for size in np.unique(sizes).tolist():
        rows, others = sizes == size, sizes_anywhere == size
        drawn = float(random[others].mean()) if others.any() else None
        found[size] = SizeScores(int(rows.sum()), float(real[rows].mean()), float(replaced[rows].mean()), drawn)
    return found
