"""Optimises the pixels of an image."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from outfits.imaging.progress import Progress, silent

TOLD_EVERY = 25  # steps


class _Spent(Exception):
    """Ends a line search, which has no limit of its own, after the last evaluation."""


@dataclass(frozen=True)
class Optimised:
    """An image ``[B, 3, S, S]`` in [0, 1] that reached ``losses[-1]``, and before that the loss of every evaluation."""

    image: Tensor
    losses: list[float]


def optimised(
    start: Tensor, objective: Callable[[Tensor], Tensor], steps: int, *, lr: float = 0.5, progress: Progress = silent
) -> Optimised:
    """Minimises an objective over an image's pixels by L-BFGS with a strong Wolfe line search, as Gatys et al. do.

    The pixels are sigmoids of what is optimised, so they stay in [0, 1].

    Args:
        start: first image, ``[B, 3, S, S]`` in [0, 1].
        objective: differentiable loss of an image, shape ``[]``.
        steps: evaluations of the objective and its gradient.
        lr: first step length.
        progress: is told the evaluations so far and the loss; False stops with the best image so far.
    """
    logits = start.clamp(0.02, 0.98).logit().contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], lr=lr, max_iter=20, history_size=20, line_search_fn="strong_wolfe")
    losses: list[float] = []
    best = start.detach(), float("inf")

    def evaluate() -> Tensor:
        nonlocal best
        optimizer.zero_grad()
        image = logits.sigmoid()
        loss = objective(image)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        if losses[-1] < best[1]:
            best = image.detach().clone(), losses[-1]
        if len(losses) == steps:
            raise _Spent
        return loss

    told = -TOLD_EVERY
    while len(losses) < steps:
        with suppress(_Spent):
            optimizer.step(evaluate)  # type: ignore[no-untyped-call]
        if len(losses) - told >= TOLD_EVERY:
            told = len(losses)
            if not progress(told, steps, best[1]):
                break
    return Optimised(best[0], [*losses, best[1]])
