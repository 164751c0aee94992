"""Assigns outfits to splits without leakage between related outfits, seeded and recorded."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.config.schema.data import SplitConfig
from outfits.data.disjoint import disjoint_split
from outfits.data.group_split import group_split
from outfits.data.near_duplicates import near_duplicate_share, pairs_seen, related_groups
from outfits.data.outfits import SPLITS, Outfits
from outfits.errors import DataError

__all__ = ["assign_splits", "judge_holdout", "pairs_seen", "near_duplicate_share"]

IDENTICAL = 1.0
"""Jaccard overlap of identical sets, the only ones that `random` keeps together."""


def assign_splits(
    item_sets: Sequence[Iterable[int]], official: Sequence[str | None], config: SplitConfig
) -> tuple[NDArray[np.int8], dict[str, object]]:
    """Assigns every outfit to a split.

    `official` takes the data set's own split, with ``strict`` without outfits that share items with a later split.
    `random` keeps identical sets together, `grouped` also chains of pairs
    with a Jaccard overlap of at least ``overlap``, `disjoint` allows no item in two splits.

    Args:
        item_sets: catalogue positions of every outfit.
        official: official split of every outfit, None where the data set has none.
        config: section ``data.split``.

    Returns:
        Positions in :data:`SPLITS`, -1 for an outfit left out, shape ``[outfits]``; and the facts for the report:
        ``mode``, ``seed``, ``shares``, ``overlap`` (`grouped` only), ``outfits`` per split and ``left_out``.

    Raises:
        DataError: if a split of positive share is empty, or there is no `official` split to take.
        ValueError: if there are not three shares that sum to 1.
    """
    if len(config.shares) != len(SPLITS) or not np.isclose(sum(config.shares), 1.0):
        raise ValueError(f"shares {config.shares} are not three numbers that sum to 1")
    if config.mode == "official":
        codes = _official(official)
        codes = purged(item_sets, codes) if config.strict else codes
    elif config.mode == "disjoint":
        codes = disjoint_split(item_sets, config.shares, config.seed)
    else:
        overlap = IDENTICAL if config.mode == "random" else config.overlap
        codes = group_split(related_groups(item_sets, overlap), config.shares, np.random.default_rng(config.seed))
    outfits = {split: int((codes == code).sum()) for code, split in enumerate(SPLITS)}
    for code, split in enumerate(SPLITS):
        if not outfits[split] and (config.mode == "official" or config.shares[code] > 0):
            raise DataError(f"the {split} split is empty {_way_out(config.mode, outfits)}")
    facts: dict[str, object] = {"mode": config.mode}
    if config.mode != "official":
        facts |= {"seed": config.seed, "shares": list(config.shares)}
    if config.mode == "grouped":
        facts["overlap"] = config.overlap
    if config.strict:
        facts["strict"] = True
    return codes, {**facts, "outfits": outfits, "left_out": int((codes < 0).sum())}


def shared_items(outfits: Outfits) -> list[str]:
    """Counts the items that stand in outfits of two splits, one phrase for each two splits that share some."""
    of = [np.unique(outfits.items[np.repeat(outfits.split == code, outfits.sizes)]) for code in range(len(SPLITS))]
    pairs = [(later, earlier) for later in reversed(range(len(SPLITS))) for earlier in range(later)]
    counts = {(later, earlier): len(np.intersect1d(of[later], of[earlier])) for later, earlier in pairs}
    return [
        f"{count:,} of {len(of[later]):,} items of {SPLITS[later]} in {SPLITS[earlier]}"
        for (later, earlier), count in counts.items()
        if count
    ]


def purged(item_sets: Sequence[Iterable[int]], codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Leaves out, as -1, outfits that share an item with an outfit of a later split, in the order of :data:`SPLITS`.

    The test split stays whole, so that figures on it can be compared with those of others.

    Args:
        item_sets: catalogue positions of every outfit.
        codes: positions in :data:`SPLITS`, shape ``[outfits]``.
    """
    kept, later = codes.copy(), set[int]()
    for code in reversed(range(len(SPLITS))):
        rows = np.flatnonzero(codes == code)
        sets = [set(item_sets[row]) for row in rows.tolist()]
        kept[rows[[not later.isdisjoint(items) for items in sets]]] = -1
        later.update(*sets)
    return kept


def _way_out(mode: str, outfits: dict[str, int]) -> str:
    sizes = f"({', '.join(f'{split} {number:,}' for split, number in outfits.items())})"
    if mode == "official":
        return f"{sizes}; complete data.root or set data.split.mode=grouped to draw a seeded split"
    if mode == "disjoint":
        return f"{sizes}; the outfits share too many items, set data.split.mode=grouped"
    return f"{sizes}; set data.split.shares so that it gets outfits, or data.split.mode=random"


def judge_holdout(
    item_sets: Sequence[Iterable[int]], share: float, mode: str, overlap: float, seed: int
) -> NDArray[np.bool_]:
    """Draws a seeded holdout of training outfits for a judge that shares no outfit with S, bool, shape ``[outfits]``.

    Args:
        item_sets: catalogue positions of every outfit.
        share: share of the outfits in the holdout.
        mode: split mode of the data set; `random` keeps identical sets together, other modes near duplicates too.
        overlap: smallest Jaccard overlap of near duplicates.
        seed: seed of the holdout.
    """
    groups = related_groups(item_sets, IDENTICAL if mode == "random" else overlap)
    codes = group_split(groups, [1 - share, share], np.random.default_rng([seed, 1]))
    return np.asarray(codes == 1, dtype=np.bool_)


def _official(official: Sequence[str | None]) -> NDArray[np.int8]:
    missing = sum(split is None for split in official)
    if missing:
        raise DataError(
            f"{missing:,} of {len(official):,} outfits have no official split; set data.split.mode=grouped to draw a "
            "seeded one, or data.tables.split to the column that has it"
        )
    return np.array([SPLITS.index(split) for split in official if split is not None], dtype=np.int8)
