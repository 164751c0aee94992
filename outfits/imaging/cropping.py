"""Crops of images for training, since most of a product image is its empty background."""

import torch
from torch import Tensor

from outfits.representations.batch import ImageBatch


def garment_crops(batch: ImageBatch, side: int) -> Tensor:
    """Cuts a square around a random pixel of each garment, and mirrors half of them; ``[B, 3, side, side]``.

    A pixel's chance is its probability to belong to the garment. Squares are moved into the image; one as large as
    the image is the image.
    """
    images, size = batch.images, batch.images.shape[-1]
    side = min(side, size)
    chances = batch.foreground.flatten(1) + 1e-6  # of an image without a garment, every pixel's alike
    pixels = torch.multinomial(chances, 1)[:, 0]
    top, left = (
        (place - side // 2).clamp(0, size - side) for place in (pixels.div(size, rounding_mode="floor"), pixels % size)
    )
    mirrored = torch.rand(len(batch), device=images.device) < 0.5
    along = torch.arange(side, device=images.device)
    rows, columns = top[:, None] + along, left[:, None] + along
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    picked = images.permute(0, 2, 3, 1)[torch.arange(len(batch))[:, None, None], rows[:, :, None], columns[:, None]]
    return picked.permute(0, 3, 1, 2).contiguous()
