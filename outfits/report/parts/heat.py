"""Draws over an image which of its parts speak more, and which less, for its showing the same item as another."""

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

MORE, LESS = "#0072b2", "#d55e00"  # told apart by readers who see few colours too
STRONGEST = 0.6  # opacity of the largest effect
PALE = 0.45  # how far the image below is lightened


def heat_map(image: Image.Image, effects: NDArray[np.float32], most: float) -> Image.Image:
    """Lays effects over an image.

    Args:
        image: any image; it is padded to a square, as the network saw it.
        effects: what each cell of a grid adds to the logit beside the mean cell, shape ``[g, g]``.
        most: effect that has the full colour, so that two images can share a scale.
    """
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    share = np.clip(effects / max(most, 1e-12), -1, 1).astype(np.float32)
    smooth = np.asarray(Image.fromarray(share).resize((side, side), Image.Resampling.BILINEAR))[..., None]
    colour = np.where(smooth > 0, 255 * np.array(to_rgb(MORE)), 255 * np.array(to_rgb(LESS)))
    pale = np.asarray(square) * (1 - PALE) + 255 * PALE
    opacity = STRONGEST * np.abs(smooth)
    return Image.fromarray(np.rint(pale * (1 - opacity) + colour * opacity).clip(0, 255).astype(np.uint8))
