"""Batches of images, their augmentation and corruption."""

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.config.schema.representation import AugmentationConfig, CorruptionConfig


@dataclass(frozen=True)
class ImageBatch:
    """Images of items and further inputs of some models.

    Attributes:
        images: RGB in [0, 1], shape ``[B, 3, S, S]``; the background is near white.
        foreground: probability that a pixel belongs to the garment, in [0, 1], shape ``[B, 1, S, S]``.
        categories: int64, shape ``[B]``.
        texts: frozen text embeddings, shape ``[B, t]``; t is 0 for models without texts.
        text_ids: equal for equal texts, int64, shape ``[B]``.
    """

    images: Tensor
    foreground: Tensor
    categories: Tensor
    texts: Tensor
    text_ids: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageBatch":
        """Moves the batch to another device (Lightning calls it)."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


def augmented(batch: ImageBatch, config: AugmentationConfig) -> ImageBatch:
    """Augments images; white fills the edges of moved ones."""
    images, foreground = batch.images, batch.foreground
    count, device = len(batch), images.device
    if config.flip or config.translate > 0:
        theta = torch.zeros(count, 2, 3)
        mirrored = torch.randint(0, 2, (count,)) if config.flip else torch.zeros(count)
        theta[:, 0, 0] = 1.0 - 2.0 * mirrored
        theta[:, 1, 1] = 1.0
        theta[:, :, 2] = (2 * torch.rand(count, 2) - 1) * 2 * config.translate  # the grid's side is 2
        both = torch.cat([1.0 - images, foreground], dim=1)  # white is 0, which grid_sample fills in
        grid = F.affine_grid(theta.to(device, images.dtype), list(both.shape), align_corners=False)
        both = F.grid_sample(both, grid, align_corners=False)
        images, foreground = 1.0 - both[:, :3], both[:, 3:]
    if config.brightness > 0:
        factor = 1.0 + (2 * torch.rand(count, 1, 1, 1) - 1).to(device, images.dtype) * config.brightness
        images = (images * factor).clamp(0.0, 1.0)
    return replace(batch, images=images, foreground=foreground)


def corrupted(images: Tensor, config: CorruptionConfig) -> Tensor:
    """Adds white noise and masks patches, for denoising autoencoders (Vincent et al. 2008).

    ``images`` and the result have shape ``[B, 3, S, S]`` and lie in [0, 1]; S is divisible by ``config.patch``. Masked
    patches become mid grey, which no background is.
    """
    if config.noise > 0:
        images = images + config.noise * torch.randn_like(images)
    if config.masked > 0:
        cells, patch = images.shape[-1] // config.patch, config.patch
        hidden = (torch.rand(len(images), 1, cells, cells) < config.masked).to(images.device)
        hidden = hidden.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
        images = torch.where(hidden, 0.5, images)
    return images.clamp(0.0, 1.0)
