"""Super-resolution and the network of style transfer: where they begin, what they see, and what they are trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from outfits.config.schema.imaging import StyleArchitecture, SuperResolutionArchitecture
from outfits.imaging.cropping import garment_crops
from outfits.imaging.style_network import ConditionalInstanceNorm, StyleNetwork
from outfits.imaging.super_resolution import SuperResolution, bicubic, shrunk
from outfits.metrics.images import fidelity
from outfits.representations.losses import perceptual_loss
from tests.representation_settings import drawn_batch


def drawn(count: int = 3, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth random images in [0, 1]."""
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, side, mode="bilinear")


@pytest.mark.parametrize("factor", [2, 4])
def test_untrained_super_resolution_is_bicubic_interpolation(factor: int) -> None:
    small = shrunk(drawn(), factor)
    torch.testing.assert_close(
        SuperResolution(SuperResolutionArchitecture(factor, 8, 2))(small), bicubic(small, factor), rtol=0, atol=0
    )


@pytest.mark.parametrize("factor", [2, 4])
def test_bicubic_interpolation_is_that_of_pillow(factor: int) -> None:
    small = shrunk(drawn(1), factor)
    side = small.shape[-1] * factor
    pixels = (small[0] * 255).round().byte().permute(1, 2, 0).numpy()
    theirs = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    ours = (bicubic(small, factor)[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() < 1.6  # Pillow rounds after rows and after columns


def test_a_small_image_has_256_levels() -> None:
    levels = shrunk(drawn(), 4) * 255
    assert levels.shape == (3, 3, 8, 8)
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)


def support(change: Tensor) -> int:
    """Side of the square of pixels that a gradient reaches."""
    rows = change.abs().sum(dim=(0, 1)).sum(dim=1).nonzero()
    return int(rows.max() - rows.min()) + 1


def test_super_resolution_sees_its_receptive_field() -> None:
    torch.manual_seed(0)
    network = SuperResolution(SuperResolutionArchitecture(4, 6, 2))
    torch.nn.init.normal_(network.last.weight)
    images = torch.rand(1, 3, 41, 41, requires_grad=True)
    correction = network(images) - bicubic(images, 4)
    correction[0, :, 80, 80].sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert support(images.grad) == network.receptive_field == 13


def test_the_style_network_sees_its_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides what the normalisation sees, which is the whole image."""
    monkeypatch.setattr(F, "instance_norm", lambda maps: maps)
    torch.manual_seed(0)
    network = StyleNetwork(StyleArchitecture(width=4, blocks=1), 2)
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    places = [network(images, torch.eye(2)[:1])[0, :, 60 + shift, 60].sum() for shift in range(4)]
    widest = 0
    for place in places:
        (gradient,) = torch.autograd.grad(place, images, retain_graph=True)
        widest = max(widest, support(gradient))
    assert widest == network.receptive_field


def test_a_mixture_weighs_the_vectors_of_the_styles() -> None:
    torch.manual_seed(0)
    norm = ConditionalInstanceNorm(5, 3)
    torch.nn.init.normal_(norm.gamma)
    torch.nn.init.normal_(norm.beta)
    maps, weights = torch.randn(2, 5, 6, 6), torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.5, 0.5]])
    alone = torch.stack([norm(maps, torch.eye(3)[[style] * 2]) for style in range(3)])
    torch.testing.assert_close(norm(maps, weights), torch.einsum("bs,sbchw->bchw", weights, alone))
    centred = maps - maps.mean(dim=(2, 3), keepdim=True)
    normal = centred / (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()
    expected = norm.gamma[1][:, None, None] * normal + norm.beta[1][:, None, None]
    torch.testing.assert_close(alone[1], expected)


def test_the_perceptual_loss_is_the_relative_squared_error_of_each_layer() -> None:
    targets = [torch.randn(2, 4, 8, 8), 100 * torch.randn(2, 6, 4, 4)]
    assert perceptual_loss(targets, targets) == 0
    twice = [2 * target for target in targets]
    torch.testing.assert_close(perceptual_loss(twice, targets), torch.tensor(2.0))
    one = [targets[0] + 0.5, targets[1]]
    torch.testing.assert_close(perceptual_loss(one, targets), 0.25 / targets[0].square().mean())


def test_fidelity_is_that_of_its_definitions() -> None:
    originals = drawn(4)
    measured = fidelity((originals + 0.1), originals, lambda images: [images])
    torch.testing.assert_close(measured["psnr"], torch.full((4,), 20.0), atol=1e-3, rtol=0)
    same = fidelity(originals, originals, lambda images: [images])
    torch.testing.assert_close(same["psnr"], torch.full((4,), 100.0))
    torch.testing.assert_close(same["ssim"], torch.ones(4))
    torch.testing.assert_close(same["distance"], torch.zeros(4))


def test_crops_are_cut_around_garments() -> None:
    torch.manual_seed(0)
    batch = drawn_batch(40)
    crops = garment_crops(batch, 8)
    assert crops.shape == (40, 3, 8, 8)
    assert ((crops < 0.5).flatten(1).any(dim=1)).all(), "each holds some of the dark garment"
    whole = garment_crops(batch, 16)
    mirrored = batch.images.flip(3)
    same = [(whole[row] == batch.images[row]).all() for row in range(40)]
    assert all(one or (whole[row] == mirrored[row]).all() for row, one in enumerate(same))
    assert 5 < sum(map(bool, same)) < 35


def test_an_image_without_a_garment_has_crops_too() -> None:
    batch = drawn_batch(2)
    nothing = replace(batch, foreground=torch.zeros_like(batch.foreground))
    assert garment_crops(nothing, 8).shape == (2, 3, 8, 8)
