"""Cleaning: every policy, what is counted, and that identical sets become one outfit."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outfits.config.schema.data import DataConfig, SplitConfig
from outfits.data.cleaning import COUNTS, Cleaned, clean
from outfits.data.dataset import Item, RawDataset, RawOutfit
from outfits.errors import DataError

CATEGORIES = {"a": "coat", "b": "bag", "c": "hat", "d": "coat", "e": "belt"}


def raw(*outfits: str | tuple[str, str], items: Sequence[Item] | None = None) -> RawDataset:
    """Outfits by the letters of their items, with an official split or without."""
    pairs = [(outfit, None) if isinstance(outfit, str) else outfit for outfit in outfits]
    if items is None:
        items = [Item(name, category, f"text {name}", None) for name, category in CATEGORIES.items()]
    made = [
        RawOutfit(str(n), tuple(names), split, f"outfits.csv line {n + 2}") for n, (names, split) in enumerate(pairs)
    ]
    return RawDataset("tiny", items, made)


def names(cleaned: Cleaned) -> list[str]:
    return ["".join(cleaned.catalogue.item_ids[item] for item in outfit) for outfit in cleaned.outfits]


def config(**changes: Any) -> DataConfig:
    return DataConfig(**changes)


def test_clean_outfits_come_through_and_every_count_is_shown() -> None:
    cleaned = clean(raw("ab", "bc", "ce"), config())
    assert names(cleaned) == ["ab", "bc", "ce"]
    assert set(cleaned.counts) == set(COUNTS)
    assert {name: number for name, number in cleaned.counts.items() if number} == {
        "outfits read": 3,
        "outfits kept": 3,
        "items read": 5,
        "items kept": 5,
        "items in no outfit": 1,
        "items without image": 5,
    }


def test_categories_are_positions_in_the_names() -> None:
    catalogue = clean(raw("ab"), config()).catalogue
    assert [catalogue.category_names[category] for category in catalogue.categories] == list(CATEGORIES.values())
    assert catalogue.categories.dtype == np.int32
    assert list(catalogue.item_ids) == list(CATEGORIES)


def test_unknown_item_is_an_error_with_count_place_and_way_out() -> None:
    with pytest.raises(DataError) as caught:
        clean(raw("ab", "bX", "abXY"), config())
    assert str(caught.value) == (
        "data error: outfit 1 (outfits.csv line 3): item 'X' is not in the catalogue; 3 such mention(s) in 2 outfit(s);"
        " no id is near, they are like 'a', 'b', 'c', 'd', 'e'. Set data.on_missing_item=drop to leave such items out."
    )


def test_unknown_item_dropped_leaves_the_rest_of_the_outfit() -> None:
    cleaned = clean(raw("ab", "bX", "bcXY"), config(on_missing_item="drop"))
    assert names(cleaned) == ["ab", "bc"]
    assert cleaned.counts["mentions of items not in the catalogue, dropped"] == 3
    assert cleaned.counts["outfits left out: too few items"] == 1


def test_repeated_item_is_taken_once_by_default_and_an_error_if_asked() -> None:
    cleaned = clean(raw("aba", "bbb", "ccee"), config())
    assert names(cleaned) == ["ab", "ce"]
    assert cleaned.counts["mentions of items repeated in an outfit, dropped"] == 5
    assert cleaned.counts["outfits left out: too few items"] == 1
    with pytest.raises(
        DataError,
        match=r"outfit 0 \(outfits.csv line 2\): item 'a' is named more than once; 5 such .*on_repeated_item=drop",
    ):
        clean(raw("aba", "bbb", "ccee"), config(on_repeated_item="error"))


def test_unknown_item_named_twice_is_counted_as_unknown_only() -> None:
    counts = clean(raw("abXX"), config(on_missing_item="drop", on_repeated_item="error")).counts
    assert counts["mentions of items not in the catalogue, dropped"] == 2
    assert counts["mentions of items repeated in an outfit, dropped"] == 0


def test_small_outfits_are_left_out_and_counted() -> None:
    cleaned = clean(raw("ab", "abc", "e", "bce"), config(min_items=3))
    assert names(cleaned) == ["abc", "bce"]
    assert cleaned.counts["outfits left out: too few items"] == 2


def test_nothing_left_is_an_error_that_says_why() -> None:
    with pytest.raises(
        DataError, match=r"no outfit of tiny is left: outfits read 2, outfits left out: too few items 2"
    ):
        clean(raw("ab", "bc"), config(min_items=3))


def test_identical_sets_become_one_outfit_whatever_their_order() -> None:
    cleaned = clean(raw("abc", "ce", "cab", "bca", "ec"), config())
    assert names(cleaned) == ["abc", "ce"]
    assert cleaned.outfit_ids == ["0", "1"]
    assert cleaned.counts["outfits merged with an identical outfit"] == 3


def test_identical_sets_of_several_splits_stay_furthest_from_training() -> None:
    cleaned = clean(
        raw(("abc", "train"), ("cab", "test"), ("bca", "valid"), ("ce", "valid"), ("ec", "train")), config()
    )
    assert list(zip(cleaned.outfit_ids, cleaned.splits, strict=True)) == [("1", "test"), ("3", "valid")]
    assert cleaned.counts["outfits merged across official splits"] == 2


def test_outfit_id_with_two_contents_is_an_error() -> None:
    twice = RawDataset(
        "tiny", raw().items, [RawOutfit("7", ("a", "b"), None, ""), RawOutfit("7", ("b", "c"), None, "")]
    )
    with pytest.raises(DataError, match="outfit '7' stands twice with different items"):
        clean(twice, config())


def test_item_listed_twice_is_merged_if_equal_and_an_error_if_not() -> None:
    same = [Item("a", "coat", "x", None), Item("b", "bag", "y", None), Item("a", "coat", "x", None)]
    assert clean(raw("ab", items=same), config()).counts["items listed twice"] == 1
    different = [*same, Item("a", "hat", "x", None)]
    with pytest.raises(DataError, match="item 'a' is listed twice and differently: 'coat', 'x' and 'hat', 'x'"):
        clean(raw("ab", items=different), config())


def test_item_listed_twice_with_other_attributes_is_an_error_unless_they_are_only_unknown() -> None:
    def twice(first: dict[str, str], again: dict[str, str]) -> RawDataset:
        listed = [Item("a", "coat", "x", None, first), Item("b", "bag", "y", None), Item("a", "coat", "x", None, again)]
        return raw("ab", items=listed)

    for same in ({"colour": "red"}, {"colour": "red", "cloth": ""}, {"cloth": "", "colour": "red"}):
        assert clean(twice({"colour": "red"}, same), config()).counts["items listed twice"] == 1
    for other in ({"colour": "blue"}, {"colour": ""}, {"colour": "red", "cloth": "wool"}):
        with pytest.raises(DataError, match=r"listed twice and differently: 'coat', 'x', colour='red' and .*colour="):
            clean(twice({"colour": "red"}, other), config())


def test_attributes_of_the_items_are_columns_of_the_catalogue_with_unknowns_empty() -> None:
    items = [
        Item("a", "coat", "", None),
        Item("b", "bag", "", None, {"colour": "red", "cloth": "wool"}),
        Item("c", "hat", "", None, {"brim": "wide", "colour": "blue"}),
    ]
    attributes = clean(raw("ab", "bc", items=items), config()).catalogue.attributes
    assert list(attributes.items()) == [
        ("colour", ["", "red", "blue"]),
        ("cloth", ["", "wool", ""]),
        ("brim", ["", "", "wide"]),
    ]
    limited = clean(raw("ab", "bc", items=items), config(limit=1)).catalogue
    assert limited.attributes["colour"] == [{"a": "", "b": "red", "c": "blue"}[item] for item in limited.item_ids]
    assert clean(raw("ab"), config()).catalogue.attributes == {}


def test_attributes_of_another_length_than_the_catalogue_are_refused() -> None:
    catalogue = clean(raw("ab"), config()).catalogue
    with pytest.raises(ValueError, match=r"differ in length: \[2, 5\]"):
        replace(catalogue, attributes={"colour": ["red", "blue"]})


def test_items_with_attributes_can_be_keys_of_a_cache() -> None:
    item, same = (Item("a", "coat", "", None, {"colour": "red"}) for _ in range(2))
    assert {item: 1}[same] == 1
    assert item != Item("a", "coat", "", None, {"colour": "blue"})


def test_rule_breaks_are_kept_and_counted_or_dropped_and_counted() -> None:
    kept = clean(raw("ad", "ab", "abd"), config())
    assert names(kept) == ["ad", "ab", "abd"]
    assert kept.counts["outfits kept with two items of one category"] == 2
    dropped = clean(raw("ad", "ab", "abd"), config(on_rule_break="drop"))
    assert names(dropped) == ["ab"]
    assert dropped.counts["outfits left out: two items of one category"] == 2
    assert dropped.counts["outfits kept with two items of one category"] == 0


def test_missing_image_is_an_error_by_default_and_masked_if_asked(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    items = [
        Item(name, name, "", path) for name, path in (("a", tmp_path / "a.jpg"), ("b", tmp_path / "b.jpg"), ("c", None))
    ]
    with pytest.raises(
        DataError, match=r"item 'b': its image .*b\.jpg does not exist; 1 such item.*on_missing_image=mask"
    ):
        clean(raw("abc", items=items), config())
    cleaned = clean(raw("abc", items=items), config(on_missing_image="mask"))
    assert cleaned.catalogue.image_paths == [tmp_path / "a.jpg", None, None]
    assert (cleaned.counts["images missing from disk"], cleaned.counts["items without image"]) == (1, 2)


def test_empty_texts_are_counted_and_stay_empty() -> None:
    items = [Item("a", "coat", "", None), Item("b", "bag", "  ", None), Item("c", "hat", "hat", None)]
    cleaned = clean(raw("abc", items=items), config())
    assert cleaned.counts["items without text"] == 2
    assert cleaned.catalogue.texts[0] == ""


def test_half_a_character_of_a_text_is_replaced() -> None:
    texts = ["red dress \ud83d", "\ud83d\udc57", "caf\u00e9 \U0001f457"]  # cut, in two halves, whole
    items = [Item(item, "coat", text, None) for item, text in zip("abc", texts, strict=True)]
    assert clean(raw("abc", items=items), config()).catalogue.texts == ["red dress \ufffd", "\U0001f457", texts[2]]


def many(split_sizes: dict[str, int]) -> RawDataset:
    items = [Item(str(n), f"category {n % 7}", "text", None) for n in range(60)]
    splits = [split for split, size in split_sizes.items() for _ in range(size)]
    pairs = np.random.default_rng(0).permutation([(a, b) for a in range(60) for b in range(a)])[: len(splits)]
    made = [
        RawOutfit(str(n), (str(a), str(b)), split, "")
        for n, ((a, b), split) in enumerate(zip(pairs, splits, strict=True))
    ]
    return RawDataset("many", items, made)


def test_limit_keeps_shares_of_the_official_splits_and_empties_none() -> None:
    cleaned = clean(many({"train": 160, "valid": 36, "test": 4}), config(limit=25))
    sizes = {split: cleaned.splits.count(split) for split in ("train", "valid", "test")}
    assert sum(sizes.values()) == 25
    assert sizes["test"] == 1
    assert abs(sizes["train"] - 20) <= 1
    assert cleaned.counts["outfits left out by data.limit"] == 175
    assert clean(many({"train": 160, "valid": 36, "test": 4}), config(limit=3)).splits == ["train", "valid", "test"]


def test_limit_keeps_only_the_items_of_the_kept_outfits() -> None:
    whole, cleaned = many({"train": 100}), clean(many({"train": 100}), config(limit=10))
    original = {outfit.outfit_id: set(outfit.item_ids) for outfit in whole.outfits}
    for outfit_id, outfit in zip(cleaned.outfit_ids, cleaned.outfits, strict=True):
        assert {cleaned.catalogue.item_ids[item] for item in outfit} == original[outfit_id]
    assert cleaned.counts["items in no outfit"] == 0
    assert cleaned.counts["items kept"] + cleaned.counts["items left out by data.limit"] == 60


def test_limit_is_seeded_by_the_split_and_without_effect_above_the_number() -> None:
    def drawn(seed: int) -> list[str]:
        return clean(many({"train": 100}), config(limit=10, split=SplitConfig(seed=seed))).outfit_ids

    assert drawn(0) == drawn(0) != drawn(1)
    assert len(clean(many({"train": 100}), config(limit=100)).catalogue) == 60


def test_every_outfit_read_is_kept_or_counted_as_left_out() -> None:
    outfits = raw("ab", "ba", "abX", "aa", "adb", "bce", "ce", "ace", "e")
    counts = clean(outfits, config(on_missing_item="drop", on_rule_break="drop", limit=2)).counts
    left = sum(
        number for name, number in counts.items() if name.startswith(("outfits left out", "outfits merged with"))
    )
    assert counts["outfits read"] == 9 == counts["outfits kept"] + left
    assert (counts["outfits kept"], counts["outfits left out by data.limit"]) == (2, 2)


def items_of(*sizes: tuple[str, int]) -> list[Item]:
    """Items ``0``, ``1``, … of categories by name and number of items."""
    categories = [category for category, size in sizes for _ in range(size)]
    return [Item(str(number), category, "text", None) for number, category in enumerate(categories)]


def notes(items: Sequence[Item], outfits: Sequence[RawOutfit] | None = None, **changes: Any) -> list[str]:
    made = [RawOutfit("o", (items[0].item_id, items[-1].item_id), None, "")] if outfits is None else list(outfits)
    return clean(RawDataset("tiny", items, made), config(**changes)).notes


@pytest.mark.parametrize(
    ("sizes", "note"),
    [
        ([("coat", 5), ("bag", 9)], "2 categories"),
        ([("coat", 5), ("bag", 4), ("hat", 1)], "3 categories; 2 of fewer than 5 items: 'hat' 1, 'bag' 4"),
        (
            [(f"kind {number:02}", 1) for number in range(13)],
            "13 categories; 13 of fewer than 5 items: "
            + ", ".join(f"'kind {number:02}' 1" for number in range(10))
            + " and 3 more",
        ),
    ],
    ids=["none rare", "two rare", "many rare"],
)
def test_the_log_counts_categories_and_lists_rare_ones(sizes: list[tuple[str, int]], note: str) -> None:
    assert notes(items_of(*sizes)) == [note]


def test_names_that_differ_by_case_alone_are_in_the_log() -> None:
    items = [
        Item("ab", "Scarf", "", None, {"colour": "Red"}),
        Item("AB", "scarf", "", None, {"colour": "red"}),
        Item("c", "SCARF", "", None, {"colour": "blue"}),
        Item("d", "hat", "", None, {"Colour": "navy"}),
        Item("e", "Hat", "", None),
    ]
    outfits = [RawOutfit("Look", ("ab", "c"), None, ""), RawOutfit("look", ("AB", "e"), None, "")]
    case = "that differ in upper and lower case alone, and count as different:"
    assert notes(items, outfits)[1:] == [
        f"categories {case} 'Scarf' / 'scarf' / 'SCARF', 'hat' / 'Hat'; 2 such group(s)",
        f"item ids {case} 'ab' / 'AB'; 1 such group(s)",
        f"outfit ids {case} 'Look' / 'look'; 1 such group(s)",
        f"attributes {case} 'colour' / 'Colour'; 1 such group(s)",
        f"values of colour {case} 'Red' / 'red'; 1 such group(s)",
    ]


@pytest.mark.parametrize(
    ("known", "mentioned"),
    [
        (["14.0", "15.0", "16.0"], ["14", "15"]),
        (["00014", "00015"], ["14", "15"]),
        (["14", "15"], ["14.00", "15.00"]),
        (["7", "8"], ["007", "0008"]),
        (["sku-a1", "sku-b2"], ["SKU-A1", "Sku-B2"]),
        (["\uff17\uff10", "\uff17\uff11"], ["70", "71"]),
    ],
    ids=["decimals", "zeros lost", "decimals added", "zeros added", "case", "full width"],
)
def test_ids_in_another_form_name_the_pair_and_the_cause(known: list[str], mentioned: list[str]) -> None:
    items = [Item(name, name, "text", None) for name in known]
    tiny = RawDataset("tiny", items, [RawOutfit("o", tuple(mentioned), None, "outfits.csv line 2")])
    with pytest.raises(DataError) as caught:
        clean(tiny, config())
    line = str(caught.value)
    assert f"item {mentioned[0]!r} is not in the catalogue; 2 such mention(s) in 1 outfit(s); 2 of them" in line
    assert (
        f"this one from {known[0]!r}, only in upper and lower case, leading zeros or decimals; write ids alike" in line
    )
    assert line.endswith("Set data.on_missing_item=drop to leave such items out.")
    with pytest.raises(DataError) as caught:  # followed, the same way out
        clean(tiny, config(on_missing_item="drop"))
    line = str(caught.value)
    assert line.startswith(
        "data error: no outfit of tiny is left: mentions of items not in the catalogue, dropped 2, outfits read 1"
    )
    assert f"from {known[0]!r}" in line
    assert "write ids alike in both files" in line


@pytest.mark.parametrize("wrong", ["sku-1O4", "sku-1044", "skv-104"])
def test_an_id_with_a_typing_error_names_the_nearest_ones(wrong: str) -> None:
    items = [Item(f"sku-{number}", f"kind {number}", "", None) for number in range(100, 110)]
    outfit = RawOutfit("o", (wrong, "sku-101"), None, "")
    with pytest.raises(DataError, match=r"the nearest ids are '.*sku-104'.*\. Set data\.on_missing_item=drop"):
        notes(items, [outfit, RawOutfit("p", ("sku-100", "sku-102"), None, "")])


def test_dropped_mentions_say_in_the_log_what_they_were() -> None:
    items = [Item(f"{number}.0", f"kind {number}", "", None) for number in range(6)]
    outfits = [RawOutfit("o", ("0.0", "1.0"), None, ""), RawOutfit("p", ("2", "3.0", "4"), None, "from here")]
    (note,) = (line for line in notes(items, outfits, on_missing_item="drop") if "not in the catalogue" in line)
    assert note.startswith("outfit p (from here): item '2' is not in the catalogue; 2 such mention(s) in 1 outfit(s)")
    assert "'2.0'" in note


@pytest.mark.parametrize(
    ("there", "shown"),
    [
        (["pictures/a.jpg"], "has no 'photos' but 'pictures/'"),
        (["photos/a.JPG", "photos/b.jpg"], "photos has no 'a.jpg' but 'a.JPG', 'b.jpg'"),
        (["photos/photos/a.jpg"], "photos has no 'a.jpg' but 'photos/'"),
        ([f"photos/{number}.jpg" for number in range(9)], "'4.jpg' and 4 more"),
        ([], "is empty"),
    ],
    ids=["other folder", "other case", "too deep", "other names", "empty"],
)
def test_a_missing_image_says_what_is_there_instead(tmp_path: Path, there: list[str], shown: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    items = [Item(name, name, "", tmp_path / "photos" / f"{name}.jpg") for name in "ax"]
    with pytest.raises(DataError, match="does not exist; . such item") as caught:
        notes(items)
    assert f"{shown}. Set data.on_missing_image=mask" in str(caught.value)
