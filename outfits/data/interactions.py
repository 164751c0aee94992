"""Cleans what users like: pairs of known users and kept outfits, every left-out one counted."""

from collections.abc import Mapping, Sequence

import numpy as np

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
            f"user {first.user_id} ({first.source}): outfit {first.outfit_id!r} is not among the outfits"
            f"{suggestion(near(first.outfit_id, kept_as, 1))}; {len(unknown):,} such row(s). Set "
            "data.on_missing_outfit=drop to leave such rows out."
        )
    per_user = config.split.users == "per_user"
    without = sum(pair.split is None for pair in interactions)
    if not per_user and 0 < without < len(interactions):
        first = next(pair for pair in interactions if pair.split is None)
        raise DataError(
            f"user {first.user_id} ({first.source}): no split, while others have one; {without:,} such row(s). Fill "
            "them in, or set data.split.users=per_user"
        )
    position = {outfit_id: place for place, outfit_id in enumerate(outfits.outfit_ids)}
    found: dict[tuple[str, int], tuple[int, float]] = {}
    left_out = repeated = 0
    for pair in interactions:
        outfit = position.get(kept_as.get(pair.outfit_id, ""))
        if outfit is None:
            left_out += 1
            continue
        split = int(outfits.split[outfit]) if pair.split is None else SPLITS.index(pair.split)
        before = found.get((pair.user_id, outfit))
        repeated += before is not None
        found[pair.user_id, outfit] = (split, pair.time) if before is None else (max(split, before[0]), before[1])
    if not found:
        raise DataError(
            f"no user likes an outfit that is kept, of {len(interactions):,} rows; mend their table, or leave it out"
        )
    user_ids = list(dict.fromkeys(user_id for user_id, _ in found))
    number = {user_id: place for place, user_id in enumerate(user_ids)}
    users = np.array([number[user_id] for user_id, _ in found], dtype=np.int64)
    splits = np.array([split for split, _ in found.values()], dtype=np.int8)
    if per_user:
        times = np.array([time for _, time in found.values()], dtype=np.float64)
        splits = split_per_user(users, times, config.split.shares, config.split.seed)
    pairs = UserOutfits(user_ids, users, np.array([outfit for _, outfit in found]), splits, len(outfits))
    read = {pair.user_id for pair in interactions}
    return pairs, {
        "likes read": len(interactions),
        "likes left out: the data lack the outfit": len(unknown),
        "likes left out: the outfit is left out": left_out - len(unknown),
        "likes listed twice": repeated,
        "likes kept": len(found),
        "users read": len(read),
        "users left out: no outfit": len(read) - len(user_ids),
        "users kept": len(user_ids),
        "outfits of no user": len(outfits) - len(set(pairs.outfits.tolist())),
    }
