"""Order-preserving warps: positive increments added up, and an affine part (arXiv 1806.06503)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

STRETCH = math.log(4.0)  # an increment lies between a quarter and four times that of the identity
SCALE, TURN, SHIFT = 0.4, 0.4, 0.5  # bounds of the affine part: log scale, radians, half sides


def increments(raw: Tensor) -> Tensor:
    r"""Positive increments, 1 for the identity: :math:`\exp(\log 4 \cdot \tanh(r))`, shape as given."""
    return (STRETCH * raw.tanh()).exp()


def grid_of(steps: Tensor) -> Tensor:
    """Sums increments to the sampling grid; no two pixels of a row or column change their order.

    Args:
        steps: positive increments, horizontal then vertical, in units of the identity's, shape ``[B, 2, S, S]``.

    Returns:
        Coordinates (x, y) in [-1, 1] within the image, as :func:`torch.nn.functional.grid_sample` takes them
        without aligned corners, shape ``[B, S, S, 2]``. Steps of 1 give the pixels' own centres.
    """
    side = steps.shape[-1]
    pixel = 2.0 / side
    # From the middle outwards, so that stretching does not shift an image.
    across = _centred(steps[:, 0].cumsum(dim=2) - 0.5 * steps[:, 0], dim=2) * pixel
    down = _centred(steps[:, 1].cumsum(dim=1) - 0.5 * steps[:, 1], dim=1) * pixel
    return torch.stack([across, down], dim=-1)


def _centred(position: Tensor, dim: int) -> Tensor:
    half = position.shape[dim] // 2
    before, after = position.narrow(dim, half - 1, 1), position.narrow(dim, half, 1)
    return position - 0.5 * (before + after)


def affine_of(raw: Tensor) -> Tensor:
    """Bounds ``[B, 5]`` log scales, angle and shift and builds affine maps ``[B, 2, 3]``; 0 is the identity.

    The maps never mirror and suit :func:`torch.nn.functional.affine_grid`.
    """
    across, down = (SCALE * raw[:, :2].tanh()).exp().unbind(dim=1)
    turn = TURN * raw[:, 2].tanh()
    shift = SHIFT * raw[:, 3:].tanh()
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([torch.stack([across * cos, -down * sin]), torch.stack([across * sin, down * cos])])  # [2, 2, B]
    return torch.cat([rows.permute(2, 0, 1), shift[:, :, None]], dim=2)


def transformed(grid: Tensor, affine: Tensor) -> Tensor:
    """Applies affine maps ``[B, 2, 3]`` to a grid ``[B, S, S, 2]``."""
    turned = torch.einsum("bhwi,bji->bhwj", grid, affine[:, :, :2])
    return turned + affine[:, None, None, :, 2]


def warped(template: Tensor, grid: Tensor) -> Tensor:
    """Samples the template's images ``[B, 3, S, S]`` at a grid ``[B, S, S, 2]``; white beyond their edges."""
    return 1.0 - F.grid_sample(1.0 - template, grid, align_corners=False)


def identity_grid(side: int, device: torch.device | None = None) -> Tensor:
    """Returns the pixels' own centres, shape ``[1, S, S, 2]``."""
    return grid_of(torch.ones(1, 2, side, side, device=device))
