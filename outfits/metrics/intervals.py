"""Intervals of a share and of an area under the curve, from the number of cases alone."""

from math import sqrt

NORMAL = 1.959964  # quantile of the normal distribution that 97.5 % lie below


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval (1927) of a share of ``count`` independent cases."""
    square = NORMAL**2 / count
    centre = (share + square / 2) / (1 + square)
    half = NORMAL / (1 + square) * sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """Returns the 95 % interval of an AUC of so many positives and negatives (Hanley and McNeil 1982)."""
    of_positives, of_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (of_positives - auc**2) * (positives - 1) + (of_negatives - auc**2) * (negatives - 1)
    half = NORMAL * sqrt(max(0.0, auc * (1 - auc) + spread) / (positives * negatives))
    return max(0.0, auc - half), min(1.0, auc + half)
