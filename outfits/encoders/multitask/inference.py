"""Runs a trained multi-task network over many images and texts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.encoders.multitask.batch import pixels_of
from outfits.encoders.multitask.captions import caption
from outfits.encoders.multitask.store import StoredNetwork

BATCH = 128


@torch.inference_mode()
def image_vectors(model: StoredNetwork, pixels: NDArray[np.uint8], task: str | None) -> NDArray[np.float32]:
    """Vectors of unit length ``[n, D]`` of 8-bit images ``[n, S, S, 3]``."""
    network = model.network
    return _joined(network.image_vectors(_images(model, pixels[some]), task) for some in blocks(len(pixels), BATCH))


@torch.inference_mode()
def text_vectors(model: StoredNetwork, texts: Sequence[str], task: str | None) -> NDArray[np.float32]:
    """Vectors of unit length ``[n, D]`` of texts."""
    device = model.network.vocabulary.device
    return _joined(
        model.network.text_vectors(model.tokens(texts[some]).to(device), task) for some in blocks(len(texts), BATCH)
    )


@torch.inference_mode()
def refined_queries(model: StoredNetwork, pixels: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
    """Queries of unit length ``[n, D]`` for images with what should be different."""
    device = model.network.vocabulary.device
    return _joined(
        model.network.refined(_images(model, pixels[some]), model.tokens(texts[some]).to(device))
        for some in blocks(len(texts), BATCH)
    )


@torch.inference_mode()
def categories_of(model: StoredNetwork, pixels: NDArray[np.uint8], texts: Sequence[str]) -> list[str]:
    """The likeliest category of 8-bit images ``[n, S, S, 3]``, with their texts, which may be empty."""
    device = model.network.vocabulary.device
    return [
        model.categories[number]
        for some in blocks(len(texts), BATCH)
        for number in model.network.class_logits(_images(model, pixels[some]), model.tokens(texts[some]).to(device))
        .argmax(1)
        .tolist()
    ]


def captions_of(model: StoredNetwork, pixels: NDArray[np.uint8], beam: int) -> list[str]:
    """Captions of 8-bit images ``[n, S, S, 3]``."""
    return [
        text
        for some in blocks(len(pixels), BATCH)
        for text in caption(model.network, model.tokens, _images(model, pixels[some]), beam)
    ]


def _images(model: StoredNetwork, pixels: NDArray[np.uint8]) -> Tensor:
    device = model.network.vocabulary.device
    return pixels_of(model.network, torch.from_numpy(np.ascontiguousarray(pixels)).to(device))


def _joined(parts: Iterator[Tensor]) -> NDArray[np.float32]:
    return np.concatenate([part.float().cpu().numpy() for part in parts])


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of so many rows, of a size at most."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
