"""S as a probability, by size, and against near-copies."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logit

from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.near_copies import nearest_of_category
from outfits.data.outfits import Outfits
from outfits.metrics.calibration import fit_calibration, measure_calibration, near_copies, reliability
from outfits.metrics.compatibility import SetScorer
from tests.tiny_world import World

CATEGORIES, PER_CATEGORY, WIDTH = 4, 12, 6


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return a_catalogue()


def a_catalogue(per_category: int = PER_CATEGORY) -> Catalogue:
    rng = np.random.default_rng(0)
    count = CATEGORIES * per_category
    vectors = rng.normal(size=(count, WIDTH)).astype(np.float32)
    embeddings = ItemEmbeddings(vectors, np.ones((count, 2), dtype=np.bool_), WIDTH - 2, 2, "key")
    ids, names = [f"item-{number}" for number in range(count)], [f"category-{number}" for number in range(CATEGORIES)]
    categories = (np.arange(count) % CATEGORIES).astype(np.int32)
    return Catalogue(ids, categories, names, [""] * count, [None] * count, embeddings)


def some_outfits(count: int = 60, per_category: int = PER_CATEGORY) -> Outfits:
    """Outfits of two to four items, each of another category: item ``4 m + c`` is of category ``c``."""
    rng = np.random.default_rng(1)
    lists = [
        [int(CATEGORIES * rng.integers(per_category) + place) for place in range(2 + number % 3)]
        for number in range(count)
    ]
    return Outfits.from_lists([str(number) for number in range(count)], lists, np.full(count, 2, dtype=np.int8))


class Constant:
    """A scorer of one logit, plus something per item."""

    def __init__(self, score: float, per_item: float = 0.0) -> None:
        self.logit, self.per_item = float(logit(score)), per_item

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> torch.Tensor:
        return torch.tensor([self.logit + self.per_item * len(items) for items in sets])


class Knowing:
    """A scorer that knows the real outfits."""

    def __init__(self, outfits: Outfits) -> None:
        self.real = {frozenset(items.tolist()) for items in outfits}

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> torch.Tensor:
        return torch.tensor([20.0 if frozenset(items.tolist()) in self.real else -20.0 for items in sets])


def test_reliability_by_hand() -> None:
    scores = np.array([0.05, 0.15, 0.12, 0.95, 1.0, 0.0])
    real = np.array([False, True, False, True, True, True])
    bins, error = reliability(scores, real)
    assert [(part.sets, part.real) for part in bins] == [(2, 0.5), (2, 0.5), (2, 1.0)]
    assert [part.score for part in bins] == pytest.approx([0.025, 0.135, 0.975])
    assert error == pytest.approx((2 * 0.475 + 2 * 0.365 + 2 * 0.025) / 6)


def test_half_of_the_sets_are_real_so_a_constant_half_is_calibrated(catalogue: Catalogue) -> None:
    outfits = some_outfits()
    for score in (0.5, 0.8, 0.1):
        found = measure_calibration(Constant(score), catalogue, outfits, 0)
        assert found is not None
        assert found.error == pytest.approx(abs(score - 0.5), abs=1e-6)
        assert sum(part.sets for part in found.bins) == 120
        assert {size: row.outfits for size, row in found.sizes.items()} == {2: 20, 3: 20, 4: 20}


def test_a_scorer_that_knows_is_calibrated_and_no_copy_fools_it(catalogue: Catalogue) -> None:
    outfits = some_outfits()
    found = measure_calibration(Knowing(outfits), catalogue, outfits, 0)
    assert found is not None
    assert found.error < 0.05  # by chance a replaced item may give another of the outfits
    assert found.copies_raised == 0
    assert found.sizes[3].real > 0.99
    assert found.sizes[3].random is not None
    assert found.sizes[3].random < 0.1
    assert json.loads(json.dumps(found.to_json()))["sizes"]["3"]["outfits"] == 20


@pytest.mark.parametrize(("per_item", "raised"), [(0.5, 1.0), (-0.5, 0.0)])
def test_copies_raise_s_where_more_items_do(catalogue: Catalogue, per_item: float, raised: float) -> None:
    found = measure_calibration(Constant(0.5, per_item), catalogue, some_outfits(), 0)
    assert found is not None
    assert found.copies_raised == raised
    assert found.copies_change is not None
    assert np.sign(found.copies_change) == np.sign(per_item)


def test_a_near_copy_is_the_nearest_other_item_of_a_category_of_the_outfit(catalogue: Catalogue) -> None:
    outfits = some_outfits()
    given, copied = near_copies(catalogue, outfits, 0)
    vectors = catalogue.require_embeddings.vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert len(given) == len(outfits)
    for items, more in zip(given, copied, strict=True):
        added = int(more[-1])
        assert more[:-1].tolist() == items.tolist()
        assert added not in items
        (twin,) = [item for item in items.tolist() if item % CATEGORIES == added % CATEGORIES]
        rivals = [one for one in range(added % CATEGORIES, len(unit), CATEGORIES) if one not in items]
        assert added == max(rivals, key=lambda one: float(unit[one] @ unit[twin]))


def test_without_a_possible_replacement_there_is_nothing_to_measure(catalogue: Catalogue) -> None:
    none = some_outfits().take(np.zeros(0, dtype=np.int64))
    assert measure_calibration(Constant(0.5), catalogue, none, 0) is None


class Rescaled:
    """Another scorer's logits, scaled and shifted."""

    def __init__(self, scorer: SetScorer, scale: float, offset: float) -> None:
        self.scorer, self.scale, self.offset = scorer, scale, offset

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> torch.Tensor:
        return self.scale * self.scorer.ragged_logits(sets) + self.offset


class Guessing:
    """A scorer that is right more often than not; its logit is the true log-odds."""

    def __init__(self, outfits: Outfits) -> None:
        self.real = {frozenset(items.tolist()) for items in outfits}

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> torch.Tensor:
        # Normal with mean +-m and variance 2 m: its log-odds are itself.
        mean, logits = 1.0, []
        for items in sets:
            rng = np.random.default_rng(items.tolist())
            sign = 1 if frozenset(items.tolist()) in self.real else -1
            logits.append(sign * mean + np.sqrt(2 * mean) * rng.normal())
        return torch.tensor(logits)


@pytest.mark.parametrize(("scale", "offset"), [(3.0, -2.0), (0.25, 1.0)])
def test_the_fit_undoes_what_was_done_to_a_calibrated_logit(scale: float, offset: float) -> None:
    catalogue, outfits = a_catalogue(900), some_outfits(1200, 900)
    told = Guessing(outfits)
    fitted = fit_calibration(Rescaled(told, scale, offset), catalogue, outfits, 0)
    assert fitted is not None
    assert fitted[0] * scale == pytest.approx(1, abs=0.1)
    assert fitted[0] * offset + fitted[1] == pytest.approx(0, abs=0.1)
    wrong = measure_calibration(Rescaled(told, scale, offset), catalogue, outfits, 1)
    mended = measure_calibration(
        Rescaled(told, fitted[0] * scale, fitted[0] * offset + fitted[1]), catalogue, outfits, 1
    )
    assert wrong is not None
    assert mended is not None
    assert mended.error < 0.04 < wrong.error


def test_a_scorer_that_is_wrong_is_not_turned_round(catalogue: Catalogue) -> None:
    outfits = some_outfits()
    assert fit_calibration(Rescaled(Guessing(outfits), -1.0, 0.0), catalogue, outfits, 0) is None
    assert fit_calibration(Constant(0.5), catalogue, outfits.take(np.zeros(0, dtype=np.int64)), 0) is None


def test_rescaling_changes_logits_and_no_order() -> None:
    world = World()
    sets = [[0, 7, 14], [1, 2], [9, 4, 11]]
    before = np.array([world.logit(items) for items in sets])
    world.module.rescale(0.5, -1.5)
    assert [world.logit(items) for items in sets] == pytest.approx(0.5 * before - 1.5, abs=1e-5)


def test_the_nearest_of_a_category_leave_the_item_itself_out(catalogue: Catalogue) -> None:
    vectors = catalogue.require_embeddings.vectors.copy()
    vectors[4], vectors[8] = vectors[0], vectors[0] * 2  # three items of category 0 with one direction
    twins = catalogue.with_embeddings(replace(catalogue.require_embeddings, vectors=vectors))
    found = nearest_of_category(twins, np.array([0, 4, 8, 3]), PER_CATEGORY)
    assert [set(row[:2].tolist()) for row in found[:3]] == [{4, 8}, {0, 8}, {0, 4}]
    assert (found[:, -1] == -1).all()
    for item, row in zip((0, 4, 8, 3), found, strict=True):
        assert sorted([item, *row[:-1].tolist()]) == list(range(item % CATEGORIES, len(vectors), CATEGORIES))
