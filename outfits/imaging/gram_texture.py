"""Texture synthesis by Gram matrices (Gatys et al. 2015): an image is optimised until its statistics are a sample's."""

import torch
from torch import Tensor

from outfits.config.schema.imaging import TextureConfig
from outfits.imaging.gram import colour_loss, gram_loss, gram_matrix
from outfits.imaging.optimisation import Optimised, optimised
from outfits.imaging.progress import Progress, silent
from outfits.representations.losses import smoothness
from outfits.representations.perceptual import FrozenFeatures

NOISE = 0.15  # deviation of the first image about the sample's mean colour


def noise_about(sample: Tensor, size: int, seed: int) -> Tensor:
    """Draws noise ``[1, 3, size, size]`` about the mean colour of a sample ``[1, 3, h, w]``."""
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return (sample.mean(dim=(2, 3), keepdim=True) + NOISE * noise).clamp(0.0, 1.0)


@torch.no_grad()
def gram_distance(images: Tensor, sample: Tensor, features: FrozenFeatures) -> Tensor:
    """Returns the relative error of the images' Gram matrices, ``[B]``: 0 for the sample ``[1, 3, h, w]`` itself."""
    grams, targets = ([gram_matrix(map_) for map_ in features(some)] for some in (images, sample))
    return gram_loss(grams, targets)


def synthesised(
    sample: Tensor, features: FrozenFeatures, config: TextureConfig, *, seed: int = 0, progress: Progress = silent
) -> Optimised:
    """Optimises an image from noise to the Gram matrices of a sample.

    Args:
        sample: ``[1, 3, h, w]`` in [0, 1].
        features: the frozen network, at the layers that count.
        config: size, steps and the weight of smoothness.
        seed: of the noise.
        progress: see :func:`outfits.imaging.optimisation.optimised`.
    """
    start = noise_about(sample, config.size, seed)
    with torch.no_grad():
        targets = [gram_matrix(map_) for map_ in features(sample)]

    def objective(image: Tensor) -> Tensor:
        grams = [gram_matrix(map_) for map_ in features(image)]
        colour = config.colour_weight * colour_loss(image, sample)
        return (gram_loss(grams, targets) + colour + config.smoothness_weight * smoothness(image)).sum()

    return optimised(start, objective, config.steps, progress=progress)
