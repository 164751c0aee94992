"""Small image models for tests."""

from typing import Any

import torch

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import ImageModel, RepresentationSettings
from outfits.representations.batch import ImageBatch
from outfits.representations.store import build_model, settings_of

VARIANTS: dict[str, dict[str, Any]] = {
    "autoencoder": {"kind": "autoencoder"},
    "denoising": {"kind": "autoencoder", "noise": 0.1, "masked": 0.3},
    "vae": {"kind": "vae"},
    "beta_vae": {"kind": "vae", "beta": 1.0, "beta_start": 16.0, "free_bits": 0.1},
    "deforming": {"kind": "deforming"},
    "class_aware": {"kind": "deforming", "class_dim": 2},
    "intrinsic": {"kind": "deforming", "intrinsic": True},
    "contrastive": {"kind": "contrastive"},
}
SIDE, TEXT_DIM, CATEGORIES = 16, 6, 3


def small_settings(**changes: Any) -> RepresentationSettings:
    """Settings of a model of 16 pixels and 8 coordinates."""
    settings = settings_of(RepresentationConfig(image_size=SIDE, width=8, latent_dim=8), CATEGORIES, TEXT_DIM)
    defaults: dict[str, Any] = {"shape_dim": 3, "patch": 4}
    return {**settings, **defaults, **changes}  # type: ignore[typeddict-item]


def small_model(variant: str, seed: int = 0) -> ImageModel:
    """A model with seeded random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return build_model(small_settings(**VARIANTS[variant])).eval()


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
