"""What a batch of pictures is, and how training pictures are varied and corrupted."""

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PictureBatch:
    """Pictures of items with what some models learn from beside them.

    Attributes:
        pictures: RGB in [0, 1], shape ``[B, 3, S, S]``; the backdrop is near white.
        foreground: how surely a pixel belongs to the garment, in [0, 1], shape ``[B, 1, S, S]``.
        categories: category of every item, int64, shape ``[B]``.
        texts: frozen text embeddings, shape ``[B, t]``; t is 0 for models that see no texts.
        text_ids: items of equal texts have equal numbers, int64, shape ``[B]``.
    """

    pictures: Tensor
    foreground: Tensor
    categories: Tensor
    texts: Tensor
    text_ids: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: torch.device | str) -> "PictureBatch":
        """The batch on another device (Lightning calls it)."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


def varied(batch: PictureBatch, *, flip: bool, shift: float, light: float) -> PictureBatch:
    """The batch as other photos of the same garments might show it.

    Args:
        batch: pictures.
        flip: mirror half of the pictures left to right.
        shift: move each picture by up to this share of its side in both directions; white comes in at the edges.
        light: make each picture brighter or darker by up to this share.
    """
    pictures, foreground = batch.pictures, batch.foreground
    count, device = len(batch), pictures.device
    if flip or shift > 0:
        theta = torch.zeros(count, 2, 3)
        mirrored = torch.randint(0, 2, (count,)) if flip else torch.zeros(count)
        theta[:, 0, 0] = 1.0 - 2.0 * mirrored
        theta[:, 1, 1] = 1.0
        theta[:, :, 2] = (2 * torch.rand(count, 2) - 1) * 2 * shift  # the grid's side is 2
        both = torch.cat([1.0 - pictures, foreground], dim=1)  # white is 0, which grid_sample fills in
        grid = F.affine_grid(theta.to(device, pictures.dtype), list(both.shape), align_corners=False)
        both = F.grid_sample(both, grid, align_corners=False)
        pictures, foreground = 1.0 - both[:, :3], both[:, 3:]
    if light > 0:
        factor = 1.0 + (2 * torch.rand(count, 1, 1, 1) - 1).to(device, pictures.dtype) * light
        pictures = (pictures * factor).clamp(0.0, 1.0)
    return replace(batch, pictures=pictures, foreground=foreground)


def corrupted(pictures: Tensor, *, noise: float, masked: float, patch: int) -> Tensor:
    """Pictures with white noise and masked patches, for a denoising autoencoder (Vincent et al. 2008) to mend.

    Args:
        pictures: shape ``[B, 3, S, S]``.
        noise: standard deviation of Gaussian noise, in units of the pixel range.
        masked: share of the patches that become mid grey, which no backdrop is.
        patch: side of a patch, pixels; divides S.

    Returns:
        Corrupted pictures, same shape, in [0, 1].
    """
    if noise > 0:
        pictures = pictures + noise * torch.randn_like(pictures)
    if masked > 0:
        cells = pictures.shape[-1] // patch
        hidden = (torch.rand(len(pictures), 1, cells, cells) < masked).to(pictures.device)
        hidden = hidden.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
        pictures = torch.where(hidden, 0.5, pictures)
    return pictures.clamp(0.0, 1.0)
