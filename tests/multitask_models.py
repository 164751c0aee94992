"""Tiny multi-task networks with random weights, for tests."""

import numpy as np
import torch
from torch import nn

from outfits.config.schema.multitask import MultitaskConfig, SmallClipConfig
from outfits.encoders.multitask.network import MultitaskNetwork
from outfits.encoders.multitask.settings import ClipSettings
from outfits.encoders.multitask.store import Backbone, StoredNetwork, open_backbone
from outfits.encoders.multitask.tokens import training_vocabulary

TEXTS = ["a red shirt", "navy wool trousers with dots", "in red", "more casual"]
SMALL = SmallClipConfig(image_size=32, patch_size=16, width=16, layers=2, heads=2, embed_dim=8, context_length=12)
CONFIG = MultitaskConfig(bottleneck=4, cross_bottleneck=4, small=SMALL, batch_size=4)
PREPROCESS = {
    "size": 32,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
VISION = {"image_size": 32, "layers": 2, "width": 24, "head_width": 12, "patch_size": 16}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
SIGLIP_TEXT = {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
CLIPS = {
    "clip": ClipSettings("clip", "CLIP", {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": TEXT}, PREPROCESS),
    "siglip_text": ClipSettings(
        "siglip", "CustomTextCLIP", {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": SIGLIP_TEXT}, PREPROCESS
    ),
    "timm_images": ClipSettings(
        "timm",
        "CustomTextCLIP",
        {
            "embed_dim": 64,
            "vision_cfg": {
                "image_size": 160,
                "timm_model_name": "test_vit",
                "timm_model_pretrained": False,
                "timm_pool": "token",
                "timm_proj": "linear",
            },
            "text_cfg": {**TEXT, "layers": 6},
        },
        {**PREPROCESS, "size": 160},
    ),
}


def images_for(settings: ClipSettings, count: int = 4) -> torch.Tensor:
    """Random images of the size that a model takes."""
    size = settings.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def vocabulary() -> np.ndarray:
    return training_vocabulary(TEXTS)


def small_backbone(config: MultitaskConfig = CONFIG) -> Backbone:
    return open_backbone(config, vocabulary())


def a_network(config: MultitaskConfig = CONFIG, seed: int = 0, categories: int = 3) -> MultitaskNetwork:
    torch.manual_seed(seed)
    return small_backbone(config).network(config, categories).eval()


def around(settings: ClipSettings, config: MultitaskConfig = CONFIG) -> MultitaskNetwork:
    """An untrained network around a CLIP model of random weights."""
    torch.manual_seed(0)
    return Backbone(settings, vocabulary(), settings.build()).network(config, 3).eval()


def spoilt(network: MultitaskNetwork, seed: int = 1) -> MultitaskNetwork:
    """The network with random adapters, as after training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for part in (network.adapters, network.cross):
            for parameter in part.parameters():
                nn.init.normal_(parameter, std=0.5)
    return network


def stored(network: MultitaskNetwork) -> StoredNetwork:
    return StoredNetwork(network, small_backbone().tokens, ["Shirts", "Trousers", "Bags"], "")
