"""Mixtures of discretised logistics: the distribution of a pixel's 256 levels in three channels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
LEAST_LOG_SCALE = -7.0  # exp(-7) is a ninth of a level: 97% of a component at a level's middle are on that level
HALF_LEVEL = 1.0 / (LEVELS - 1)


def parameters_of(mixtures: int) -> int:
    """Counts the parameters of a pixel: per component a weight, and for each channel mean, scale and coefficient."""
    return 10 * mixtures


def scaled(images: Tensor) -> Tensor:
    """Maps images in [0, 1] to [-1, 1] at the middle of their levels."""
    return (images * (LEVELS - 1)).round() / (LEVELS - 1) * 2.0 - 1.0


def means_and_log_scales(parameters: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    r"""Computes every component's mean and log scale in each channel, given the channels before it.

    Green's mean is a linear function of red, blue's one of red and green (Salimans et al. 2017, PixelCNN++):
    :math:`\mu_g + \alpha r`, :math:`\mu_b + \beta r + \gamma g`.

    Args:
        parameters: of the pixels, shape ``[B, 10·M, ...]``.
        pixels: their values in [-1, 1], shape ``[B, 3, ...]``.

    Returns:
        Two tensors ``[B, 3, M, ...]``; channel c of both depends on channels before c alone.
    """
    means, log_scales, coefficients = _split(parameters)[1:]
    red, green = pixels[:, :1], pixels[:, 1:2]
    shifts = [
        torch.zeros_like(means[:, 0]),
        coefficients[:, 0] * red,
        coefficients[:, 1] * red + coefficients[:, 2] * green,
    ]
    return means + torch.stack(shifts, dim=1), log_scales


def log_likelihood(parameters: Tensor, images: Tensor) -> Tensor:
    """Computes the log probability of every pixel, nats over its three channels.

    Args:
        parameters: shape ``[B, 10·M, H, W]``.
        images: in [0, 1] with 256 levels, shape ``[B, 3, H, W]``.

    Returns:
        Shape ``[B, H, W]``. The 256³ values of a pixel have probabilities that sum to one.
    """
    pixels = scaled(images)
    means, log_scales = means_and_log_scales(parameters, pixels)
    centred = pixels[:, :, None] - means  # [B, 3, M, H, W]
    narrowness = torch.exp(-log_scales)
    above, below = narrowness * (centred + HALF_LEVEL), narrowness * (centred - HALF_LEVEL)
    inside = torch.sigmoid(above) - torch.sigmoid(below)
    # where both tails are equal in float32, the density times the width of a level
    middle = narrowness * centred
    by_density = middle - log_scales - 2.0 * F.softplus(middle) + math.log(2 * HALF_LEVEL)
    between = torch.where(inside > 1e-5, inside.clamp(min=1e-12).log(), by_density)
    value = pixels[:, :, None]
    log_probability = torch.where(
        value < -1.0 + HALF_LEVEL,
        above - F.softplus(above),
        torch.where(value > 1.0 - HALF_LEVEL, -F.softplus(below), between),
    )
    of_component = log_probability.sum(dim=1) + _split(parameters)[0].log_softmax(dim=1)  # [B, M, H, W]
    return of_component.logsumexp(dim=1)


def sample_pixels(parameters: Tensor, generator: torch.Generator) -> Tensor:
    """Draws pixels ``[B, 3]`` in [0, 1], at one of 256 levels, from parameters ``[B, 10·M]``."""
    logits = _split(parameters)[0]  # [B, M]
    component = torch.multinomial(logits.softmax(dim=1).cpu(), 1, generator=generator).to(logits.device)  # [B, 1]
    pixel = parameters.new_zeros(len(parameters), 3)
    for channel in range(3):
        of_components = means_and_log_scales(parameters, pixel)  # [B, 3, M] each
        means, log_scales = (part[:, channel].gather(1, component)[:, 0] for part in of_components)
        uniform = torch.rand(len(pixel), generator=generator).clamp(1e-5, 1 - 1e-5).to(pixel)
        drawn = means + log_scales.exp() * (uniform.log() - (-uniform).log1p())
        pixel[:, channel] = scaled((drawn.clamp(-1.0, 1.0) + 1.0) / 2.0)
    return ((pixel + 1.0) / 2.0 * (LEVELS - 1)).round() / (LEVELS - 1)


def bits_per_dimension(nats: Tensor, dimensions: int) -> Tensor:
    """Converts negative log likelihoods of whole images, nats, to bits per channel value."""
    return nats / (dimensions * math.log(2.0))


def _split(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns logits ``[B, M, ...]`` and means, log scales, coefficients ``[B, 3, M, ...]``."""
    mixtures = parameters.shape[1] // 10
    logits, rest = parameters[:, :mixtures], parameters[:, mixtures:]
    of_channels = rest.reshape(len(rest), 3, 3, mixtures, *rest.shape[2:])
    means, log_scales, coefficients = of_channels.unbind(dim=1)
    return logits, means, log_scales.clamp(min=LEAST_LOG_SCALE), coefficients.tanh()
