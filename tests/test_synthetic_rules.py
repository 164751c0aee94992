"""The synthetic data set's hidden rules: outfits keep them, and they can be told from sets that break them."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from outfits.data.synthetic.naming import EMPTY_SHARE, item_name
from outfits.data.synthetic.rules import (
    MAX_ITEMS,
    MIN_ITEMS,
    Stylist,
    colours_harmonise,
    go_together,
    hue_distance,
    keeps_rules,
    match_matrix,
    repeats_category,
)
from outfits.data.synthetic.wardrobe import CATEGORIES, PATTERNS, PLAIN, STYLES, Garment, make_wardrobe
from outfits.errors import DataError


@pytest.fixture(scope="module")
def stylist_and_outfits() -> tuple[list[Garment], Stylist, list[list[int]]]:
    wardrobe = make_wardrobe(1000, np.random.default_rng([3, 0]))
    stylist = Stylist(wardrobe, np.random.default_rng([3, 1]))
    return wardrobe, stylist, stylist.outfits(500)


def test_every_outfit_keeps_the_rules(stylist_and_outfits: tuple[list[Garment], Stylist, list[list[int]]]) -> None:
    wardrobe, _, outfits = stylist_and_outfits
    for outfit in outfits:
        garments = [wardrobe[place] for place in outfit]
        assert keeps_rules(garments)
        # The rules once more, straight from their wording.
        assert MIN_ITEMS <= len(set(outfit)) == len(outfit) <= MAX_ITEMS
        slots = Counter(garment.kind.slot for garment in garments)
        assert slots["footwear"] == 1
        assert slots["outer"] <= 1
        assert (slots["dress"], slots["upper"], slots["lower"]) in {(1, 0, 0), (0, 1, 1)}
        assert sum(garment.pattern != PLAIN for garment in garments) <= 1
        assert max(g.formality for g in garments) - min(g.formality for g in garments) <= 1
        assert max(g.warmth for g in garments) - min(g.warmth for g in garments) <= 1
        assert not {"sporty", "boho"} <= {garment.style for garment in garments}
        hues = [garment.colour.hue for garment in garments if garment.colour.hue is not None]
        assert all(not 45 < hue_distance(first, second) < 150 for first, second in combinations(hues, 2))


def test_about_one_outfit_in_twenty_has_two_accessories_of_one_category(
    stylist_and_outfits: tuple[list[Garment], Stylist, list[list[int]]],
) -> None:
    wardrobe, _, outfits = stylist_and_outfits
    repeating = [garments for o in outfits if repeats_category(garments := [wardrobe[place] for place in o])]
    assert 0.02 <= len(repeating) / len(outfits) <= 0.08
    for garments in repeating:
        ((category, number),) = [pair for pair in Counter(g.category for g in garments).items() if pair[1] > 1]
        assert number == 2
        assert CATEGORIES[category].slot == "accessory"


def test_outfits_are_distinct_and_wear_most_of_the_wardrobe(
    stylist_and_outfits: tuple[list[Garment], Stylist, list[list[int]]],
) -> None:
    wardrobe, _, outfits = stylist_and_outfits
    assert len({frozenset(outfit) for outfit in outfits}) == len(outfits) == 500
    assert len({place for outfit in outfits for place in outfit}) > 0.9 * len(wardrobe)


def test_the_match_matrix_is_the_pairwise_rule() -> None:
    wardrobe = make_wardrobe(120, np.random.default_rng(7))
    expected = [[go_together(first, second) for second in wardrobe] for first in wardrobe]
    np.testing.assert_array_equal(match_matrix(wardrobe), expected)
    assert 0.05 < np.mean(expected) < 0.5


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [(10, 40, True), (350, 20, True), (0, 90, False), (0, 180, True), (356, 178, True), (None, 90, True)],
)
def test_hues_harmonise_as_neighbours_or_complements(first: float | None, second: float, fits: bool) -> None:
    assert colours_harmonise(first, second) is fits
    assert colours_harmonise(second, first) is fits


@pytest.mark.parametrize("seed", range(8))
def test_the_smallest_wardrobe_dresses_the_smallest_data_set(seed: int) -> None:
    wardrobe = make_wardrobe(60, np.random.default_rng([seed, 0]))
    assert {garment.category for garment in wardrobe} == set(range(len(CATEGORIES)))
    assert {garment.style for garment in wardrobe} == set(STYLES)
    assert len(Stylist(wardrobe, np.random.default_rng([seed, 1])).outfits(60)) == 60


def test_too_small_a_wardrobe_is_said_to_be_so() -> None:
    wardrobe = make_wardrobe(60, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"of 3,000 distinct outfits .* set data\.synthetic\.items higher"):
        Stylist(wardrobe[::4] + wardrobe[1::4], np.random.default_rng(0)).outfits(3000)


def test_names_tell_the_truth_and_a_few_are_empty() -> None:
    rng = np.random.default_rng(0)
    wardrobe = make_wardrobe(400, rng)
    names = [(garment, item_name(garment, rng)) for garment in wardrobe * 5]
    assert abs(np.mean([not name for _, name in names]) - EMPTY_SHARE) < 0.015
    marks = {"stripes": ("striped", "stripe"), "dots": ("polka dot", "dotted"), "checks": ("checked", "plaid")}
    for garment, name in names:
        for pattern in PATTERNS[1:]:
            assert pattern == garment.pattern or not any(mark in name for mark in marks[pattern])
    assert np.mean([garment.colour.name in name for garment, name in names]) > 0.6
    assert len({name for _, name in names}) > 1000


def test_a_linear_model_of_the_attributes_tells_outfits_from_same_category_replacements(
    stylist_and_outfits: tuple[list[Garment], Stylist, list[list[int]]],
) -> None:
    wardrobe, stylist, outfits = stylist_and_outfits
    rng = np.random.default_rng(1)
    rows, labels, oracle = [], [], []
    for outfit in outfits:
        replaced = list(outfit)
        place = int(rng.integers(len(outfit)))
        near_duplicates = np.flatnonzero(stylist.categories == wardrobe[outfit[place]].category)
        replaced[place] = int(rng.choice(near_duplicates[near_duplicates != outfit[place]]))
        for label, worn in ((1, outfit), (0, replaced)):
            garments = [wardrobe[item] for item in worn]
            rows.append(_spread(garments))
            labels.append(label)
            oracle.append(float(keeps_rules(garments)))
    train = np.arange(len(rows)) < len(rows) // 2
    features, targets = np.array(rows), np.array(labels)
    model = LogisticRegression(max_iter=1000).fit(features[train], targets[train])
    learned = roc_auc_score(targets[~train], model.decision_function(features[~train]))
    # Above 0.8 there is something to learn; below 1 there is no trivial give-away, as a stranger may fit by chance.
    assert 0.8 < learned < 0.99
    assert 0.8 < roc_auc_score(targets, oracle) < 0.99


def _spread(garments: list[Garment]) -> list[float]:
    """How much the garments differ, attribute by attribute: means over pairs."""
    pairs = list(combinations(garments, 2))
    hues = [(a.colour.hue, b.colour.hue) for a, b in pairs]
    apart = [0.0 if a is None or b is None else hue_distance(a, b) for a, b in hues]
    return [
        float(np.mean([a.style != b.style for a, b in pairs])),
        float(np.max([abs(a.formality - b.formality) for a, b in pairs])),
        float(np.max([abs(a.warmth - b.warmth) for a, b in pairs])),
        float(np.mean([45 < value < 150 for value in apart])),
        float(sum(garment.pattern != PLAIN for garment in garments)),
    ]
