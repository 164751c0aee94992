"""Cleans what users like: pairs of known users and kept outfits, every left-out one counted."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.config.schema.data import DataConfig
from outfits.data.dataset import Interaction
from outfits.data.outfits import SPLITS, Outfits
from outfits.data.users import UserOutfits, split_per_user
from outfits.errors import DataError
from outfits.naming import near, suggestion


def clean_interactions(
    interactions: Sequence[Interaction], kept_as: Mapping[str, str], outfits: Outfits, config: DataConfig
) -> tuple[UserOutfits, dict[str, int]]:
    """Applies the policies of the ``data`` section to what users like.

    A pair that stands twice counts once, in the split that is furthest from training. Users of merged outfits like the
    outfit that was kept.

    Args:
        interactions: what a parser read, at least one.
        kept_as: for every outfit id that a parser read, the id of the identical outfit that cleaning kept.
        outfits: the kept outfits.
        config: policy ``on_missing_outfit``; ``split.users``, ``split.shares`` and ``split.seed``.

    Returns:
        The pairs in the order of the files, and what was read, kept and left out.

    Raises:
        DataError: if a user likes an outfit that the data lack and the policy is ``error``, if some pairs have a split
            and others none, or if no pair is left.
    """
    unknown = [pair for pair in interactions if pair.outfit_id not in kept_as]
    if unknown and config.on_missing_outfit == "error":
        first = unknown[0]
        raise DataError(
            f"user {first.user_id} ({first.place}): outfit {first.outfit_id!r} is not among the outfits"
            f"{suggestion(near(first.outfit_id, kept_as, 1))}; {len(unknown):,} such row(s). Set "
            "data.on_missing_outfit=drop to leave such rows out."
        )
    per_user = config.split.users == "per_user"
    without = sum(pair.split is None for pair in interactions)
    if not per_user and 0 < without < len(interactions):
        first = next(pair for pair in interactions if pair.split is None)
        raise DataError(
            f"user {first.user_id} ({first.place}): no split, while others have one; {without:,} such row(s). Fill "
            "them in, or set data.split.users=per_user"
        )
    position = {outfit_id: place for place, outfit_id in enumerate(outfits.outfit_ids)}
    outfit_ids = (kept_as.get(pair.outfit_id, "") for pair in interactions)
    of_outfits = _numbers((position.get(outfit_id, -1) for outfit_id in outfit_ids), len(interactions))
    rows = np.flatnonzero(of_outfits >= 0)
    if not len(rows):
        raise DataError(
            f"no user likes an outfit that is kept, of {len(interactions):,} rows; mend their table, or leave it out"
        )
    kept = [interactions[row] for row in rows.tolist()]
    number: dict[str, int] = {}
    of_users = _numbers((number.setdefault(pair.user_id, len(number)) for pair in kept), len(kept))
    of_outfits, user_ids = of_outfits[rows], list(number)
    given = _numbers((-1 if pair.split is None else SPLITS.index(pair.split) for pair in kept), len(kept))
    both = of_users * len(outfits) + of_outfits
    _, first_rows, pair_numbers = np.unique(both, return_index=True, return_inverse=True)
    split_of_pairs = np.zeros(len(first_rows), dtype=np.int8)
    np.maximum.at(split_of_pairs, pair_numbers, np.where(given < 0, outfits.split[of_outfits], given).astype(np.int8))
    order = np.argsort(first_rows)
    firsts, splits = first_rows[order], split_of_pairs[order]
    users = of_users[firsts]
    if per_user:
        times = np.array([kept[row].time for row in firsts.tolist()], dtype=np.float64)
        splits = split_per_user(users, times, config.split.shares, config.split.seed)
    pairs = UserOutfits(user_ids, users, of_outfits[firsts], splits, len(outfits))
    read = {pair.user_id for pair in interactions}
    return pairs, {
        "likes read": len(interactions),
        "likes left out: the data lack the outfit": len(unknown),
        "likes left out: the outfit is left out": len(interactions) - len(rows) - len(unknown),
        "likes listed twice": len(rows) - len(firsts),
        "likes kept": len(firsts),
        "users read": len(read),
        "users left out: no outfit": len(read) - len(user_ids),
        "users kept": len(user_ids),
        "outfits of no user": len(outfits) - len(set(pairs.outfits.tolist())),
    }


def _numbers(values: Iterable[int], count: int) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64, count=count)
