"""Gram matrices of feature maps: the statistics of a texture (Gatys et al. 2015), whole or within a mask."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def gram_matrix(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Returns :math:`G = F F^\top / (h w)` of maps ``[B, c, h, w]``, shape ``[B, c, c]`` (arXiv 1505.07376, eq. 2).

    With a mask ``[B, 1, S, S]`` in [0, 1] each place counts by the mask's mean over it, and the places' number by their
    sum: the Gram matrix of what is inside (arXiv 1611.07865).
    """
    if mask is None:
        flat = maps.flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[-1]
    weight = F.interpolate(mask, maps.shape[-2:], mode="area").flatten(2)
    flat = maps.flatten(2) * weight.sqrt()
    return flat @ flat.transpose(1, 2) / weight.sum(dim=2, keepdim=True).clamp(min=1e-6)


def gram_loss(grams: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    r"""Returns :math:`\sum_l \|G_l - \hat G_l\|^2 / \|\hat G_l\|^2`, shape ``[B]``.

    Layers differ by factors, so each error is relative to its target, where Gatys et al. divide by fixed sizes.

    Args:
        grams: Gram matrices ``[B, c, c]`` of some layers.
        targets: those to reach, ``[B, c, c]`` or ``[1, c, c]``.
    """
    terms = [
        (gram - target).square().sum(dim=(1, 2)) / target.square().sum(dim=(1, 2))
        for gram, target in zip(grams, targets, strict=True)
    ]
    return torch.stack(terms).sum(dim=0)


COARSENESS = (1, 4, 16)  # sides of the squares that colours are averaged over, pixels


def colour_loss(images: Tensor, sample: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Compares colours and their variation, which the convolutions of a network for recognition hardly see.

    :math:`\sum_k \|G(x_k - \mu) - G(s_k - \mu)\|^2 / \|G(s - \mu)\|^2` with :math:`\mu` the sample's mean colour and
    :math:`x_k` an image averaged over squares of :math:`k` pixels, for the sides of :data:`COARSENESS`.

    Args:
        images: ``[B, 3, S, S]``, S divisible by the largest of these sides.
        sample: ``[1, 3, h, w]``.
        mask: where images count, ``[B, 1, S, S]``; None: everywhere.

    Returns:
        The loss, ``[B]``.
    """
    mean = sample.mean(dim=(2, 3), keepdim=True)
    scale = gram_matrix(sample - mean).square().sum().clamp(min=1e-8)
    terms = [
        (gram_matrix(F.avg_pool2d(images - mean, side), mask) - gram_matrix(F.avg_pool2d(sample - mean, side)))
        .square()
        .sum(dim=(1, 2))
        for side in COARSENESS
    ]
    return torch.stack(terms).sum(dim=0) / scale
