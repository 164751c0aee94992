"""The linear probe: what pairs of embeddings tell, and nothing else."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.metrics.evaluate_scorer import measure_compatibility, measure_probe
from outfits.metrics.probe import fit_probe, pair_features

CATEGORIES, PER_CATEGORY, STYLES, WIDTH = 5, 60, 6, 12


def a_dataset(seed: int, *, informative: bool = True, outfits: int = 240) -> OutfitDataset:
    """Outfits of one style; the style stands in the embeddings, or these are noise."""
    rng = np.random.default_rng(seed)
    categories = np.repeat(np.arange(CATEGORIES), PER_CATEGORY).astype(np.int32)
    styles = np.tile(np.arange(STYLES), CATEGORIES * PER_CATEGORY // STYLES)
    centres = rng.normal(size=(STYLES, WIDTH))
    vectors = rng.normal(size=(len(categories), WIDTH)) + (3 * centres[styles] if informative else 0)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    embeddings = ItemEmbeddings(vectors, np.ones((len(vectors), 2), dtype=np.bool_), WIDTH - 2, 2, "key")
    ids = [f"item-{number}" for number in range(len(categories))]
    names = [f"category-{number}" for number in range(CATEGORIES)]
    catalogue = Catalogue(ids, categories, names, [""] * len(ids), [None] * len(ids), embeddings)
    lists = []
    for number in range(outfits):
        chosen = rng.choice(CATEGORIES, 2 + number % 3, replace=False)
        lists.append(
            [int(rng.choice(np.flatnonzero((categories == one) & (styles == number % STYLES)))) for one in chosen]
        )
    split = np.array([(0, 0, 0, 1, 2)[number % 5] for number in range(outfits)], dtype=np.int8)
    made = Outfits.from_lists([str(number) for number in range(outfits)], lists, split)
    return OutfitDataset("drawn", catalogue, made, {}, {}, {}, {}, [])


def metrics_of(dataset: OutfitDataset, seed: int = 0) -> dict[str, float | None]:
    return measure_probe(dataset, dataset.outfits.of("train"), "test", distractors=3, draws=3, seed=seed)


def test_features_are_means_over_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    sets: list[NDArray[np.int64]] = [np.array(one) for one in ([0, 3], [1, 2, 8], [4, 5, 6, 7], [2, 1])]
    for items, row in zip(sets, pair_features(vectors, sets), strict=True):
        pairs = [(vectors[a], vectors[b]) for a, b in combinations(items.tolist(), 2)]
        expected = [
            np.mean([np.abs(a - b) for a, b in pairs], axis=0),
            np.mean([a * b for a, b in pairs], axis=0),
        ]
        assert row == pytest.approx(np.concatenate(expected), abs=1e-6)
        assert pair_features(vectors, [items[::-1]])[0] == pytest.approx(row, abs=1e-6)
    assert not pair_features(vectors, [np.array([3])]).any()  # an item alone has no pair


def test_many_items_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    sets = [np.random.default_rng(number).permutation(30)[:9] for number in range(7)]
    whole = pair_features(vectors, sets)
    monkeypatch.setattr("outfits.metrics.probe.PAIRS", 80)
    assert pair_features(vectors, sets) == pytest.approx(whole, abs=1e-6)


def test_it_finds_what_pairs_tell_and_chance_in_noise() -> None:
    told, noise = metrics_of(a_dataset(0)), metrics_of(a_dataset(0, informative=False))
    assert told["probe_auc_same_category"] > 0.9  # type: ignore[operator]
    assert told["probe_fitb_same_category"] > 0.75  # type: ignore[operator]
    assert abs(noise["probe_auc_same_category"] - 0.5) < 0.15  # type: ignore[operator]
    assert set(told) == {
        f"probe_{measure}_{kind}" for measure in ("auc", "fitb") for kind in ("random", "same_category")
    }


def test_the_test_split_is_not_looked_at() -> None:
    dataset = a_dataset(1)
    train, valid = dataset.outfits.of("train"), dataset.outfits.of("valid")
    first = fit_probe(dataset.catalogue, train, valid, seed=3)
    again = fit_probe(dataset.catalogue, train, valid, seed=3)
    other = fit_probe(dataset.catalogue, train, valid, seed=4)
    assert first is not None
    assert again is not None
    assert other is not None
    sets = list(dataset.outfits.of("test"))
    assert first.ragged_logits(sets).tolist() == again.ragged_logits(sets).tolist()
    assert first.ragged_logits(sets).tolist() != other.ragged_logits(sets).tolist()


def test_it_is_measured_on_the_questions_of_s() -> None:
    """Handed to S's own measurement it gives the same figures."""
    dataset = a_dataset(2)
    train = dataset.outfits.of("train")
    probe = fit_probe(dataset.catalogue, train, dataset.outfits.of("valid"), seed=5)
    assert probe is not None
    expected = measure_compatibility(probe, dataset, train, "test", distractors=3, draws=3, seed=5)
    found = metrics_of(dataset, seed=5)
    assert {name.removeprefix("probe_"): value for name, value in found.items()}.items() <= expected.items()


def test_few_outfits_are_no_error() -> None:
    dataset = a_dataset(3)
    none, train = dataset.outfits.take(np.zeros(0, dtype=np.int64)), dataset.outfits.of("train")
    assert fit_probe(dataset.catalogue, none, none, 0) is None
    assert fit_probe(dataset.catalogue, train.take(np.arange(3)), none, 0) is not None
    assert measure_probe(dataset, none, "test", distractors=3, draws=1, seed=0) == {}
