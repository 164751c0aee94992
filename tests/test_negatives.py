"""Negatives of the compatibility model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.compatibility import NEAR_COPIES, CollateCompatibility, CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from outfits.config.schema.scorer import NegativesConfig, ScorerConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.negatives import NegativeSampler
from outfits.data.outfits import Outfits
from outfits.errors import DataError
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


def test_a_near_copy_is_one_of_an_item_of_its_set() -> None:
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), 10, copies_of_next())
    samples = [sampler.sample(OUTFIT, 0, np.random.default_rng(seed)) for seed in range(300)]
    for sample in samples:
        if sample.copy >= 0:
            assert sample.copy - CATEGORIES in sample.sets[sample.copied]
            assert sample.copy not in sample.sets[sample.copied]
    assert {sample.copy for sample in samples if sample.copied == 0} == {int(item) + CATEGORIES for item in OUTFIT}
    assert np.mean([sample.copied == 0 for sample in samples]) == pytest.approx(0.5, abs=0.1)
    assert {sample.copied for sample in samples} == {0, 1, 2}


def test_a_hard_row_gets_no_copy_since_its_item_is_still_open() -> None:
    config = NegativesConfig(per_outfit=3, replace_all=0.0, hard_share=0.6, hard_start=0.0, hard_full=0.0)
    sampler = NegativeSampler(CATEGORY, config, 10, copies_of_next())
    samples = [sampler.sample(OUTFIT, 5, np.random.default_rng(seed)) for seed in range(200)]
    assert any(sample.hard.any() for sample in samples)
    assert not any(sample.copied and sample.hard[sample.copied - 1] for sample in samples)


def test_copies_that_stand_in_the_set_already_are_none() -> None:
    twins = np.full((ITEMS, 4), -1)
    twins[OUTFIT] = OUTFIT
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), 10, twins)
    samples = [sampler.sample(OUTFIT, 0, np.random.default_rng(seed)) for seed in range(20)]
    assert {sample.copy for sample in samples if sample.copied == 0} == {-1}


def test_copies_draw_nothing_from_the_other_negatives() -> None:
    plain, more = (NegativeSampler(CATEGORY, NegativesConfig(), 10, copies) for copies in (None, copies_of_next()))
    for seed in range(20):
        one, other = (each.sample(OUTFIT, 0, np.random.default_rng(seed)) for each in (plain, more))
        assert np.array_equal(one.sets, other.sets)
        assert np.array_equal(one.candidates, other.candidates)
        assert one.copy == -1


def test_an_outfit_of_the_whole_catalogue_has_no_negatives() -> None:
    sampler = NegativeSampler(np.array([0, 1, 2], dtype=np.int32), NegativesConfig(), 10)
    with pytest.raises(DataError, match="all 3 items"):
        sampler.sample(np.array([0, 1, 2], dtype=np.int32), 0, np.random.default_rng(0))


def test_logits_do_not_depend_on_how_sets_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue, config = a_catalogue(), ScorerConfig(width=16, layers=2, heads=2, feedforward=16)
    module, rng = CompatibilityModule(catalogue, config).eval(), np.random.default_rng(0)
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), 10)
    outfits = [rng.choice(ITEMS, size, replace=False).astype(np.int32) for size in (2, 5, 3, 3, 2, 4, 5)]
    samples = [sampler.sample(outfit, 0, np.random.default_rng(row)) for row, outfit in enumerate(outfits)]
    batch = CollateCompatibility(catalogue.require_embeddings)(samples)
    tokens = module.model.tokens(batch.vectors, batch.present)
    found = []
    for groups in (1, 3, 4, 50):
        monkeypatch.setattr("lightning_modules.compatibility.SIZE_GROUPS", groups)
        found.append(module._logits(tokens, batch.sets, batch.padding))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_the_validation_auc_has_one_scale_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue, config = a_catalogue(), ScorerConfig(width=16, layers=1, heads=2, feedforward=16)
    module = CompatibilityModule(catalogue, config).eval()
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), 10)
    batch = CollateCompatibility(catalogue.require_embeddings)([sampler.sample(OUTFIT, 0, np.random.default_rng(0))])
    for logits in (0.9, 0.8), (1.1, -1.0):  # of an outfit and its negative; those of the first batch lie in [0, 1]
        monkeypatch.setattr(module, "_logits", lambda *_, logits=logits: torch.tensor([logits]))
        module.validation_step(batch, 0)
    assert module.auc.compute().item() == 1.0


def test_the_copy_loss_by_hand() -> None:
    catalogue = a_catalogue()
    config = ScorerConfig(width=16, layers=1, heads=2, feedforward=16, copy_margin=0.7)
    module = CompatibilityModule(catalogue, config).eval()
    sampler = NegativeSampler(CATEGORY, NegativesConfig(), 10, copies_of_next())
    outfits = [OUTFIT, np.array([3, 4], dtype=np.int32)] * 6
    samples = [sampler.sample(outfit, 0, np.random.default_rng(row)) for row, outfit in enumerate(outfits)]
    features = catalogue.require_embeddings
    batch = CollateCompatibility(features)(samples)

    def logit(items: list[int]) -> torch.Tensor:
        given = torch.from_numpy(features.vectors[items])[None], torch.from_numpy(features.present[items])[None]
        found: torch.Tensor = module.model(*given)[0]
        return found

    with torch.no_grad():
        tokens = module.model.tokens(batch.vectors, batch.present)
        logits = module._logits(tokens, batch.sets, batch.padding)
        found = module._raised_by_copies(tokens, batch.sets, logits, batch)
        hinges = []
        for sample in samples:
            if sample.copy >= 0:
                base = sample.sets[sample.copied].tolist()
                hinge = (logit([*base, sample.copy]) - logit(base) + 0.7).clamp(min=0)
                hinges.append((torch.sigmoid(logit(base)) * hinge).item())
    assert 0 < len(hinges) <= 12
    assert found is not None
    assert found.item() == pytest.approx(np.mean(hinges), abs=1e-5)
    none = replace(batch, copies=torch.full_like(batch.copies, -1))
    assert module._raised_by_copies(tokens, batch.sets, logits, none) is None


def test_near_copies_are_the_nearest_of_training_items() -> None:
    catalogue = a_catalogue()
    outfits = Outfits.from_lists(["a", "b"], [OUTFIT.tolist(), [3, 4]], [0, 0])
    dataset = OutfitDataset("drawn", catalogue, outfits, {}, {}, {}, {}, [])
    data = CompatibilityDataModule(dataset, ScorerConfig())
    copies = data.make_samples("train").sampler.copies
    vectors = catalogue.require_embeddings.vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in range(ITEMS):
        others = set(np.flatnonzero(catalogue.categories == catalogue.categories[item]).tolist()) - {item}
        nearest = sorted(others, key=lambda one: -float(unit[one] @ unit[item]))
        found = copies[item][copies[item] >= 0].tolist()
        assert found == (nearest[:NEAR_COPIES] if item in outfits.items else [])
    plain = CompatibilityDataModule(dataset, ScorerConfig(copy_weight=0.0))
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
