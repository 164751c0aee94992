"""Samples of fabric: drawn patterns, and squares cut from garments."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.data.synthetic.canvas import draw_fabric
from outfits.data.synthetic.wardrobe import PATTERNS
from outfits.errors import ConfigError

COLOURS = ((176, 58, 66), (38, 70, 120), (60, 110, 84), (196, 150, 60))  # of drawn patterns, in turn
DRAWN = "drawn:"
EDGE = 0.9  # least probability of a pixel of a cut square to belong to the garment


def drawn_swatch(pattern: str, side: int, place: int = 0, *, seed: int = 0, key: str = "") -> Tensor:
    """Draws a pattern of the drawn garments, ``[3, side, side]`` in [0, 1]; ``place`` chooses its colour.

    Raises ConfigError, naming ``key``, if there is no such pattern.
    """
    if pattern not in PATTERNS:
        raise ConfigError([f"{key}: there is no drawn pattern {pattern!r}; there are {', '.join(PATTERNS)}"])
    rng = np.random.default_rng([seed, place])
    pixels = np.asarray(draw_fabric(COLOURS[place % len(COLOURS)], pattern, side, rng), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def mirrored(square: Tensor, side: int) -> Tensor:
    """Repeats a square of fabric ``[3, s, s]`` by mirroring until it fills ``[3, side, side]``."""
    period = square.shape[-1]
    places = torch.arange(side) % (2 * period)
    places = torch.minimum(places, 2 * period - 1 - places)
    return square[:, places][:, :, places]


def fabric_square(image: Tensor, foreground: Tensor, side: int) -> Tensor | None:
    """Cuts the square of a garment's fabric that varies most, ``[3, side, side]``; None where no square is whole.

    Args:
        image: ``[3, S, S]`` in [0, 1].
        foreground: probability that a pixel belongs to the garment, ``[1, S, S]``.
        side: of the square, pixels.
    """
    if side > image.shape[-1]:
        return None
    inside = F.avg_pool2d((foreground[None] > EDGE).float(), side, stride=1)[0, 0]
    means, squares = (F.avg_pool2d(part[None], side, stride=1)[0] for part in (image, image.square()))
    variance = (squares - means.square()).sum(dim=0)
    spread = torch.where(inside > 1 - 1e-6, variance, -torch.inf)
    if not torch.isfinite(spread.max()):
        return None
    top, left = divmod(int(spread.argmax()), spread.shape[1])
    return image[:, top : top + side, left : left + side].clone()
