"""From settings to an image model, and its place on disk."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from outfits import run_files
from outfits.config.schema.representation import RepresentationConfig
from outfits.errors import ArtifactError
from outfits.representations.autoencoder import Autoencoder
from outfits.representations.base import Features, ImageModel, RepresentationSettings
from outfits.representations.contrastive import ContrastiveTower
from outfits.representations.deforming import DeformingAutoencoder
from outfits.representations.perceptual import FrozenFeatures, network_features
from outfits.representations.vae import VariationalAutoencoder
from outfits.weights import load_weights, save_weights

KINDS: dict[str, type[ImageModel]] = {
    "autoencoder": Autoencoder,
    "vae": VariationalAutoencoder,
    "deforming": DeformingAutoencoder,
    "contrastive": ContrastiveTower,
}
OWN = "learned:"  # prefix of a representation run, where a frozen network is named


def settings_of(config: RepresentationConfig, categories: int, text_dim: int) -> RepresentationSettings:
    """What a model over some catalogue is built from.

    Args:
        config: section ``model.representation``.
        categories: number of categories of the catalogue.
        text_dim: width of the frozen text embeddings; 0 for models that see no texts.
    """
    return RepresentationSettings(
        kind=config.kind,
        image_size=config.image_size,
        width=config.width,
        latent_dim=config.latent_dim,
        background=config.background,
        background_weight=config.background_weight,
        noise=config.corruption.noise,
        masked=config.corruption.masked,
        patch=config.corruption.patch,
        pixel_weight=config.pixel_weight,
        perceptual_weight=config.perceptual.weight,
        deviation=config.vae.deviation,
        beta=config.vae.beta,
        beta_start=config.vae.beta_start,
        beta_fall=config.vae.beta_fall,
        free_bits=config.vae.free_bits,
        shape_dim=config.deforming.shape_dim,
        class_dim=config.deforming.class_dim,
        categories=categories,
        class_weight=config.deforming.class_weight,
        intrinsic=config.deforming.intrinsic,
        variation_weight=config.deforming.variation_weight,
        bias_weight=config.deforming.bias_weight,
        shading_weight=config.deforming.shading_weight,
        text_dim=text_dim,
        temperature=config.contrastive.temperature,
    )


def build_model(settings: RepresentationSettings, features: Features | None = None) -> ImageModel:
    """A model with fresh weights; ``features`` as the perceptual loss needs them, None to encode and draw only."""
    return KINDS[settings["kind"]](settings, features)


def perceptual_features(config: RepresentationConfig) -> FrozenFeatures | None:
    """The frozen features of the configured perceptual loss; None where its weight is 0.

    Raises:
        ConfigError: if there is no such network or layer.
        ArtifactError: if weights are missing or do not fit.
    """
    perceptual = config.perceptual
    if perceptual.weight == 0:
        return None
    name = str(perceptual.network)
    if name.startswith(OWN):
        encoder = load_representation(Path(name.removeprefix(OWN)) / run_files.REPRESENTATION)[0].encoder
        # The last two submodules flatten and reduce; the blocks before them give maps.
        blocks = [str(place) for place in range(len(encoder) - 2)]  # type: ignore[arg-type]
        return FrozenFeatures(encoder, perceptual.layers or blocks, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # type: ignore[arg-type]
    return network_features(name, perceptual.weights, perceptual.layers)


def fit_components(model: ImageModel, latents: NDArray[np.float32]) -> None:
    """Sets centre and components of :meth:`ImageModel.embed` from the latents of the training items.

    Codes are centred, turned to their principal components, and each of these divided by the square root of its
    standard deviation, halfway to whitening, as :class:`outfits.encoders.classical.ClassicalImages` does it. Components
    that hardly move are left out as zeros.

    Args:
        model: the model.
        latents: shape ``[N, d]``, N at least 2.

    Raises:
        ArtifactError: if all latents are the same.
    """
    if not latents.std(axis=0).max() > 1e-9:
        raise ArtifactError("the model gives every image the same latent; train it longer or with other settings")
    pca = PCA(min(latents.shape), svd_solver="full").fit(latents.astype(np.float64))
    spread = np.sqrt(pca.explained_variance_)
    kept = spread > 1e-4 * spread[0]
    components = np.zeros((latents.shape[1], latents.shape[1]))
    components[: int(kept.sum())] = pca.components_[kept] / np.sqrt(spread[kept])[:, None]
    model.centre.copy_(torch.from_numpy(pca.mean_))
    model.components.copy_(torch.from_numpy(components))


def save_representation(model: ImageModel, path: Path) -> str:
    """Writes a model with its settings, atomically; returns the SHA-256 of the file."""
    return save_weights(model, {"representation": model.settings}, path)


def load_representation(path: Path) -> tuple[ImageModel, str]:
    """A model in evaluation mode, without gradients on its parameters, and the SHA-256 of its file.

    Args:
        path: file written by :func:`save_representation`.

    Raises:
        ArtifactError: if the file is missing, is no representation, or was written by another version.
    """
    described, weights, sha256 = load_weights(path, "representation")
    try:
        model = build_model(described["representation"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(
            f"representation {path} was made by another version of the network; train it again"
        ) from error
    return model.eval().requires_grad_(False), sha256
