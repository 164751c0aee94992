"""The laws of the splits, on random outfits with near_duplicates."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outfits.config.schema.data import SplitConfig
from outfits.data.outfits import Outfits
from outfits.data.splits import assign_splits, judge_holdout, near_duplicate_share, pairs_seen
from outfits.errors import DataError

Sets = list[frozenset[int]]


def wardrobe(seed: int = 0, outfits: int = 200, items: int = 400) -> Sets:
    """Distinct outfits of 3 to 6 items in neighbourhoods of the catalogue, a third of them variations of another."""
    rng = np.random.default_rng(seed)
    made: dict[frozenset[int], None] = {}
    while len(made) < outfits:
        if made and rng.random() < 0.33:
            base = list(list(made)[rng.integers(len(made))])
            base[rng.integers(len(base))] = int(rng.integers(items))
            made[frozenset(base)] = None
        else:
            start = int(rng.integers(items))
            made[frozenset((start + int(step)) % items for step in rng.choice(20, rng.integers(3, 7), False))] = None
    return list(made)


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / len(a | b)


def split(
    sets: Sets, mode: str, seed: int = 0, shares: tuple[float, ...] = (0.8, 0.1, 0.1), overlap: float = 0.5
) -> np.ndarray:
    config = SplitConfig(mode=mode, seed=seed, shares=list(shares), overlap=overlap)
    return assign_splits(sets, [None] * len(sets), config)[0]


@pytest.mark.parametrize("mode", ["random", "grouped", "disjoint"])
def test_split_is_seeded_and_recorded(mode: str) -> None:
    sets = wardrobe()
    codes, facts = assign_splits(sets, [None] * len(sets), SplitConfig(mode=mode, seed=3))
    assert np.array_equal(codes, split(sets, mode, seed=3))
    assert not np.array_equal(codes, split(sets, mode, seed=4))
    assert (facts["mode"], facts["seed"], facts["shares"]) == (mode, 3, [0.8, 0.1, 0.1])
    assert facts["outfits"] == {
        name: int((codes == code).sum()) for code, name in enumerate(("train", "valid", "test"))
    }
    assert facts["left_out"] == int((codes < 0).sum())


@pytest.mark.parametrize("mode", ["random", "grouped"])
def test_shares_are_met_and_no_outfit_is_left_out(mode: str) -> None:
    codes = split(wardrobe(), mode, shares=(0.6, 0.1, 0.3))
    assert np.abs(np.bincount(codes, minlength=3) - [120, 20, 60]).max() <= 2


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_grouped_parts_no_pair_above_the_overlap(seed: int) -> None:
    sets = wardrobe(seed, outfits=80, items=150)
    codes = split(sets, "grouped", seed)
    assert all(jaccard(sets[a], sets[b]) < 0.5 for a, b in combinations(range(80), 2) if codes[a] != codes[b])


def test_grouped_overlap_is_inclusive_and_reaches_through_chains() -> None:
    chain = [frozenset(range(start, start + 3)) for start in range(4)]  # neighbours overlap by 2 of 4: exactly 0.5
    singles = [frozenset({100 + 3 * n, 101 + 3 * n, 102 + 3 * n}) for n in range(36)]
    for seed in range(5):
        assert len(set(split(chain + singles, "grouped", seed)[:4])) == 1
    above = [split(chain + singles, "grouped", seed, overlap=0.51)[:4] for seed in range(20)]
    assert any(len(set(codes)) > 1 for codes in above)


@pytest.mark.parametrize("mode", ["random", "grouped", "disjoint"])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_identical_sets_never_part(mode: str, seed: int) -> None:
    sets = wardrobe(seed, outfits=40, items=600)
    codes = split(sets + sets, mode, seed, shares=(0.5, 0.25, 0.25))
    assert np.array_equal(codes[:40], codes[40:])


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_disjoint_puts_no_item_in_two_splits(seed: int) -> None:
    sets = wardrobe(seed)
    codes = split(sets, "disjoint", seed)
    items = [
        frozenset().union(*(s for s, code in zip(sets, codes, strict=True) if code == split)) for split in range(3)
    ]
    assert all(items)
    assert not any(a & b for a, b in combinations(items, 2))


def test_disjoint_leaves_out_only_outfits_that_straddle() -> None:
    sets = wardrobe()
    codes = split(sets, "disjoint")
    items = [
        frozenset().union(*(s for s, code in zip(sets, codes, strict=True) if code == split)) for split in range(3)
    ]
    for left_out in (s for s, code in zip(sets, codes, strict=True) if code < 0):
        assert sum(bool(left_out & of_split) for of_split in items) >= 2 or not left_out <= frozenset().union(*items)
    assert (codes >= 0).mean() > 0.4


def test_disjoint_of_outfits_without_common_items_leaves_none_out() -> None:
    codes = split([frozenset({2 * n, 2 * n + 1}) for n in range(50)], "disjoint")
    assert np.bincount(codes).tolist() == [40, 5, 5]


def test_disjoint_cuts_every_giant_component_so_that_no_split_is_of_one_world() -> None:
    sets = wardrobe(0, 150) + [frozenset(item + 1000 for item in s) for s in wardrobe(1, 150)]
    codes = split(sets, "disjoint")
    assert set(codes[:150]) >= {0, 1, 2}
    assert set(codes[150:]) >= {0, 1, 2}


def test_random_split_parts_twins_and_grouped_does_not() -> None:
    sets = wardrobe(outfits=400)
    random, grouped = (
        Outfits.from_lists([str(n) for n in range(400)], [sorted(s) for s in sets], split(sets, mode))
        for mode in ("random", "grouped")
    )
    assert near_duplicate_share(random) > 0.1
    assert near_duplicate_share(grouped) == 0
    assert pairs_seen(random) > pairs_seen(grouped)


def test_shares_of_seen_pairs_and_twins_agree_with_plain_loops() -> None:
    sets = wardrobe(7)
    codes = split(sets, "random", shares=(0.5, 0.2, 0.3))
    outfits = Outfits.from_lists([str(n) for n in range(len(sets))], [sorted(s) for s in sets], codes)
    train = [s for s, code in zip(sets, codes, strict=True) if code == 0]
    test = [s for s, code in zip(sets, codes, strict=True) if code == 2]
    seen = {frozenset(pair) for s in train for pair in combinations(s, 2)}
    pairs = [frozenset(pair) for s in test for pair in combinations(s, 2)]
    assert pairs_seen(outfits) == pytest.approx(np.mean([pair in seen for pair in pairs]))
    assert near_duplicate_share(outfits) == pytest.approx(
        np.mean([any(jaccard(a, b) >= 0.5 for b in train) for a in test])
    )
    assert pairs_seen(outfits, of="train", in_="train") == 1


def test_official_split_is_respected() -> None:
    official = ["test", "train", "valid", "train"]
    codes, facts = assign_splits(wardrobe(outfits=4), official, SplitConfig(mode="official"))
    assert codes.tolist() == [2, 0, 1, 0]
    assert "seed" not in facts


@pytest.mark.parametrize(
    ("official", "message"),
    [
        (["train", "train", "test"], r"the valid split is empty .*train 2, valid 0, test 1.*data\.split\.mode=grouped"),
        (["valid", "valid", "valid"], r"the train split is empty"),
        (["train", "valid", "valid"], r"the test split is empty"),
        ([None, "train", None], r"2 of 3 outfits have no official split; set data\.split\.mode=grouped"),
    ],
)
def test_missing_official_split_is_named(official: list[str | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign_splits(wardrobe(outfits=3), official, SplitConfig(mode="official"))


def test_empty_split_is_an_error_only_if_it_was_asked_for() -> None:
    near_duplicates = [frozenset({1, 2, 3, n}) for n in range(10, 14)]
    with pytest.raises(DataError, match=r"the valid split is empty .*data\.split\.shares.*data\.split\.mode=random"):
        split(near_duplicates, "grouped")
    assert set(split(near_duplicates, "grouped", shares=(1.0, 0.0, 0.0))) == {0}
    with pytest.raises(DataError, match=r"share too many items, set data\.split\.mode=grouped"):
        split(near_duplicates, "disjoint")


def test_giant_group_goes_to_the_largest_split_and_the_others_make_up_for_it() -> None:
    giant = [frozenset({1, 2, 3, 4, n}) for n in range(10, 60)]
    singles = [frozenset({100 + 2 * n, 101 + 2 * n}) for n in range(50)]
    for seed in range(20):
        codes = split(giant + singles, "grouped", seed)
        assert set(codes[:50]) == {0}
        assert np.bincount(codes).tolist() == [80, 10, 10]


def test_group_goes_to_a_split_with_room_for_it_while_there_is_one() -> None:
    fours = [
        frozenset({10 * group, 10 * group + 1, 10 * group + 2, 1000 + 10 * group + n})
        for group in range(25)
        for n in range(4)
    ]
    for seed in range(10):
        assert np.bincount(split(fours, "grouped", seed))[0] == 80


def test_fold_has_its_share_and_parts_no_twins_unless_random() -> None:
    sets = wardrobe(outfits=300)
    chosen = judge_holdout(sets, 0.3, "grouped", 0.5, seed=0)
    assert chosen.sum() == pytest.approx(90, abs=2)
    assert all(jaccard(sets[a], sets[b]) < 0.5 for a in np.flatnonzero(chosen) for b in np.flatnonzero(~chosen))
    random = judge_holdout(sets, 0.3, "random", 0.5, seed=0)
    assert random.sum() == 90
    assert any(jaccard(sets[a], sets[b]) >= 0.5 for a in np.flatnonzero(random) for b in np.flatnonzero(~random))
    assert np.array_equal(random, judge_holdout(sets, 0.3, "random", 0.5, seed=0))
    assert not np.array_equal(random, judge_holdout(sets, 0.3, "random", 0.5, seed=1))
    assert not judge_holdout(sets, 0.0, "random", 0.5, seed=0).any()


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        split(wardrobe(outfits=10), "random", shares=(0.8, 0.3, 0.1))
