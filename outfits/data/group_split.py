"""Assigns groups of related outfits to splits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def group_split(groups: NDArray[np.int64], shares: Sequence[float], rng: np.random.Generator) -> NDArray[np.int8]:
    """Assigns whole groups in random order to splits, with probability in proportion to their room, ``[outfits]``.

    Groups too large for the smallest split come first, the largest first, and go to the split with most room, so that
    the others can balance them. With groups of one outfit this is a uniformly random split.

    Args:
        groups: group number of every outfit, from 0, shape ``[outfits]``.
        shares: share of the outfits for every split.
        rng: source of the order and the choices.
    """
    sizes = np.bincount(groups)
    room = _targets(len(groups), shares)
    order = rng.permutation(len(sizes))
    large = sizes > room[room > 0].min(initial=len(groups))
    order = np.concatenate([np.argsort(-sizes, kind="stable")[: large.sum()], order[~large[order]]])
    split_of = np.zeros(len(sizes), dtype=np.int8)
    for group in order:
        fitting = np.flatnonzero(room >= sizes[group])
        if large[group] or not len(fitting):
            split = int(np.argmax(room))
        else:
            split = int(rng.choice(fitting, p=room[fitting] / room[fitting].sum()))
        split_of[group] = split
        room[split] -= sizes[group]
    return split_of[groups]


def _targets(outfits: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Outfits per split: the rounded share, at least one where the share is above 0, the rest to the largest."""
    targets = np.array([max(1, round(share * outfits)) if share > 0 else 0 for share in shares], dtype=np.int64)
    targets[int(np.argmax(shares))] += outfits - int(targets.sum())
    return targets
