"""Losses of the compatibility model and of the generator."""

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.5, gamma: float = 2.0) -> Tensor:
    r"""Mean binary focal loss, :math:`-\alpha_t (1 - p_t)^\gamma \log p_t` (arXiv 1708.02002).

    Args:
        logits: shape ``[B]``, before any sigmoid.
        labels: 0 or 1, shape ``[B]``.
        alpha: weight of the positive class; the negative class weighs ``1 - alpha``.
        gamma: focusing exponent; 0 is weighted cross-entropy.
    """
    labels = labels.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p_t = torch.exp(-cross_entropy)
    alpha_t = alpha * labels + (1 - alpha) * (1 - labels)
    return (alpha_t * (1 - p_t) ** gamma * cross_entropy).mean()


def given_score_loss(logits: Tensor, scores: Tensor, kind: str) -> Tensor:
    """Mean ``mse`` of the sigmoid, or ``cross_entropy`` with soft labels, of logits and given scores, both ``[B]``."""
    if kind == "mse":
        return F.mse_loss(torch.sigmoid(logits), scores)
    return F.binary_cross_entropy_with_logits(logits, scores)


def best_assignment(distance: Tensor) -> Tensor:
    r"""Finds the permutation :math:`\pi` that minimises :math:`\sum_j D_{\pi(j), j}` for every matrix of a batch.

    Compares all k! permutations at once: k is at most 8, and a batched gather beats leaving the device for a Hungarian
    solver.

    Args:
        distance: latent-to-target distances, shape ``[B, k, k]``, latents in rows.

    Returns:
        For every target the latent assigned to it, int64, shape ``[B, k]``.
    """
    k = distance.shape[-1]
    orders = torch.tensor(list(permutations(range(k))), device=distance.device)  # [k!, k]
    total = distance[:, orders, torch.arange(k, device=distance.device)].sum(-1)  # [B, k!]
    return orders[total.argmin(-1)]


def assignment_cost(distance: Tensor, present: Tensor, alike: Tensor) -> Tensor:
    """Cost of assigning latents to targets, where targets may be absent and latents answer conditions.

    Args:
        distance: latent-to-target distances in [0, 2], shape ``[B, k, k]``, latents in rows.
        present: which targets there are, bool, shape ``[B, k]``; an absent one costs nothing and takes what is left.
        alike: whether missing items i and j have the same condition, bool, shape ``[B, k, k]``; a latent is
            for targets of its own condition alone.

    Returns:
        Cost, shape ``[B, k, k]``, latents in rows, for :func:`best_assignment`.
    """
    unlike = 4.0 * distance.shape[-1]  # more than all distances of an assignment together
    return torch.where(present[:, None], distance + unlike * (~alike), 0.0)


def cosine_distance_to_targets(latents: Tensor, targets: Tensor) -> Tensor:
    r"""Cosine distances :math:`\rho(z_i, X_j) = 1 - \cos(z_i, X_j)` of ``[B, k, r]`` each, ``[B, k, k]``, z in rows."""
    return 1 - F.normalize(latents, dim=-1) @ F.normalize(targets, dim=-1).transpose(1, 2)


def listwise_distillation(similarity: Tensor, target: Tensor, temperature: Tensor, absent: Tensor) -> Tensor:
    r"""Cross-entropy :math:`-\sum_x p_S(x) \log \mathrm{softmax}_x(\cos(z, x)/\tau)`, listwise as in ListNet.

    Args:
        similarity: cosines of every latent with its candidates, shape ``[..., M]``.
        target: the scorer's distribution over the same candidates, shape ``[..., M]``, rows summing to 1.
        temperature: :math:`\tau`, a positive scalar tensor.
        absent: bool, shape ``[..., M]``, places without a candidate; their target must be 0.

    Returns:
        Loss of every list, shape ``[...]``.
    """
    # masks after the division: the temperature's gradient of an infinite cosine would be NaN
    log_probability = F.log_softmax((similarity / temperature).masked_fill(absent, -torch.inf), dim=-1)
    return -torch.where(target > 0, target * log_probability, 0.0).sum(-1)


def set_wise_ranking(true: Tensor, wrong: Tensor, absent: Tensor, margin: float) -> Tensor:
    r"""Hinge over all wrong items plus hinge over the hardest (arXiv 2204.04812, section 3.3).

    :math:`\frac{1}{c} \sum_j [m - s^+ + s_j^-]_+ + [m - s^+ + \max_j s_j^-]_+`, averaged over the sets.

    Args:
        true: scores of the true items, shape ``[B]``.
        wrong: scores of wrong items, shape ``[B, c]``.
        absent: bool, shape ``[B, c]``, places without a wrong item; a set without any costs nothing.
        margin: :math:`m`.
    """
    hinge = (margin - true[:, None] + wrong).clamp(min=0).masked_fill(absent, 0)
    return (hinge.sum(1) / (~absent).sum(1).clamp(min=1) + hinge.amax(1)).mean()
