"""The relaxed completion: free embeddings ascend S by Adam, the weights of S frozen."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from outfits.completion.gradient.projection import ItemSpace
from outfits.models.compatibility import OutfitTransformer

_REFRESH = 10  # steps between two searches for the nearest items of the penalty
_SHORTEST = 1e-3  # shortest step, in embedding units, with a difference quotient above the rounding of S
# S is flat in its tails: with Adam's own 1e-8 a gradient of that size would hardly move anything.
_EPSILON = 1e-15


@dataclass(frozen=True)
class RelaxedTask:
    r"""The objective of ``m`` sets of ``k`` free embeddings.

    It is :math:`\alpha S(O \cup \tilde X) + (1 - \alpha) \sum_i S_X(\tilde X_i, \hat T_i) - \lambda \frac1k
    \sum_i \min_x |\tilde X_i - x|^2`. S ascends, not its logit: they have one optimum, but the logit is unbounded, and
    following it past S = 1 only moves away from every real item.

    Attributes:
        given: tokens of the fixed items, shape ``[m, n, width]``.
        feasible: categories that each embedding may take, bool, shape ``[m, k, C]``.
        texts: texts of conditions of unit length, zero for none, shape ``[m, k, text_dim]``; None: no text anywhere.
        alpha: weight of S, float64, shape ``[m]``; 1 where there is no text.
        penalty: :math:`\lambda`, weight of the mean squared distance to the nearest allowed item.
    """

    given: Tensor
    space: ItemSpace
    feasible: Tensor
    texts: Tensor | None
    alpha: Tensor
    penalty: float = 0.0

    def take(self, rows: Tensor) -> "RelaxedTask":
        """The objective of these sets."""
        return replace(
            self,
            given=self.given[rows],
            feasible=self.feasible[rows],
            texts=None if self.texts is None else self.texts[rows],
            alpha=self.alpha[rows],
        )


@dataclass(frozen=True)
class RelaxedValue:
    """Objectives and S at ``m`` sets of free embeddings, float64 ``[m]``, with their gradients ``[m, k, d]``."""

    objectives: Tensor
    scores: Tensor
    slope: Tensor
    score_slope: Tensor


@dataclass(frozen=True)
class RelaxedOptimum:
    """The optimum of ``m`` ascents.

    Attributes:
        points: the free embeddings of the best objective on the path, shape ``[m, k, d]``; they are no real items.
        objectives: the objective there, float64, shape ``[m]``.
        scores: S there, float64, shape ``[m]``.
        lipschitz: steepest slope of S seen on the path, float64, shape ``[m]``.
    """

    points: Tensor
    objectives: Tensor
    scores: Tensor
    lipschitz: Tensor

    def take(self, rows: Tensor) -> "RelaxedOptimum":
        """The optima of these sets."""
        return RelaxedOptimum(self.points[rows], self.objectives[rows], self.scores[rows], self.lipschitz[rows])


def ascend(scorer: OutfitTransformer, task: RelaxedTask, start: Tensor, steps: int, lr: float) -> RelaxedOptimum:
    r"""Ascends the objective in embedding space by Adam (arXiv 1412.6980).

    If :math:`|S(Z) - S(Z')| \le M \sum_i |Z_i - Z'_i|` for all sets of embeddings, then :math:`M \ge |\partial S /
    \partial Z_i|` for every i, since one embedding may move alone along its own gradient. So the steepest of these
    gradients, and of the difference quotients between steps, is a lower bound of M.

    Args:
        scorer: frozen compatibility model in evaluation mode.
        task: what to ascend.
        start: free embeddings, shape ``[m, k, d]``.
        steps: gradients of S per set.
        lr: Adam's step size, in embedding units.

    Raises:
        ValueError: if the scorer is in training mode, ``steps < 1`` or S is not finite.
    """
    if scorer.training:
        raise ValueError("the scorer is in training mode; dropout would make its gradients random")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    with torch.inference_mode(False):
        points = start.clone()
        optimizer = torch.optim.Adam([points], lr=lr, eps=_EPSILON, maximize=True)
        nearest: Tensor | None = None
        nothing = torch.zeros(len(points), dtype=torch.float64, device=points.device)
        last = best = RelaxedOptimum(points.clone(), nothing - torch.inf, nothing, nothing)
        for step in range(steps):
            if task.penalty and step % _REFRESH == 0:
                nearest = task.space.vectors[task.space.nearest(points.flatten(0, 1), task.feasible.flatten(0, 1))]
                nearest = nearest.view_as(points)
            value = relaxed_value(scorer, task, points, nearest)
            if not torch.isfinite(value.objectives).all():
                raise ValueError("S is not finite; its weights or the item embeddings are damaged")
            steepest = value.score_slope.double().norm(dim=2).amax(dim=1)
            here = RelaxedOptimum(points.clone(), value.objectives, value.scores, steepest)
            best, last = _better(best, here, _quotient(last, here)), here
            points.grad = value.slope
            optimizer.step()
    return best


def relaxed_value(
    scorer: OutfitTransformer, task: RelaxedTask, points: Tensor, nearest: Tensor | None = None
) -> RelaxedValue:
    """The objective at points ``[m, k, d]`` and its gradient, one gradient of S per set.

    ``nearest [m, k, d]`` are the nearest real items of the penalty; None: no penalty.
    """
    with torch.inference_mode(False), torch.enable_grad():
        points = points.detach().clone().requires_grad_()
        present = torch.ones(
            *points.shape[:2], 2, dtype=torch.bool, device=points.device
        )  # free embeddings lack nothing
        # The plain kernel of attention: the fused ones may add up gradients in another order each time.
        with sdpa_kernel(SDPBackend.MATH):
            logits = scorer.forward_tokens(torch.cat([task.given, scorer.tokens(points, present)], dim=1))
            scores = torch.sigmoid(logits.double())  # in double precision S = 1 - 1e-9 still has a slope
            (score_slope,) = torch.autograd.grad(scores.sum(), points)
        objectives, slope = task.alpha * scores.detach(), task.alpha.float()[:, None, None] * score_slope
        beside = torch.zeros_like(objectives)
        if task.texts is not None:
            similarity = text_similarity(points, present, task.texts, task.space).double().sum(dim=1)
            beside = beside + (1 - task.alpha) * similarity
        if nearest is not None:
            beside = beside - task.penalty * (points - nearest).square().sum(dim=2).mean(dim=1).double()
        if beside.requires_grad:
            objectives = objectives + beside.detach()
            slope = slope + torch.autograd.grad(beside.sum(), points)[0]
    return RelaxedValue(objectives, scores.detach(), slope, score_slope)


def text_similarity(points: Tensor, present: Tensor, texts: Tensor, space: ItemSpace) -> Tensor:
    """Similarity in [-1, 1], shape ``[m, k]``, of embeddings ``[m, k, d]`` to texts ``[m, k, text_dim]``.

    It is :class:`outfits.models.similarity.TextSimilarity` for embeddings of any length, differentiable. A zero text is
    none; ``present`` has shape ``[m, k, 2]``.
    """
    parts = [(1, points[..., space.image_dim :])]
    if space.shared_space:
        parts.append((0, points[..., : space.image_dim]))
    cosines = [present[..., part] * F.cosine_similarity(vectors, texts, dim=-1) for part, vectors in parts]
    count = sum(present[..., part].long() for part, _ in parts)
    return torch.stack(cosines).sum(dim=0) / torch.as_tensor(count).clamp(min=1)


def _better(best: RelaxedOptimum, here: RelaxedOptimum, quotient: Tensor) -> RelaxedOptimum:
    """The better of two points of every set, with the steepest slope seen so far."""
    better = here.objectives > best.objectives
    return RelaxedOptimum(
        torch.where(better[:, None, None], here.points, best.points),
        torch.where(better, here.objectives, best.objectives),
        torch.where(better, here.scores, best.scores),
        torch.maximum(torch.maximum(best.lipschitz, here.lipschitz), quotient),
    )


def _quotient(last: RelaxedOptimum, here: RelaxedOptimum) -> Tensor:
    """Change of S over distance moved between two points, 0 where they are too close to tell."""
    moved = (here.points - last.points).double().norm(dim=2).sum(dim=1)
    return torch.where(moved > _SHORTEST, (here.scores - last.scores).abs() / moved, 0.0)
