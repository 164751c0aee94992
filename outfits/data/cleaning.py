"""Cleaning: what a parser read becomes a catalogue and sets of its items, every left-out thing counted."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from outfits.config.schema.data import DataConfig
from outfits.data.catalogue import Catalogue
from outfits.data.category_rule import is_outfit
from outfits.data.dataset import Item, RawDataset, RawOutfit
from outfits.data.files import what_is_there
from outfits.data.image_files import image_exists
from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.naming import bare, differing_by_case, listed, named, near, whole_characters

COUNTS = (
    "outfits read",
    "outfits left out: too few items",
    "outfits merged with an identical outfit",
    "outfits merged across official splits",
    "outfits left out: two items of one category",
    "outfits left out: score missing or outside [0, 1]",
    "outfits left out: contradictory scores",
    "outfits with contradictory scores, averaged",
    "outfits left out by data.limit",
    "outfits left out: items of two splits",
    "outfits kept",
    "outfits kept with two items of one category",
    "items read",
    "items listed twice",
    "items left out by data.limit",
    "items kept",
    "items in no outfit",
    "items without text",
    "items without image",
    "images missing from disk",
    "mentions of items not in the catalogue, dropped",
    "mentions of items repeated in an outfit, dropped",
)
"""Keys of :attr:`Cleaned.counts`; all are always there, zeros too, so that data sets can be compared line by line."""
RARE = 5  # a category of fewer items is named in the log
RARE_SHOWN = 10


@dataclass(frozen=True)
class Cleaned:
    """A catalogue and outfits that are sets of its items, no two of them equal.

    Attributes:
        catalogue: items in the order of their files.
        outfit_ids: unique names of the outfits.
        outfits: sorted catalogue positions of every outfit.
        splits: official split of every outfit, None where the data set has none.
        scores: given score of every outfit, shape ``[outfits]``; None where the data set has none.
        counts: what was read, kept and left out, by :data:`COUNTS`.
        kept_as: for every outfit id that was read, that of the identical outfit that is kept.
        notes: lines for the log: the categories, names that differ by case alone, and what dropped items are near to.
    """

    catalogue: Catalogue
    outfit_ids: list[str]
    outfits: list[list[int]]
    splits: list[str | None]
    scores: NDArray[np.float32] | None
    counts: dict[str, int]
    notes: list[str]
    kept_as: dict[str, str]


@dataclass(frozen=True)
class _Outfit:
    outfit_id: str
    items: frozenset[int]
    split: str | None
    scores: tuple[float, ...]


def clean(raw: RawDataset, config: DataConfig) -> Cleaned:
    """Applies the policies of the ``data`` section.

    Outfits of identical item sets become one. If their official splits differ, the one furthest from training stays
    (test before valid before train), so that neither it nor an official task on it was seen in training. An image is
    looked for on disk but not decoded. With ``limit``, outfits are drawn in proportion to the official splits, none of
    which becomes empty, and the catalogue keeps their items only: distractors and completions then come from them.

    Args:
        raw: what a parser read.
        config: policies ``on_missing_item``, ``on_repeated_item``, ``on_missing_image``, ``on_rule_break``,
            ``on_bad_score``, ``on_contradictory_scores``, and ``min_items``, ``limit``, ``score_scale`` and
            ``split.seed``.

    Raises:
        DataError: where a policy is ``error`` and a case occurs, with the number of cases and the first; if an item or
            an outfit is defined twice and differently; if no outfit is left.
    """
    counts = dict.fromkeys(COUNTS, 0)
    counts["items read"], counts["outfits read"] = len(raw.items), len(raw.outfits)
    items = _unique_items(raw.items, counts)
    position = {item.item_id: index for index, item in enumerate(items)}
    outfits, notes = _as_sets(raw.outfits, position, config, counts)
    merged = _merge_identical(outfits, counts)
    kept_as = _kept_as(raw.outfits, outfits, merged)
    outfits = _apply_category_rule(merged, [item.category for item in items], config, counts)
    scored = any(outfit.scores for outfit in raw.outfits)
    if scored:
        outfits = _one_score_each(outfits, config, counts)
    kept = _limit(outfits, config)
    if len(kept) < len(outfits):
        items, kept = _only_items_of(items, kept)
    counts["outfits left out by data.limit"] = len(outfits) - len(kept)
    counts["items left out by data.limit"] = len(position) - len(items)
    if not kept:
        way_out = "; ".join([*notes, "mend the files, or set data.min_items or data.on_rule_break"])
        raise DataError(f"no outfit of {raw.name} is left: {left_out(counts)}; {way_out}")
    paths = _image_paths(items, config, counts)
    catalogue = _catalogue(items, paths)
    sets = [sorted(outfit.items) for outfit in kept]
    counts |= count_outfits(catalogue, sets)
    counts["items kept"] = len(items)
    counts["items without text"] = sum(not item.text.strip() for item in items)
    counts["items without image"] = sum(path is None for path in paths)
    return Cleaned(
        catalogue=catalogue,
        outfit_ids=[outfit.outfit_id for outfit in kept],
        outfits=sets,
        splits=[outfit.split for outfit in kept],
        scores=_scaled([outfit.scores[0] for outfit in kept], config.score_scale) if scored else None,
        counts=counts,
        notes=[*_about_categories(items), *_about_case(items, [outfit.outfit_id for outfit in kept]), *notes],
        kept_as=kept_as,
    )


def clean_items(raw: RawDataset, config: DataConfig) -> tuple[Catalogue, dict[str, int], list[str]]:
    """Applies the policies for items to data without outfits; the catalogue, counts and notes of :class:`Cleaned`.

    Raises:
        DataError: if an image is missing and the policy is ``error``, or an item is defined twice and differently.
    """
    counts = {"items read": len(raw.items)}
    items = _unique_items(raw.items, counts)
    paths = _image_paths(items, config, counts)
    counts |= {
        "items kept": len(items),
        "items without text": sum(not item.text.strip() for item in items),
        "items without image": sum(path is None for path in paths),
    }
    return _catalogue(items, paths), counts, [*_about_categories(items), *_about_case(items, [])]


def left_out(counts: dict[str, int]) -> str:
    """What was read and left out, for the message of an error that follows from it; mentions of items come first."""
    shown = {name: number for name, number in counts.items() if number and name.startswith(("mentions", "outfits"))}
    return ", ".join(f"{name} {shown[name]:,}" for name in sorted(shown, key=lambda name: name.startswith("outfits")))


def count_outfits(catalogue: Catalogue, outfits: Sequence[Sequence[int] | NDArray[np.int32]]) -> dict[str, int]:
    """The counts that depend on which outfits are kept in the end, to be renewed where a split leaves some out.

    Args:
        catalogue: the items.
        outfits: catalogue positions of every kept outfit.
    """
    used = np.zeros(len(catalogue), dtype=np.bool_)
    breaking = 0
    for outfit in outfits:
        positions = np.asarray(outfit, dtype=np.int64)
        used[positions] = True
        breaking += not is_outfit(catalogue.categories[positions])
    return {
        "outfits kept": len(outfits),
        "outfits kept with two items of one category": breaking,
        "items in no outfit": int((~used).sum()),
    }


def _unique_items(items: Sequence[Item], counts: dict[str, int]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        before = first.setdefault(item.item_id, item)
        if before is not item and _without_unknown(before) != _without_unknown(item):
            raise DataError(
                f"item {item.item_id!r} is listed twice and differently: {_described(before)} and "
                f"{_described(item)}; leave one of them in the files"
            )
    counts["items listed twice"] = len(items) - len(first)
    return list(first.values())


def _without_unknown(item: Item) -> Item:
    """The item without empty attributes: one that is unknown may as well be absent."""
    return replace(item, attributes={name: value for name, value in item.attributes.items() if value})


def _described(item: Item) -> str:
    attributes = (f"{name}={value!r}" for name, value in item.attributes.items())
    return ", ".join((repr(item.category), repr(item.text), *attributes))


def _as_sets(
    outfits: Sequence[RawOutfit], position: dict[str, int], config: DataConfig, counts: dict[str, int]
) -> tuple[list[_Outfit], list[str]]:
    unknown = [(outfit, item_id) for outfit in outfits for item_id in outfit.item_ids if item_id not in position]
    notes = [_about_unknown(unknown, list(position))] if unknown else []
    if unknown and config.on_missing_item == "error":
        raise DataError(f"{notes[0]}. Set data.on_missing_item=drop to leave such items out.")
    repeated = [
        (outfit, item_id)
        for outfit in outfits
        if len(set(outfit.item_ids)) < len(outfit.item_ids)
        for item_id, number in Counter(outfit.item_ids).items()
        for _ in range(number - 1)
        if item_id in position
    ]
    if repeated and config.on_repeated_item == "error":
        raise DataError(
            f"{_case(*repeated[0])} is named more than once; {len(repeated):,} such mention(s). "
            "Set data.on_repeated_item=drop to take each item once."
        )
    counts["mentions of items not in the catalogue, dropped"] = len(unknown)
    counts["mentions of items repeated in an outfit, dropped"] = len(repeated)
    sets = [
        _Outfit(
            outfit.outfit_id,
            frozenset(position[item_id] for item_id in outfit.item_ids if item_id in position),
            outfit.split,
            outfit.scores,
        )
        for outfit in outfits
    ]
    first: dict[str, frozenset[int]] = {}
    for outfit in sets:
        if first.setdefault(outfit.outfit_id, outfit.items) != outfit.items:
            raise DataError(f"outfit {outfit.outfit_id!r} stands twice with different items; give each its own id")
    large = [outfit for outfit in sets if len(outfit.items) >= config.min_items]
    counts["outfits left out: too few items"] = len(sets) - len(large)
    return large, notes


def _about_unknown(unknown: Sequence[tuple[RawOutfit, str]], known: Sequence[str]) -> str:
    """The first mention of an item that the catalogue lacks, how many there are, and what was probably meant."""
    by_form = {bare(item_id): item_id for item_id in known}
    alike = [(outfit, item_id) for outfit, item_id in unknown if bare(item_id) in by_form]
    first, item_id = (alike or unknown)[0]
    cases = f"{len(unknown):,} such mention(s) in {len({id(outfit) for outfit, _ in unknown}):,} outfit(s)"
    if alike:
        cause = (
            f"{len(alike):,} of them differ from an id of the catalogue, this one from {by_form[bare(item_id)]!r}, "
            "only in upper and lower case, leading zeros or decimals; write ids alike in both files, as text"
        )
    else:
        nearest = near(item_id, known)
        cause = f"the nearest ids are {named(nearest)}" if nearest else f"no id is near, they are like {named(known)}"
    return f"{_case(first, item_id)} is not in the catalogue; {cases}; {cause}"


def _about_categories(items: Sequence[Item]) -> list[str]:
    sizes = Counter(item.category for item in items)
    rare = [f"{name!r} {size}" for name, size in sorted(sizes.items(), key=lambda one: (one[1], one[0])) if size < RARE]
    few = f"; {len(rare):,} of fewer than {RARE} items: {listed(rare, RARE_SHOWN)}" if rare else ""
    return [f"{len(sizes):,} categories{few}"]


def _about_case(items: Sequence[Item], outfit_ids: Sequence[str]) -> list[str]:
    """Names that are kept apart although they differ in upper and lower case alone."""
    values: dict[str, list[str]] = {
        "categories": [item.category for item in items],
        "item ids": [item.item_id for item in items],
        "outfit ids": list(outfit_ids),
    }
    for item in items:
        for name, value in item.attributes.items():
            values.setdefault("attributes", []).append(name)
            values.setdefault(f"values of {name}", []).append(value)
    groups = {what: differing_by_case(names) for what, names in values.items()}
    return [
        f"{what} that differ in upper and lower case alone, and count as different: "
        f"{listed([' / '.join(map(repr, group)) for group in found])}; {len(found):,} such group(s)"
        for what, found in groups.items()
        if found
    ]


def _case(outfit: RawOutfit, item_id: str) -> str:
    return f"outfit {outfit.outfit_id} ({outfit.source}): item {item_id!r}"


def _merge_identical(outfits: Sequence[_Outfit], counts: dict[str, int]) -> list[_Outfit]:
    best: dict[frozenset[int], _Outfit] = {}
    scores: dict[frozenset[int], dict[float, None]] = {}
    parted: set[frozenset[int]] = set()
    for outfit in outfits:
        scores.setdefault(outfit.items, {}).update(dict.fromkeys(outfit.scores))
        before = best.setdefault(outfit.items, outfit)
        if before.split != outfit.split:
            parted.add(outfit.items)
        if _distance_from_training(outfit) > _distance_from_training(before):
            best[outfit.items] = outfit
    counts["outfits merged with an identical outfit"] = len(outfits) - len(best)
    counts["outfits merged across official splits"] = len(parted)
    return [replace(outfit, scores=tuple(scores[outfit.items])) for outfit in best.values()]


def _kept_as(read: Sequence[RawOutfit], sets: Sequence[_Outfit], merged: Sequence[_Outfit]) -> dict[str, str]:
    """The id under which each outfit that was read is kept, its own where none is identical."""
    names = {outfit.items: outfit.outfit_id for outfit in merged}
    own = {outfit.outfit_id: outfit.outfit_id for outfit in read}
    return own | {outfit.outfit_id: names[outfit.items] for outfit in sets}


def _one_score_each(outfits: Sequence[_Outfit], config: DataConfig, counts: dict[str, int]) -> list[_Outfit]:
    """Settles for every outfit on one score, by the policies for bad and for contradictory ones."""

    def usable(score: float) -> bool:
        return math.isfinite(score) and (config.score_scale == "rank" or 0 <= score <= 1)

    bad = [outfit for outfit in outfits if not outfit.scores or not all(map(usable, outfit.scores))]
    if bad and config.on_bad_score == "error":
        shown = next((score for score in bad[0].scores if not usable(score)), math.nan)
        ranked = config.score_scale == "rank"
        what = f"has the score {shown:g}{'' if ranked else ', outside [0, 1]'}"
        what = "has no score" if math.isnan(shown) else what
        rank = "" if ranked else "set data.score_scale=rank for numbers of another range, "
        raise DataError(
            f"outfit {bad[0].outfit_id!r} {what}; {len(bad):,} such outfit(s). Mend the scores, {rank}or set "
            "data.on_bad_score=drop to leave such outfits out."
        )
    left = set(map(id, bad))
    at_odds = [outfit for outfit in outfits if id(outfit) not in left and len(outfit.scores) > 1]
    if at_odds and config.on_contradictory_scores == "error":
        values = " and ".join(f"{score:g}" for score in at_odds[0].scores[:3])
        raise DataError(
            f"outfit {at_odds[0].outfit_id!r}: its items have the scores {values}; {len(at_odds):,} such outfit(s). "
            "Mend the scores, or set data.on_contradictory_scores=mean or =drop."
        )
    averaged = config.on_contradictory_scores == "mean"
    counts["outfits left out: score missing or outside [0, 1]"] = len(bad)
    counts["outfits with contradictory scores, averaged"] = len(at_odds) if averaged else 0
    counts["outfits left out: contradictory scores"] = 0 if averaged else len(at_odds)
    if not averaged:
        left |= set(map(id, at_odds))
    kept = [outfit for outfit in outfits if id(outfit) not in left]
    return [replace(outfit, scores=(sum(outfit.scores) / len(outfit.scores),)) for outfit in kept]


def _scaled(scores: Sequence[float], scale: str) -> NDArray[np.float32]:
    """Scores as given, or by rank: the share of outfits with a lower one, ties counted half."""
    values = np.array(scores, dtype=np.float64)
    if scale == "rank":
        values = (rankdata(values) - 0.5) / len(values)
    return values.astype(np.float32)


def _distance_from_training(outfit: _Outfit) -> int:
    return -1 if outfit.split is None else SPLITS.index(outfit.split)


def _apply_category_rule(
    outfits: list[_Outfit], categories: Sequence[str], config: DataConfig, counts: dict[str, int]
) -> list[_Outfit]:
    if config.on_rule_break == "keep":
        return outfits
    obedient = [outfit for outfit in outfits if len({categories[item] for item in outfit.items}) == len(outfit.items)]
    counts["outfits left out: two items of one category"] = len(outfits) - len(obedient)
    return obedient


def _limit(outfits: list[_Outfit], config: DataConfig) -> list[_Outfit]:
    """Draws ``limit`` outfits; every official split keeps its share, rounded, and at least one outfit if that fits."""
    limit = config.limit
    if limit is None or limit >= len(outfits):
        return outfits
    rng = np.random.default_rng(config.split.seed)
    order = rng.permutation(len(outfits))
    splits = np.array([_distance_from_training(outfit) for outfit in outfits])[order]
    # The rank of an outfit within its split, in units of the split's size, interleaves the splits in proportion; the
    # first of each split comes before everything else.
    rank = np.empty(len(outfits))
    for split in np.unique(splits):
        mine = np.flatnonzero(splits == split)
        rank[mine] = np.arange(len(mine)) / len(mine)
    chosen = np.sort(order[np.argsort(rank, kind="stable")[:limit]])
    return [outfits[index] for index in chosen]


def _only_items_of(items: Sequence[Item], outfits: Sequence[_Outfit]) -> tuple[list[Item], list[_Outfit]]:
    used = sorted(frozenset().union(*(outfit.items for outfit in outfits)))
    new = {old: index for index, old in enumerate(used)}
    moved = [replace(outfit, items=frozenset(new[item] for item in outfit.items)) for outfit in outfits]
    return [items[old] for old in used], moved


def _image_paths(items: Sequence[Item], config: DataConfig, counts: dict[str, int]) -> list[Path | None]:
    missing = {item.item_id for item in items if item.image_path is not None and not image_exists(item.image_path)}
    if missing and config.on_missing_image == "error":
        item = next(item for item in items if item.item_id in missing)
        assert item.image_path is not None
        raise DataError(
            f"item {item.item_id!r}: its image {item.image_path} does not exist; {len(missing):,} such item(s); "
            f"{what_is_there(item.image_path)}. Set data.on_missing_image=mask to use such items without an image."
        )
    counts["images missing from disk"] = len(missing)
    return [None if item.item_id in missing else item.image_path for item in items]


def _catalogue(items: Sequence[Item], paths: Sequence[Path | None]) -> Catalogue:
    names = sorted({item.category for item in items})
    code = {name: index for index, name in enumerate(names)}
    attributes = dict.fromkeys(name for item in items for name in item.attributes)  # in order of first appearance
    return Catalogue(
        item_ids=[item.item_id for item in items],
        categories=np.array([code[item.category] for item in items], dtype=np.int32),
        category_names=names,
        texts=[whole_characters(item.text) for item in items],
        image_paths=list(paths),
        attributes={name: [item.attributes.get(name, "") for item in items] for name in attributes},
    )
