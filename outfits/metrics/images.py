"""Compares images with their originals, and sets of images with each other."""

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from outfits.representations.base import Features
from outfits.representations.losses import feature_distance

MOST_PSNR = 100.0  # decibels; of equal images they would be infinite, and so would be every mean over images


@torch.inference_mode()
def fidelity(images: Tensor, originals: Tensor, features: Features) -> dict[str, Tensor]:
    """Measures images against their originals, both ``[B, 3, S, S]`` in [0, 1].

    Returns:
        ``psnr``, decibels for a range of 1, at most :data:`MOST_PSNR`, that of equal images; ``ssim``, with Gaussian
        windows of 11 pixels (Wang et al. 2004); and ``distance`` of
        :func:`outfits.representations.losses.feature_distance`; each of shape ``[B]``.
    """
    psnr: Tensor = peak_signal_noise_ratio(images, originals, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(images, originals, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    distance = feature_distance(features(images), features(originals))
    return {"psnr": psnr.clamp(max=MOST_PSNR), "ssim": ssim, "distance": distance}
