"""Measures whether S means what it says: by size of the outfit, as a probability, and against near-copies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from outfits.data.catalogue import Catalogue
from outfits.data.near_copies import nearest_of_category
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import SetScorer, set_logits
from outfits.metrics.questions import LabelledSets, replacement_negatives

BINS = 10  # of equal width in the reliability diagram
DRAWS = 8  # of replaced items per outfit that the calibration is fitted on
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


def measure_calibration(
    scorer: SetScorer, catalogue: Catalogue, outfits: Outfits, seed: int, draws: int = 1
) -> Calibration | None:
    """Measures S on outfits, on them with one item replaced, and on them with a near-copy of an item added.

    A near-copy is the other item of the same category whose embedding has the largest cosine with an item drawn from
    the outfit. The zero of sets with two items of one category is a rule beside S, and left out here. Returns None
    without an outfit that allows a replacement.

    Args:
        scorer: S over the catalogue.
        catalogue: items with embeddings.
        outfits: real outfits, of a split that S was not trained on.
        seed: seed of the draws.
        draws: replaced items per outfit, so that the error is not mostly that of few sets in a bin.
    """
    categories = catalogue.categories
    same = replacement_negatives(outfits, categories, seed, same_category=True, draws=draws)
    if not same.positives:
        return None
    anywhere = replacement_negatives(outfits, categories, seed, same_category=False, draws=draws)
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
    drawn = np.array(
        [np.random.default_rng([seed, COPY_STREAM, place]).choice(items) for place, items in enumerate(outfits)],
        dtype=np.int64,
    )
    nearest = nearest_of_category(catalogue, drawn, int(outfits.sizes.max(initial=1)))
    given, copied = [], []
    for items, others in zip(outfits, nearest, strict=True):
        others = others[(others >= 0) & ~np.isin(others, items)]
        if len(others):
            given.append(items)
            copied.append(np.append(items, others[0]).astype(items.dtype))
    return given, copied


def fit_calibration(scorer: SetScorer, catalogue: Catalogue, outfits: Outfits, seed: int) -> tuple[float, float] | None:
    """Fits scale and offset of the logit, so that its sigmoid is the share of real outfits among sets of its value.

    Platt scaling (Platt 1999): a logistic regression on the logit, over outfits of the validation split and as many
    with one item replaced by another of its category. Arguments as of :func:`measure_calibration`. Returns None where
    no outfit allows a replacement, or S does not rise with the chance that an outfit is real.
    """
    sets = replacement_negatives(outfits, catalogue.categories, seed, same_category=True, draws=DRAWS)
    if not sets.positives:
        return None
    real, replaced = set_logits(sets, scorer)
    rows = np.concatenate([real, replaced]).astype(np.float64)[:, None]
    labels = np.arange(len(rows)) < len(real)
    fitted = LogisticRegression(C=np.inf).fit(rows, labels)
    scale, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (scale, offset) if scale > 0 else None


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
        outfits = len({same.positives[row].tobytes() for row in np.flatnonzero(rows).tolist()})
        found[size] = SizeScores(outfits, float(real[rows].mean()), float(replaced[rows].mean()), drawn)
    return found
