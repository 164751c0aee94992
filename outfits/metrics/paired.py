"""Compares two methods on the same outfits.

Paired metrics need far fewer outfits than metrics of two separate groups. Scores have shape ``[B]``, both arrays in the
same order of outfits; all functions raise ValueError if there is no outfit or the shapes differ.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

CONFIDENCE = 0.95
OPTIMAL_WITHIN = 1e-6  # of the optimum's S: single-precision rounding in batches of different shape
_DRAWN_AT_ONCE = 2**22  # resampled differences held in memory


def win_rate(values: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Computes the share of outfits where a method beats the reference, ties, up to rounding, counting half."""
    _check(values, reference)
    tied = np.abs(values - reference) <= OPTIMAL_WITHIN
    return float((((values > reference) & ~tied) + 0.5 * tied).mean())


def paired_interval(
    values: NDArray[np.floating], reference: NDArray[np.floating], *, resamples: int, seed: int
) -> dict[str, float]:
    """Computes the mean difference between a method and a reference with its bootstrap interval over outfits.

    The percentile interval of B. Efron's bootstrap: outfits are drawn with replacement, each with both its scores, and
    the interval lies between the 2.5% and the 97.5% quantile of the mean differences. The same seed draws the same
    outfits whatever the scores are. Differences that are all the same give an interval of no width.

    Returns:
        ``mean``, ``low`` and ``high`` of ``values - reference``; ``low <= mean <= high``.
    """
    _check(values, reference)
    differences = values.astype(np.float64) - reference.astype(np.float64)
    mean = float(differences.mean())
    if np.ptp(differences) == 0:
        return {"mean": mean, "low": mean, "high": mean}
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _DRAWN_AT_ONCE // len(differences)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    # resampled means of nearly equal differences can all be one rounding error off the mean
    return {"mean": mean, "low": min(float(interval.low), mean), "high": max(float(interval.high), mean)}


def optimality_gap(optimum: NDArray[np.floating], found: NDArray[np.floating]) -> dict[str, float]:
    """Measures how far a method stays below the optimum that exhaustive search found.

    Returns:
        ``mean``, ``median`` and ``max`` of ``optimum - found``, and ``optimal_share``, the share of outfits where that
        is at most :data:`OPTIMAL_WITHIN`.
    """
    _check(found, optimum)
    gap = optimum.astype(np.float64) - found.astype(np.float64)
    return {
        "mean": float(gap.mean()),
        "median": float(np.median(gap)),
        "max": float(gap.max()),
        "optimal_share": float((gap <= OPTIMAL_WITHIN).mean()),
    }


def _check(values: NDArray[np.floating], reference: NDArray[np.floating]) -> None:
    if values.ndim != 1 or values.shape != reference.shape or not len(values):
        raise ValueError(f"paired scores need equal lengths: {list(values.shape)} and {list(reference.shape)}")
