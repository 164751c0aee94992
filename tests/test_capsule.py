"""Capsule wardrobes, against enumeration."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from outfits import Garment, Stylist
from outfits.errors import ConfigError
from outfits.stylist.capsule import CapsuleGoal, capsule_of, grow_capsule, outfits_within
from outfits.stylist.results import ItemRef
from tests.tiny_run import make_run
from tests.tiny_world import CATEGORIES, ITEMS, World

ALL = np.ones(ITEMS, dtype=np.bool_)
START = np.array([0, 7])


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def choose_capsule(*arguments: Any) -> list[int]:
    """The last step of a capsule's growth."""
    *_, wardrobe = grow_capsule(*arguments)
    return wardrobe


def worth(world: World, wardrobe: list[int], goal: CapsuleGoal) -> tuple[float, float]:
    """What a set of items is worth, and the sum of S over all its outfits."""
    value, total = 0.0, 0.0
    for size in goal.sizes:
        for items in combinations(wardrobe, size):
            if len({item % CATEGORIES for item in items}) == size:
                score = float(expit(world.logit(items)))
                total += score
                value += (score if goal.summed else 1.0) if score >= goal.threshold else 0.0
    return value, total


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("sizes", [(2,), (3,), (2, 3), (3, 4)])
def test_each_item_is_that_of_the_largest_gain_by_enumeration(
    world: World, sizes: tuple[int, ...], summed: bool
) -> None:
    goal = CapsuleGoal(sizes, 0.6, summed)
    wardrobe = choose_capsule(world.scorer, START, 6, goal, ALL)
    assert wardrobe[:2] == START.tolist()
    for place in range(2, 6):
        before = wardrobe[:place]
        rivals = {item: worth(world, [*before, item], goal) for item in range(ITEMS) if item not in before}
        best = max(rivals.values())
        chosen = rivals[wardrobe[place]]
        assert chosen[0] == pytest.approx(best[0], abs=1e-4)
        if chosen[0] == best[0]:
            assert chosen[1] == pytest.approx(best[1], abs=1e-4)


def test_from_one_item_it_begins_with_what_goes_with_it(world: World) -> None:
    wardrobe = choose_capsule(world.scorer, np.array([18]), 2, CapsuleGoal((3, 4)), ALL)
    pairs = {item: float(expit(world.logit([18, item]))) for item in range(ITEMS) if (item - 18) % CATEGORIES}
    assert wardrobe[1] == max(pairs, key=lambda item: pairs[item])


def test_its_outfits_are_all_the_good_ones_and_keep_the_rule(world: World) -> None:
    goal = CapsuleGoal((2, 3), 0.55)
    wardrobe = [0, 6, 7, 14, 21, 20]
    found = outfits_within(world.scorer, wardrobe, goal)
    expected = {
        items: float(expit(world.logit(items)))
        for size in goal.sizes
        for items in combinations(wardrobe, size)
        if len({item % CATEGORIES for item in items}) == size
    }
    good = {items: score for items, score in expected.items() if score >= 0.55}
    assert {items for items, _ in found} == set(good)
    assert [score for _, score in found] == pytest.approx(sorted(good.values(), reverse=True), abs=1e-5)
    assert outfits_within(world.scorer, [0], goal) == []


def test_the_worth_is_supermodular_so_no_gain_shrinks(world: World) -> None:
    """The reason why gains of an earlier step are no upper bounds."""
    goal = CapsuleGoal((2, 3), 0.5)
    small, large = [0, 7], [0, 7, 14]
    grown = 0
    for item in range(ITEMS):
        if item not in large:
            early = worth(world, [*small, item], goal)[0] - worth(world, small, goal)[0]
            late = worth(world, [*large, item], goal)[0] - worth(world, large, goal)[0]
            assert late >= early
            grown += late > early
    assert grown > 0


def test_only_allowed_items_are_chosen_even_if_they_are_few(world: World) -> None:
    allowed = np.arange(ITEMS) % CATEGORIES == 3
    wardrobe = choose_capsule(world.scorer, START, 30, CapsuleGoal((2,), 0.0), allowed)
    assert set(wardrobe[2:]) == set(np.flatnonzero(allowed).tolist())
    assert len(wardrobe) == 2 + allowed.sum()


def test_a_budget_is_never_exceeded(world: World) -> None:
    prices = np.linspace(1, 20, ITEMS)
    prices[::5] = np.nan
    for budget in (0.0, 7.5, 40.0):
        *_, wardrobe = grow_capsule(world.scorer, START, 8, CapsuleGoal((2, 3), 0.5), ALL, prices=prices, budget=budget)
        chosen = wardrobe[2:]
        assert prices[chosen].sum() <= budget
        assert not np.isnan(prices[chosen]).any()
        cheapest = np.nanmin(np.delete(prices, [*START, *chosen]))
        assert len(chosen) == 6 or prices[chosen].sum() + cheapest > budget


def test_a_capsule_says_what_is_in_it(world: World) -> None:
    goal = CapsuleGoal((2,), 0.0)
    found = capsule_of(world.scorer, [0, 7, 6], 1, goal, lambda item: ItemRef(str(item), "", "", None))
    assert [item.id for item in found.items] == ["0", "7", "6"]
    assert found.chosen == 2
    assert {tuple(item.id for item in outfit.items) for outfit in found.outfits} == {("0", "7"), ("7", "6")}
    assert found.summed == pytest.approx(sum(outfit.score for outfit in found.outfits))


def test_a_stylist_takes_garments_and_names_errors(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("capsule")
    make_run(root)
    stylist = Stylist.load(root / "run")
    first = stylist.item_ids[0]
    other = next(name for name in stylist.categories if name != stylist.item(first).category)
    garment = Garment(other, "red wool")
    found = stylist.capsule([first, garment], 5, outfit_sizes=[2, 3], threshold=0.0)
    assert [item.name for item in found.items[:2]] == [first, f"own {other}"]
    assert len(found.items) == 5
    best = found.outfits[0]
    ids = [item.id if item.id is not None else garment for item in best.items]
    assert best.score == pytest.approx(stylist.score(ids), abs=1e-5)
    for wrong, said in (
        ({"size": 1}, "size: 1 is less than the 2 items"),
        ({"size": 4, "outfit_sizes": [1]}, "at least two items"),
        ({"size": 4, "budget": 3.0}, "needs the prices"),
    ):
        with pytest.raises(ConfigError, match=said):
            stylist.capsule([first, garment], **wrong)  # type: ignore[arg-type]
