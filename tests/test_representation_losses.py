"""Every term of the image models' losses against a closed form, ``torch.distributions`` or a sum written out."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from outfits.config.schema.representation import AugmentationConfig, CorruptionConfig
from outfits.representations.batch import ImageBatch, augmented, corrupted
from outfits.representations.gaussian import (
    beta_at,
    gaussian_log_likelihood,
    kl_to_standard_normal,
    reparameterised,
    with_free_bits,
)
from outfits.representations.losses import (
    feature_distance,
    info_nce,
    pixel_weight,
    smoothness,
    squared_error,
    total_variation,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def test_divergence_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(5, 7, generator=generator()), torch.randn(5, 7, generator=generator(1))
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)
    assert kl_to_standard_normal(torch.zeros(1, 1), torch.zeros(1, 1)).item() == 0


def test_log_likelihood_is_that_of_torch_distributions_with_a_deviation_per_pixel() -> None:
    images, means = random(3, 3, 4, 4), random(3, 3, 4, 4, seed=1)
    weight = pixel_weight(random(3, 1, 4, 4, seed=2), 0.25)
    deviation = 0.2 / weight.sqrt().expand_as(images)
    expected = Independent(Normal(means, deviation), 3).log_prob(images)
    torch.testing.assert_close(gaussian_log_likelihood(images, means, 0.2, weight), expected)


def test_samples_of_the_posterior_have_its_mean_and_variance_and_pass_gradients() -> None:
    mean = torch.full((20_000, 2), 1.5, requires_grad=True)
    log_variance = torch.full((20_000, 2), math.log(0.25), requires_grad=True)
    torch.manual_seed(0)
    sample = reparameterised(mean, log_variance)
    assert sample.mean().item() == pytest.approx(1.5, abs=0.01)
    assert sample.std().item() == pytest.approx(0.5, abs=0.01)
    sample.sum().backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones_like(mean))
    assert log_variance.grad is not None
    torch.testing.assert_close(log_variance.grad, 0.5 * (sample - mean).detach())  # dz/dlogvar = sigma eps / 2


def test_free_bits_charge_nothing_below_the_allowance_and_everything_above() -> None:
    kl = torch.tensor([[0.1, 3.0], [0.3, 1.0]])  # coordinate means 0.2 and 2.0
    assert with_free_bits(kl, 0.0).item() == pytest.approx(2.2)
    assert with_free_bits(kl, 0.5).item() == pytest.approx(0.5 + 2.0)
    kl.requires_grad_()
    with_free_bits(kl, 0.5).backward()  # type: ignore[no-untyped-call]
    assert kl.grad is not None
    assert torch.equal(kl.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))


def test_beta_falls_along_a_geometric_line_and_stays() -> None:
    moments = [beta_at(progress, 1.0, 16.0, 0.5) for progress in (0.0, 0.25, 0.5, 0.8, 1.0)]
    assert moments == pytest.approx([16.0, 4.0, 1.0, 1.0, 1.0])
    assert beta_at(0.0, 4.0, None, 0.5) == 4.0


def test_pixel_weights_have_mean_one_and_prefer_the_garment() -> None:
    foreground = torch.zeros(2, 1, 4, 4)
    foreground[0, :, :2] = 1.0
    weight = pixel_weight(foreground, 0.25)
    torch.testing.assert_close(weight.mean(dim=(1, 2, 3)), torch.ones(2))
    assert (weight[0, 0, 0, 0] / weight[0, 0, 3, 3]).item() == pytest.approx(4.0)
    assert torch.equal(weight[1], torch.ones(1, 4, 4)), "without a garment all pixels count alike"


def test_squared_error_without_weights_is_the_mean_squared_error() -> None:
    one, other = random(2, 3, 4, 4), random(2, 3, 4, 4, seed=1)
    expected = torch.stack([F.mse_loss(a, b) for a, b in zip(one, other, strict=True)])
    torch.testing.assert_close(squared_error(one, other, torch.ones(2, 1, 4, 4)), expected)


def test_feature_distance_is_two_minus_two_cosines() -> None:
    one, other = torch.randn(2, 5, 3, 3, generator=generator()), torch.randn(2, 5, 3, 3, generator=generator(1))
    expected = (2 - 2 * F.cosine_similarity(one, other, dim=1)).mean(dim=(1, 2))
    torch.testing.assert_close(feature_distance([one], [other]), expected)
    torch.testing.assert_close(feature_distance([one, one], [other, other]), 2 * expected)
    assert feature_distance([one], [3 * one]).max().item() == pytest.approx(0.0, abs=1e-6)


def test_total_variation_and_smoothness_of_a_ramp() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)  # steps of 1 across, none down
    assert total_variation(ramp).item() == 1.0
    assert total_variation(3 * ramp).item() == 3.0
    assert smoothness(3 * ramp).item() == 9.0
    assert total_variation(torch.full((1, 2, 3, 3), 7.0)).item() == 0.0


def test_info_nce_is_the_mean_of_both_cross_entropies() -> None:
    images, texts = torch.randn(4, 6, generator=generator()), torch.randn(4, 6, generator=generator(1))
    loss = info_nce(images, texts, torch.tensor(0.3), torch.arange(4))
    cosine = F.cosine_similarity(images[:, None], texts[None], dim=-1) / 0.3
    by_hand = -(cosine.log_softmax(1).diagonal() + cosine.log_softmax(0).diagonal()).mean() / 2
    torch.testing.assert_close(loss, by_hand)


def test_items_of_equal_texts_are_no_negatives_of_each_other() -> None:
    images, texts = torch.randn(3, 6, generator=generator()), torch.randn(3, 6, generator=generator(1))
    texts[1] = texts[0]
    cosine = F.cosine_similarity(images[:, None], texts[None], dim=-1)
    rows = [cosine[0, [0, 2]], cosine[1, [1, 2]], cosine[2]]
    columns = [cosine[[0, 2], 0], cosine[[1, 2], 1], cosine[:, 2]]
    true = [0, 0, 2]
    terms = [-line.log_softmax(0)[t] for lines in (rows, columns) for line, t in zip(lines, true, strict=True)]
    loss = info_nce(images, texts, torch.tensor(1.0), torch.tensor([5, 5, 9]))
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def batch_of(images: Tensor) -> ImageBatch:
    count, side = len(images), images.shape[-1]
    return ImageBatch(
        images, torch.ones(count, 1, side, side), torch.zeros(count), torch.zeros(count, 0), torch.arange(count)
    )


def test_varied_pictures_are_mirrored_or_not_and_nothing_else() -> None:
    images = random(16, 3, 8, 8)
    torch.manual_seed(0)
    seen = augmented(batch_of(images), AugmentationConfig()).images
    mirrored = [torch.allclose(new, old.flip(-1), atol=1e-5) for new, old in zip(seen, images, strict=True)]
    kept = [torch.allclose(new, old, atol=1e-5) for new, old in zip(seen, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_shifted_pictures_let_white_backdrop_in() -> None:
    batch = batch_of(torch.zeros(32, 3, 8, 8))
    torch.manual_seed(0)
    seen = augmented(batch, AugmentationConfig(flip=False, translate=0.25))
    assert seen.images[:, :, 4, 4].max() < 1e-5, "the middle stays black"
    edge = torch.cat([seen.images[:, 0, 0], seen.images[:, 0, -1]])
    assert edge.max() == 1.0
    white = seen.images[:, :1] > 0.999
    assert seen.foreground[white].max() < 1e-3, "what comes in is background"


def test_light_scales_whole_pictures_within_bounds() -> None:
    torch.manual_seed(0)
    seen = augmented(batch_of(torch.full((64, 3, 4, 4), 0.5)), AugmentationConfig(flip=False, brightness=0.2)).images
    levels = seen.flatten(1)
    assert torch.equal(levels.min(dim=1).values, levels.max(dim=1).values)
    assert 0.4 <= levels.min() < 0.45 < 0.55 < levels.max() <= 0.6


def test_masked_patches_are_whole_and_of_the_configured_share() -> None:
    torch.manual_seed(0)
    seen = corrupted(torch.ones(64, 3, 16, 16), CorruptionConfig(masked=0.3, patch=4))
    patches = seen.view(64, 3, 4, 4, 4, 4).amin(dim=(1, 3, 5)), seen.view(64, 3, 4, 4, 4, 4).amax(dim=(1, 3, 5))
    assert torch.equal(*patches)
    assert (patches[0] == 0.5).float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_noise_has_the_configured_deviation_and_stays_in_range() -> None:
    torch.manual_seed(0)
    seen = corrupted(torch.full((8, 3, 32, 32), 0.5), CorruptionConfig(noise=0.1))
    assert seen.std().item() == pytest.approx(0.1, abs=0.005)
    assert corrupted(torch.ones(2, 3, 8, 8), CorruptionConfig(noise=1.0)).max() <= 1.0
