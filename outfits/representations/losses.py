"""Terms of the image models' losses, besides likelihood and divergence."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pixel_weight(foreground: Tensor, background: float) -> Tensor:
    """Weights of pixels, with mean 1 in each image, shape ``[B, 1, S, S]``.

    Most of a product image is a near-white background; weighted like the garment it would dominate the loss.

    Args:
        foreground: probability that a pixel belongs to the garment, in [0, 1], shape ``[B, 1, S, S]``.
        background: weight of the background relative to the garment, in (0, 1].
    """
    weight = background + (1.0 - background) * foreground
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


def squared_error(images: Tensor, reconstructions: Tensor, weight: Tensor) -> Tensor:
    """Mean weighted squared error over pixels and channels, shape ``[B]``; ``weight`` from :func:`pixel_weight`."""
    return ((images - reconstructions).square() * weight).mean(dim=(1, 2, 3))


def feature_distance(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    r"""Distance of two images in a frozen network's features, maps ``[B, c, h, w]`` of some layers; shape ``[B]``.

    :math:`\sum_l \mathrm{mean}_{hw} \|\hat\phi_l(x) - \hat\phi_l(\hat x)\|^2`, every position's channels scaled to unit
    length, as in LPIPS (arXiv 1801.03924, equation 1) with all channel weights 1.
    """
    total = features[0].new_zeros(len(features[0]))
    for map_, target in zip(features, targets, strict=True):
        apart = F.normalize(map_, dim=1, eps=1e-6) - F.normalize(target, dim=1, eps=1e-6)
        total = total + apart.square().sum(dim=1).mean(dim=(1, 2))
    return total


def perceptual_loss(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    r"""Squared distance in a frozen network's features, maps ``[B, c, h, w]`` of some layers; shape ``[]``.

    :math:`\sum_l w_l \frac{1}{C_l H_l W_l} \|\phi_l(x) - \phi_l(y)\|^2`, mean over the batch (arXiv 1603.08155, eq. 2).
    The weight of a layer is one over the mean square of its target maps, which differ by factors between layers.
    """
    pairs = zip(features, targets, strict=True)
    return torch.stack([F.mse_loss(map_, target) / target.square().mean() for map_, target in pairs]).sum()


def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference of vertical and horizontal neighbours, shape ``[B]``; maps ``[B, c, h, w]``."""
    down = (maps[:, :, 1:] - maps[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (maps[:, :, :, 1:] - maps[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def smoothness(maps: Tensor) -> Tensor:
    """Mean squared difference of vertical and horizontal neighbours, shape ``[B]``; maps ``[B, c, h, w]``."""
    down = (maps[:, :, 1:] - maps[:, :, :-1]).square().mean(dim=(1, 2, 3))
    across = (maps[:, :, :, 1:] - maps[:, :, :, :-1]).square().mean(dim=(1, 2, 3))
    return down + across


def info_nce(images: Tensor, texts: Tensor, temperature: Tensor, text_ids: Tensor) -> Tensor:
    r"""Symmetric InfoNCE between images and their texts, shape ``[]`` (arXiv 2103.00020, figure 3; arXiv 1807.03748).

    Mean of two cross-entropies over :math:`\cos(p_i, t_j) / \tau`: the true text among all texts and the true image
    among all images. Items of equal texts are no negatives of each other: they are indistinguishable.

    Args:
        images: embeddings, shape ``[B, d]``.
        texts: embeddings, shape ``[B, d]``.
        temperature: :math:`\tau`, a scalar tensor.
        text_ids: equal for equal texts, shape ``[B]``.
    """
    logits = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T / temperature  # [B, B]
    same = text_ids[:, None] == text_ids[None]
    others = same & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(others, -torch.inf)
    true = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, true) + F.cross_entropy(logits.T, true))
