"""Measures what a conditional generator draws: its masks, and whether views do what they say."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.imaging_conditional import ViewConfig
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.views import VIEW

MARKED = 0.5  # a mask's pixels from here on belong to the garment


def overlap(masks: Tensor, originals: Tensor) -> Tensor:
    """Intersection over union of masks ``[n, 1, S, S]`` in [0, 1], shape ``[n]``; 1 where both are empty."""
    one, other = masks >= MARKED, originals >= MARKED
    union = (one | other).sum(dim=(1, 2, 3))
    shared = (one & other).sum(dim=(1, 2, 3)).float()
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)


@torch.inference_mode()
def obeyed_views(
    model: ConditionalGenerator, conditions: Tensor, config: ViewConfig, seed: int
) -> dict[str, tuple[float, float]]:
    """Compares what views ask for with what the drawn images show against those without a view.

    Place is the mask's centre, size the square root of its area, brightness the mean of the image within it.

    Args:
        model: a generator with views.
        conditions: shape ``[n, d]``.
        config: how far views reach.
        seed: of one random view for each condition.

    Returns:
        By the names in :data:`VIEW`: the correlation of asked and shown changes, and the slope of the shown change
        per asked one; 1 for both is obedience. NaN where a view asks for nothing.
    """
    views = torch.rand(len(conditions), len(VIEW), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
    before, after = _facts(*model(conditions)), _facts(*model(conditions, views.to(conditions)))
    shown = np.stack(
        [*(after[:2] - before[:2]), np.log(after[2] / before[2]) / 2.0, np.log(after[3] / before[3])]
    )  # [4, n]
    sizes = (config.place, config.place, config.size, config.brightness)
    asked = views.double().numpy().T * np.array(sizes)[:, None]
    asked[2:] = np.log1p(asked[2:])
    return {name: _line(asked[place], shown[place]) for place, name in enumerate(VIEW)}


def _facts(images: Tensor, masks: Tensor) -> NDArray[np.float64]:
    """Centre across and down, shares of the side, area, and brightness of drawn garments, shape ``[4, n]``."""
    side = masks.shape[-1]
    axis = (torch.arange(side, device=masks.device) + 0.5) / side
    mass = masks[:, 0].double()  # [n, S, S]
    area = mass.sum(dim=(1, 2)).clamp(min=1e-6)
    across, down = (mass.sum(dim=1) * axis).sum(dim=1) / area, (mass.sum(dim=2) * axis).sum(dim=1) / area
    inside = mass.pow(8)  # edges, where the background mixes in, hardly count
    light = (images.double().mean(dim=1) * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1e-6)
    return torch.stack([across, down, area, light.clamp(min=1e-6)]).cpu().numpy()


def _line(asked: NDArray[np.float64], shown: NDArray[np.float64]) -> tuple[float, float]:
    if asked.std() == 0 or shown.std() == 0:
        return float("nan"), float("nan")
    slope = np.cov(asked, shown)[0, 1] / asked.var(ddof=1)
    return float(np.corrcoef(asked, shown)[0, 1]), float(slope)
