"""Small image models for tests."""

from typing import Any

import torch

from outfits.config.schema.representation import CorruptionConfig, DeformingConfig, RepresentationConfig, VaeConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.store import build_model

VARIANTS: dict[str, dict[str, Any]] = {
    "autoencoder": {"kind": "autoencoder"},
    "denoising": {"kind": "autoencoder", "corruption": CorruptionConfig(noise=0.1, masked=0.3, patch=4)},
    "vae": {"kind": "vae"},
    "beta_vae": {"kind": "vae", "vae": VaeConfig(beta=1.0, beta_start=16.0, free_bits=0.1)},
    "deforming": {"kind": "deforming"},
    "class_aware": {"kind": "deforming", "deforming": DeformingConfig(shape_dim=3, class_dim=2)},
    "intrinsic": {"kind": "deforming", "deforming": DeformingConfig(shape_dim=3, intrinsic=True)},
    "contrastive": {"kind": "contrastive"},
}
SIDE, TEXT_DIM, CATEGORIES = 16, 6, 3


def small_config(**changes: Any) -> RepresentationConfig:
    """A model of 16 pixels and 8 coordinates."""
    small = {"image_size": SIDE, "width": 8, "latent_dim": 8, "deforming": DeformingConfig(shape_dim=3)}
    return RepresentationConfig(**{**small, **changes})


def built(config: RepresentationConfig, features: Features | None = None) -> ImageModel:
    """A model over the items of :func:`drawn_batch`, in evaluation mode."""
    return build_model(config, CATEGORIES, TEXT_DIM, features).eval()


def small_model(variant: str, seed: int = 0) -> ImageModel:
    """A model with seeded random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return built(small_config(**VARIANTS[variant]))


def drawn_batch(count: int = 12, seed: int = 0) -> ImageBatch:
    """Coloured squares on white: categories by colour, texts that tell colour and place."""
    rng = torch.Generator().manual_seed(seed)
    images, foreground = torch.ones(count, 3, SIDE, SIDE), torch.zeros(count, 1, SIDE, SIDE)
    categories = torch.randint(0, CATEGORIES, (count,), generator=rng)
    places = torch.randint(0, SIDE - 8, (count, 2), generator=rng)
    for row, (category, (top, left)) in enumerate(zip(categories, places.tolist(), strict=True)):
        images[row, :, top : top + 8, left : left + 8] = 0.1
        images[row, category, top : top + 8, left : left + 8] = 0.8
        foreground[row, :, top : top + 8, left : left + 8] = 1.0
    texts = torch.zeros(count, TEXT_DIM)
    texts[torch.arange(count), categories] = 1.0
    texts[:, 4:] = places / SIDE
    return ImageBatch(images, foreground, categories, texts, torch.arange(count))
