"""Diagonal Gaussians of variational autoencoders: sampling, divergence, likelihood, and the schedule of beta."""

import math

import torch
from torch import Tensor


def reparameterised(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Samples :math:`z = \mu + \sigma \odot \epsilon`, ``[B, d]``, differentiably (arXiv 1312.6114, section 2.4)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of every coordinate from the standard normal, nats, shape ``[B, d]``.

    :math:`\mathrm{KL}(\mathcal N(\mu, \sigma^2) \| \mathcal N(0, 1)) = (\mu^2 + \sigma^2 - \log \sigma^2 - 1) / 2`
    (arXiv 1312.6114, appendix B).
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def with_free_bits(kl: Tensor, free: float) -> Tensor:
    r"""Sums the divergences ``[B, d]`` to :math:`\sum_j \max(\lambda, \overline{\mathrm{KL}}_j)`, nats, shape ``[]``.

    The first :math:`\lambda` (``free``) nats of each coordinate, on average over the batch, are free, so that no
    coordinate collapses early (arXiv 1606.04934, section C.8).
    """
    return kl.mean(dim=0).clamp(min=free).sum()


def gaussian_log_likelihood(images: Tensor, means: Tensor, deviation: float, weight: Tensor) -> Tensor:
    r"""Log-likelihood of images under independent :math:`\mathcal N(\hat x_i, s^2 / w_i)`, nats, shape ``[B]``.

    Args:
        images: shape ``[B, 3, S, S]``.
        means: the decoder's images, same shape.
        deviation: :math:`s`, in units of the pixel range.
        weight: precision of each pixel relative to :math:`1 / s^2`, positive, shape ``[B, 1, S, S]``.
    """
    squared = (images - means).square() * weight / (2 * deviation**2)
    constant = math.log(deviation) + 0.5 * math.log(2 * math.pi)
    return -(squared + constant - 0.5 * weight.log()).flatten(1).sum(dim=1)


def beta_at(progress: float, beta: float, start: float | None, fall: float) -> float:
    r"""Weight of the divergence at ``progress``, a share of training in [0, 1].

    It decreases geometrically from ``start`` to ``beta`` during the first share ``fall`` of training and stays there;
    without ``start`` it is ``beta`` throughout.
    """
    if start is None or progress >= fall:
        return beta
    return float(start * (beta / start) ** (progress / fall))
