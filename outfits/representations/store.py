"""Builds image models from their configuration and loads them from files."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from outfits import run_files
from outfits.config.schema.representation import IMAGE_MODELS, FrozenNetworkConfig, RepresentationConfig
from outfits.errors import ArtifactError
from outfits.representations.base import Features, ImageModel
from outfits.representations.perceptual import DEFAULT_PLACE, FrozenFeatures, network_features
from outfits.weights import load_network

OWN = "learned:"  # prefix of a representation run in the name of a frozen network


def build_model(
    config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
) -> ImageModel:
    """Builds the configured model with fresh weights; arguments as of :class:`ImageModel`."""
    model: ImageModel = IMAGE_MODELS[config.kind].load()(config, categories, text_dim, features)
    return model


def perceptual_features(config: RepresentationConfig) -> FrozenFeatures | None:
    """Returns the frozen features of the configured perceptual loss; None where its weight is 0.

    Raises the errors of :func:`~outfits.representations.perceptual.network_features`.
    """
    return None if config.perceptual.weight == 0 else frozen_features(config.perceptual)


def frozen_features(config: FrozenNetworkConfig, place: str = DEFAULT_PLACE) -> FrozenFeatures:
    """Returns the features of a configured frozen network; ``place`` is its section, for messages.

    Raises the errors of :func:`~outfits.representations.perceptual.network_features`.
    """
    name = str(config.network)
    if name.startswith(OWN):
        encoder = load_representation(Path(name.removeprefix(OWN)).expanduser() / run_files.REPRESENTATION)[0].encoder
        # The last two submodules flatten and reduce; the blocks before them give maps.
        blocks = [str(place) for place in range(len(encoder) - 2)]  # type: ignore[arg-type]
        return FrozenFeatures(encoder, config.layers or blocks, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), place)  # type: ignore[arg-type]
    return network_features(name, config.weights, config.layers, place)


def fit_components(model: ImageModel, latents: NDArray[np.float32]) -> None:
    """Sets centre and components of :meth:`ImageModel.embed` from the training items' latents ``[N, d]``, N at least 2.

    Latents are centred, rotated to their principal components, and each of these divided by the square root of its
    standard deviation, halfway to whitening, as in :class:`outfits.encoders.classical.ClassicalImages`. Components of
    almost no variance become zeros.

    Raises:
        ArtifactError: if all latents are equal.
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


def load_representation(path: Path) -> tuple[ImageModel, str]:
    """Loads an image model from a file of :func:`outfits.weights.save_network`; returns it and the file's SHA-256.

    Raises:
        ArtifactError: if the file is missing, is no representation, or was written by another version.
    """
    model, _, sha256 = load_network(build_model, RepresentationConfig, path, "representation", "train it again")
    return model, sha256
