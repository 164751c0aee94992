"""Losses of the multi-task network (Han et al. 2023), and of learning from models for a task each."""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # target of places without a word, for cross-entropy


def alike(ids: Tensor) -> Tensor:
    """Which other samples of a batch are the same by their numbers ``[B]``, bool, ``[B, B]``; a sample is no other."""
    return (ids[:, None] == ids[None]) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)


def info_nce(queries: Tensor, targets: Tensor, scale: Tensor, excluded: Tensor | None = None) -> Tensor:
    r"""InfoNCE, :math:`-\frac{1}{B} \sum_i \log \frac{\exp(x_i^\top y_i / \tau)}{\sum_j \exp(x_i^\top y_j / \tau)}`.

    Args:
        queries: x, shape ``[B, d]``.
        targets: y, shape ``[B, d]``.
        scale: :math:`1 / \tau`, a scalar.
        excluded: bool, shape ``[B, B]``, pairs that are left out of the sum since they are no wrong ones; None: none.
    """
    logits = contrasts(queries, targets, scale, excluded)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def symmetric_info_nce(images: Tensor, texts: Tensor, scale: Tensor, excluded: Tensor | None = None) -> Tensor:
    r""":math:`\frac{1}{2} [\mathrm{InfoNCE}(T, I) + \mathrm{InfoNCE}(I, T)]`; arguments as of :func:`info_nce`."""
    transposed = None if excluded is None else excluded.T
    return (info_nce(images, texts, scale, excluded) + info_nce(texts, images, scale, transposed)) / 2


def contrasts(queries: Tensor, targets: Tensor, scale: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Logits ``[B, B]`` of every target for every query; arguments as of :func:`info_nce`."""
    logits = scale * queries @ targets.T
    return logits if excluded is None else logits.masked_fill(excluded, -torch.inf)


def soft_cross_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean over rows of :math:`-\sum_j p_j \log q_j`, p and q the softmax of the teacher's and the student's logits.

    Args:
        student: logits, shape ``[..., C]``.
        teacher: logits of the same shape, without gradients; minus infinity in both is no choice.
    """
    wanted, log_found = teacher.softmax(-1), student.log_softmax(-1)
    return -torch.where(wanted > 0, wanted * log_found, 0.0).sum(-1).mean()


def word_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the next words ``[B, L]``, some of which are :data:`IGNORED`, by logits ``[B, L, words]``."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
