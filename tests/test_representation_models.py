"""Image models: shapes, what their objectives add up, that they learn, and their files."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from lightning_modules.representation import RepresentationModule
from outfits import run_files
from outfits.config.schema.model import OptimizerConfig
from outfits.config.schema.representation import DeformingConfig, PerceptualConfig, RepresentationConfig, VaeConfig
from outfits.errors import ArtifactError, ConfigError
from outfits.representations.blocks import channels_of, levels_of
from outfits.representations.contrastive import ContrastiveTower
from outfits.representations.deforming import DeformingAutoencoder
from outfits.representations.losses import info_nce, pixel_weight, squared_error
from outfits.representations.perceptual import network_features
from outfits.representations.store import (
    fit_components,
    load_representation,
    perceptual_features,
)
from outfits.representations.vae import VariationalAutoencoder
from outfits.weights import save_network
from tests.representation_settings import SIDE, VARIANTS, built, drawn_batch, small_config, small_model

GENERATIVE = [variant for variant in VARIANTS if variant != "contrastive"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_do_not_depend_on_the_rest_of_the_batch(variant: str) -> None:
    model, batch = small_model(variant), drawn_batch()
    latents = model.encode(batch.images)
    assert latents.shape == (12, model.latent_dim)
    torch.testing.assert_close(model.encode(batch.images[3:5]), latents[3:5], atol=1e-5, rtol=1e-4)
    assert latents.std(dim=0).max() > 0, "different images have different latents"


@pytest.mark.parametrize("variant", GENERATIVE)
def test_decoded_pictures_are_pictures(variant: str) -> None:
    model = small_model(variant)
    images = model.decode(torch.randn(4, model.latent_dim, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (4, 3, SIDE, SIDE)
    assert images.min() >= 0
    assert images.max() <= 1
    sampled = model.decode(model.sample_latents(3, torch.Generator().manual_seed(0)))
    assert sampled.shape == (3, 3, SIDE, SIDE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_model_learns_a_handful_of_pictures(variant: str) -> None:
    torch.manual_seed(0)
    model, batch = small_model(variant).train(), drawn_batch(24)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with torch.no_grad():
        first = model.eval().losses(batch, 1.0)["loss"].item()
    model.train()
    for step in range(120):
        loss = model.losses(batch, step / 120)["loss"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        terms = model.eval().losses(batch, 1.0)
    assert terms["loss"].item() < first - 0.5 * abs(first) * (variant not in ("vae", "beta_vae"))
    if variant in GENERATIVE:
        weight = pixel_weight(batch.foreground, 0.25)
        mean = batch.images.mean(dim=0, keepdim=True)
        baseline = squared_error(batch.images, mean.expand_as(batch.images), weight).mean()
        assert terms["pixel_error"] < 0.5 * baseline, "closer than the mean image"


def test_the_loss_of_a_vae_is_the_negative_elbo_per_pixel() -> None:
    model, batch = small_model("vae"), drawn_batch()
    terms = model.losses(batch, 1.0)
    torch.testing.assert_close(terms["elbo"], terms["log_likelihood"] - terms["kl"])
    torch.testing.assert_close(terms["loss"], -terms["elbo"] / (3 * SIDE * SIDE))


def test_beta_weighs_the_divergence_and_follows_its_schedule() -> None:
    batch = drawn_batch()
    torch.manual_seed(0)
    model = built(small_config(kind="vae", vae=VaeConfig(beta=1.0, beta_start=16.0, beta_fall=0.5)))
    for progress, beta in ((0.0, 16.0), (0.25, 4.0), (1.0, 1.0)):
        torch.manual_seed(1)
        terms = model.losses(batch, progress)
        assert terms["beta"].item() == pytest.approx(beta)
        objective = terms["log_likelihood"] - beta * terms["kl"]
        torch.testing.assert_close(terms["loss"], -objective / (3 * SIDE * SIDE))


def test_the_code_of_a_vae_is_the_mean_and_its_prior_is_the_standard_normal() -> None:
    model = cast(VariationalAutoencoder, small_model("vae"))
    images = drawn_batch().images
    assert torch.equal(model.encode(images), model.posterior(images)[0])
    latents = model.sample_latents(20_000, torch.Generator().manual_seed(0))
    assert latents.mean().abs().item() < 0.02
    assert latents.std().item() == pytest.approx(1.0, abs=0.02)


def test_a_deforming_model_starts_from_the_identity_affine_map() -> None:
    model = cast(DeformingAutoencoder, small_model("deforming"))
    made = model.deform(model.encode(drawn_batch().images))
    torch.testing.assert_close(made.affine, torch.eye(2, 3).expand(12, 2, 3))


def test_shape_coordinates_move_the_warp_alone_and_the_others_the_template_alone() -> None:
    model = cast(DeformingAutoencoder, small_model("class_aware"))
    latents = model.encode(drawn_batch().images)
    shape, rest = latents.clone(), latents.clone()
    shape[:, :3] += 5.0
    rest[:, 3:] += 5.0
    before, moved, painted = model.deform(latents), model.deform(shape), model.deform(rest)
    assert torch.equal(moved.template, before.template)
    assert not torch.equal(moved.grid, before.grid)
    assert torch.equal(painted.grid, before.grid)
    assert not torch.equal(painted.template, before.template)


def test_the_template_of_an_intrinsic_model_is_albedo_times_shading() -> None:
    made = cast(DeformingAutoencoder, small_model("intrinsic")).deform(torch.randn(3, 8))
    assert made.albedo is not None
    assert made.shading is not None
    torch.testing.assert_close(made.template, made.albedo * made.shading)
    assert made.shading.shape == (3, 1, SIDE, SIDE)


def test_the_loss_of_a_deforming_model_is_the_weighted_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    weights = {"variation_weight": 0.3, "bias_weight": 0.7, "shading_weight": 0.2, "class_weight": 0.4}
    options = DeformingConfig(shape_dim=3, class_dim=2, intrinsic=True, **weights)
    model = built(small_config(kind="deforming", deforming=options))
    terms = model.losses(drawn_batch(), 1.0)
    expected = (
        terms["reconstruction"]
        + 0.3 * terms["warp_variation"]
        + 0.7 * terms["warp_bias"]
        + 0.2 * terms["shading_roughness"]
        + 0.4 * terms["class_entropy"]
    )
    torch.testing.assert_close(terms["loss"], expected)


def test_a_deforming_model_without_room_for_appearance_is_refused() -> None:
    with pytest.raises(ValueError, match="appearance"):
        built(small_config(kind="deforming", deforming=DeformingConfig(shape_dim=6, class_dim=2)))


def test_a_contrastive_tower_draws_nothing_and_bounds_its_temperature() -> None:
    model, batch = cast(ContrastiveTower, small_model("contrastive")), drawn_batch()
    assert not model.generative
    with pytest.raises(TypeError, match="draws no images"):
        model.decode(torch.zeros(1, 8))
    with torch.no_grad():
        model.log_temperature.fill_(-20.0)
        loss = model.losses(batch, 1.0)["loss"]
        projected = model.projection(model.encode(batch.images))
        expected = info_nce(projected, model.texts(batch.texts), torch.tensor(0.01), batch.text_ids)
    torch.testing.assert_close(loss, expected)


def test_only_training_sees_corrupted_pictures() -> None:
    model, batch = small_model("denoising"), drawn_batch()
    assert torch.equal(model.losses(batch, 1.0)["loss"], model.losses(batch, 1.0)["loss"])
    model.train()
    assert not torch.equal(model.losses(batch, 1.0)["loss"], model.losses(batch, 1.0)["loss"])


def test_item_vectors_are_centred_and_half_whitened() -> None:
    model = small_model("autoencoder")
    rng = np.random.default_rng(0)
    latents = (
        rng.normal(size=(500, 8)) * [4, 3, 2, 1, 1, 1, 1, 0] @ np.linalg.qr(rng.normal(size=(8, 8)))[0] + 5
    ).astype(np.float32)
    fit_components(model, latents)
    vectors = (torch.from_numpy(latents) - model.centre) @ model.components.T
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(8), atol=1e-4, rtol=0)
    covariance = torch.cov(vectors.T)
    spread = np.sqrt(np.clip(np.sort(np.linalg.eigvalsh(np.cov(latents.T)))[::-1], 0, None))
    torch.testing.assert_close(covariance, torch.diag(torch.from_numpy(spread).float()), atol=2e-2, rtol=0)
    sampled = model.sample_latents(40_000, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(np.cov(sampled.T), np.cov(latents.T), atol=0.3)
    np.testing.assert_allclose(sampled.mean(axis=0), latents.mean(axis=0), atol=0.1)


def test_a_model_that_gives_one_code_to_everything_is_refused() -> None:
    with pytest.raises(ArtifactError, match="the same latent"):
        fit_components(small_model("autoencoder"), np.ones((5, 8), dtype=np.float32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stored_model_comes_back_the_same(variant: str, tmp_path: Path) -> None:
    model = small_model(variant)
    fit_components(model, np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
    sha256 = save_network(model, tmp_path / run_files.REPRESENTATION)
    loaded, digest = load_representation(tmp_path / run_files.REPRESENTATION)
    images = drawn_batch().images
    assert digest == sha256
    assert loaded.settings == model.settings
    assert torch.equal(loaded.embed(images), model.embed(images))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_file_of_something_else_is_refused_with_the_way_out(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_representation(tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="does not exist"):
        load_representation(tmp_path / "none.safetensors")


@pytest.mark.parametrize("section", ["vae", "augmented"])
def test_a_representation_with_a_key_that_is_no_more_is_refused(section: str, tmp_path: Path) -> None:
    model = small_model("vae")
    settings = model.settings
    settings[section]["gone"] = 1.0
    save_file(model.state_dict(), tmp_path / "old.safetensors", {"described": json.dumps({"settings": settings})})
    with pytest.raises(ArtifactError, match="was made by another version of the network; train it again"):
        load_representation(tmp_path / "old.safetensors")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_perceptual_features_are_the_maps_of_the_named_layers(library: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = resnet18() if library == "torchvision" else timm.create_model("resnet18")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    features = network_features(f"{library}:resnet18", str(tmp_path / "weights.safetensors"), ["layer1", "layer2"])
    images = drawn_batch(2).images
    maps = features(images)
    network.eval()
    normal = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    stem = torch.nn.Sequential(*(list(network.children())[:5]))
    torch.testing.assert_close(maps[0], stem(normal))
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(64, 4, 4), (128, 2, 2)]


def test_weights_of_another_architecture_or_none_are_refused(tmp_path: Path) -> None:
    torch.save({"conv": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ArtifactError, match="holds no weights of torchvision:resnet18"):
        network_features("torchvision:resnet18", str(tmp_path / "weights.pt"), [])
    with pytest.raises(ArtifactError, match="there is no file"):
        network_features("torchvision:resnet18", str(tmp_path / "absent.pt"), [])
    (tmp_path / "garbage.pt").write_bytes(b"no pickle")
    with pytest.raises(ArtifactError, match="holds no weights"):
        network_features("timm:resnet18", str(tmp_path / "garbage.pt"), [])
    for name in ("torchvision:resnet0", "timm:resnet0", "elsewhere:net", "resnet18"):
        with pytest.raises(ConfigError, match="is unknown"):
            network_features(name, str(tmp_path / "weights.pt"), [])


def test_a_layer_that_the_network_lacks_is_named(tmp_path: Path) -> None:
    save_file(resnet18().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match="has no layer 'layer9'"):
        network_features("torchvision:resnet18", str(tmp_path / "weights.safetensors"), ["layer9"])


def test_an_encoder_trained_here_serves_the_perceptual_loss(tmp_path: Path) -> None:
    save_network(small_model("autoencoder"), tmp_path / run_files.REPRESENTATION)
    config = RepresentationConfig(
        pixel_weight=0.5, perceptual=PerceptualConfig(weight=2.0, network=f"learned:{tmp_path}")
    )
    features = perceptual_features(config)
    assert features is not None
    batch = drawn_batch()
    assert [map_.shape[-1] for map_ in features(batch.images)] == [8, 4]
    for kind in ("autoencoder", "vae", "deforming"):
        torch.manual_seed(0)
        model = built(small_config(kind=kind, pixel_weight=0.5, perceptual=PerceptualConfig(weight=2.0)), features)
        assert not any(name.startswith("_features") for name, _ in model.named_parameters()), "no submodule"
        terms = model.losses(batch, 1.0)
        assert terms["perceptual_distance"] > 0
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        if kind == "autoencoder":
            expected = 0.5 * terms["pixel_error"] + 2.0 * terms["perceptual_distance"]
            torch.testing.assert_close(terms["loss"], expected)
    assert all(parameter.grad is None for parameter in features.parameters())


def test_sides_that_cannot_be_halved_down_are_refused() -> None:
    assert [levels_of(side) for side in (8, 64, 128)] == [1, 4, 5]
    assert channels_of(32, 5) == [32, 64, 128, 256, 256]
    with pytest.raises(ValueError, match="side 48"):
        levels_of(48)


def test_frozen_features_go_where_the_model_goes_and_into_no_checkpoint(tmp_path: Path) -> None:
    save_network(small_model("autoencoder"), tmp_path / run_files.REPRESENTATION)
    perceptual = PerceptualConfig(weight=1.0, network=f"learned:{tmp_path}")
    features = perceptual_features(RepresentationConfig(perceptual=perceptual))
    assert features is not None
    config = small_config(kind="vae", perceptual=perceptual)
    module = RepresentationModule(config, OptimizerConfig(), 3, 6, features).to("meta")
    module.on_fit_start()
    assert {parameter.device.type for parameter in features.parameters()} == {"meta"}
    assert not any("features" in name for name in module.state_dict())
