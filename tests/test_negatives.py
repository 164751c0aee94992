"""Negatives of the compatibility model."""

import numpy as np
import pytest
import torch

from datamodules.compatibility import NEAR_COPIES, CollateCompatibility, CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from outfits.config.schema.scorer import NegativesConfig, ScorerConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.negatives import NegativeSampler
from outfits.data.outfits import Outfits
from tests.test_generator_model import CATEGORIES, ITEMS, a_catalogue

CATEGORY = (np.arange(ITEMS) % CATEGORIES).astype(np.int32)
OUTFIT = np.array([0, 7, 14, 21], dtype=np.int32)


def sampled(seeds: int = 200, epoch: int = 0, **config: object) -> list:
    sampler = NegativeSampler(CATEGORY, NegativesConfig(**config), epochs=10)  # type: ignore[arg-type]
    return [sampler.sample(OUTFIT, epoch, np.random.default_rng(seed)) for seed in range(seeds)]


def test_one_replaced_item_of_the_same_category_keeps_all_categories() -> None:
    for sample in sampled(replace_all=0.0, same_category=1.0):
        for negative in sample.sets[1:]:
            assert (negative != OUTFIT).sum() == 1
            assert np.array_equal(CATEGORY[negative], CATEGORY[OUTFIT])
            assert not np.isin(negative[negative != OUTFIT], OUTFIT).any()


def test_all_replaced_leaves_no_item() -> None:
    for sample in sampled(replace_all=1.0):
        assert (sample.sets[1:] != OUTFIT).all()
        assert np.array_equal(sample.sets[0], OUTFIT)


def test_random_replacements_leave_the_category() -> None:
    changed = [
        CATEGORY[sample.sets[1][sample.sets[1] != OUTFIT][0]] == CATEGORY[OUTFIT[sample.sets[1] != OUTFIT][0]]
        for sample in sampled(replace_all=0.0, same_category=0.0)
    ]
    assert 0.05 < np.mean(changed) < 0.35  # one in six categories


def copies_of_next() -> np.ndarray:
    """The only near-copy of an item is the next one of its category; the last of each has none."""
    copies = np.full((ITEMS, 3), -1)
    copies[: ITEMS - CATEGORIES, 0] = np.arange(CATEGORIES, ITEMS)
    return copies


def test_a_near_copy_is_one_of_an_item_of_the_outfit() -> None:
    sampler = NegativeSampler(CATEGORY, NegativesConfig(copies=1.0), 10, copies_of_next())
    drawn = {sampler.sample(OUTFIT, 0, np.random.default_rng(seed)).copy for seed in range(200)}
    assert drawn == {int(item) + CATEGORIES for item in OUTFIT}
    twins = copies_of_next()
    twins[OUTFIT] = OUTFIT[::-1, None]  # all copies stand in the outfit already
    sampler = NegativeSampler(CATEGORY, NegativesConfig(copies=1.0), 10, twins)
    assert {sampler.sample(OUTFIT, 0, np.random.default_rng(seed)).copy for seed in range(20)} == {-1}


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_near_copies_are_the_configured_share(share: float) -> None:
    sampler = NegativeSampler(CATEGORY, NegativesConfig(copies=share), 10, copies_of_next())
    found = [sampler.sample(OUTFIT, 0, np.random.default_rng(seed)).copy >= 0 for seed in range(400)]
    assert np.mean(found) == pytest.approx(share, abs=0.07)


def test_copies_draw_nothing_from_the_other_negatives() -> None:
    plain, more = (
        NegativeSampler(CATEGORY, NegativesConfig(copies=share), 10, copies_of_next()) for share in (0.0, 1.0)
    )
    for seed in range(20):
        one, other = (each.sample(OUTFIT, 0, np.random.default_rng(seed)) for each in (plain, more))
        assert np.array_equal(one.sets, other.sets)
        assert np.array_equal(one.candidates, other.candidates)


def test_logits_of_copies_are_those_of_the_outfit_with_one_more_item() -> None:
    catalogue = a_catalogue()
    config = ScorerConfig(width=16, layers=1, heads=2, feedforward=16)
    module = CompatibilityModule(catalogue, config).eval()
    sampler = NegativeSampler(CATEGORY, NegativesConfig(copies=0.6), 10, copies_of_next())
    outfits = [OUTFIT, np.array([3, 4], dtype=np.int32)] * 6
    samples = [sampler.sample(outfit, 0, np.random.default_rng(row)) for row, outfit in enumerate(outfits)]
    features = catalogue.require_embeddings
    batch = CollateCompatibility(features)(samples)
    with torch.no_grad():
        found = module._with_copies(module.model.tokens(batch.vectors, batch.present), batch).tolist()
        expected = []
        for outfit, sample in zip(outfits, samples, strict=True):
            if sample.copy >= 0:
                rows = [*outfit.tolist(), sample.copy]
                given = torch.from_numpy(features.vectors[rows])[None], torch.from_numpy(features.present[rows])[None]
                expected.append(module.model(*given).item())
    assert 0 < len(expected) < 12
    assert found == pytest.approx(expected, abs=1e-5)


def test_near_copies_of_a_data_module_are_the_nearest_of_training_items() -> None:
    catalogue = a_catalogue()
    outfits = Outfits.from_lists(["a", "b"], [OUTFIT.tolist(), [3, 4]], [0, 0])
    dataset = OutfitDataset("drawn", catalogue, outfits, {}, {}, {}, {}, [])
    data = CompatibilityDataModule(dataset, ScorerConfig(negatives=NegativesConfig(copies=1.0)))
    copies = data.make_samples("train").sampler.copies
    vectors = catalogue.require_embeddings.vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in range(ITEMS):
        others = set(np.flatnonzero(catalogue.categories == catalogue.categories[item]).tolist()) - {item}
        nearest = sorted(others, key=lambda one: -float(unit[one] @ unit[item]))
        found = copies[item][copies[item] >= 0].tolist()
        assert found == (nearest[:NEAR_COPIES] if item in outfits.items else [])
    plain = CompatibilityDataModule(dataset, ScorerConfig(negatives=NegativesConfig(copies=0.0)))
    assert plain.make_samples("train").sampler.copies is None


def test_candidates_are_of_the_replaced_items_category_and_never_in_the_outfit() -> None:
    for sample in sampled():
        assert (CATEGORY[sample.candidates] == CATEGORY[OUTFIT[sample.replaced]]).all()
        assert not np.isin(sample.candidates, OUTFIT).any()


def test_hard_negatives_come_in_on_schedule() -> None:
    schedule = {"hard_share": 0.8, "hard_start": 0.2, "hard_full": 0.6, "replace_all": 0.0}
    sampler = NegativeSampler(CATEGORY, NegativesConfig(**schedule), epochs=10)
    assert [sampler.hard_share(epoch) for epoch in (0, 2, 4, 6, 9)] == pytest.approx([0, 0, 0.4, 0.8, 0.8])
    assert not any(sample.hard.any() for sample in sampled(epoch=1, **schedule))
    assert 0.7 < np.mean([sample.hard.mean() for sample in sampled(epoch=9, **schedule)]) < 0.9


def test_a_category_of_one_item_is_replaced_from_the_others() -> None:
    lonely = CATEGORY.copy()
    lonely[0] = CATEGORIES
    sampler = NegativeSampler(lonely, NegativesConfig(), epochs=10)
    drawn = sampler.replacements(OUTFIT, 0, 50, True, np.random.default_rng(0))
    assert not np.isin(drawn, OUTFIT).any()


def test_batches_hold_the_sets_and_embeddings_of_their_items() -> None:
    features = a_catalogue().require_embeddings
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), epochs=10)
    outfits = [OUTFIT, np.array([3, 4], dtype=np.int32)]
    samples = [sampler.sample(outfit, 0, np.random.default_rng(n)) for n, outfit in enumerate(outfits)]
    batch = CollateCompatibility(features)(samples)
    for row, sample in enumerate(samples):
        size = sample.sets.shape[1]
        assert batch.padding[row].tolist() == [place >= size for place in range(4)]
        vectors = batch.vectors[batch.sets[row, :, :size]].numpy()
        assert np.array_equal(vectors, features.vectors[sample.sets])
        exchanged = batch.vectors[batch.with_candidates()[row][:, :size]].numpy()
        expected = np.repeat(sample.sets[:1], len(sample.candidates), axis=0)
        expected[:, sample.replaced] = sample.candidates
        assert np.array_equal(exchanged, features.vectors[expected])
