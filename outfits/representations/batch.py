"""What a batch of images is, and how training images are augmented and corrupted."""

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.config.schema.representation import AugmentationConfig, CorruptionConfig


@dataclass(frozen=True)
class ImageBatch:
    """Images of items with what some models learn from beside them.

    Attributes:
        images: RGB in [0, 1], shape ``[B, 3, S, S]``; the background is near white.
        foreground: how surely a pixel belongs to the garment, in [0, 1], shape ``[B, 1, S, S]``.
        categories: category of every item, int64, shape ``[B]``.
        texts: frozen text embeddings, shape ``[B, t]``; t is 0 for models that see no texts.
        text_ids: items of equal texts have equal numbers, int64, shape ``[B]``.
    """

    images: Tensor
    foreground: Tensor
    categories: Tensor
    texts: Tensor
    text_ids: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageBatch":
        """The batch on another device (Lightning calls it)."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


def augmented(batch: ImageBatch, config: AugmentationConfig) -> ImageBatch:
    """The batch as other images of the same garments might show it; white comes in at the edges of moved ones."""
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
    """Images with white noise and masked patches, for a denoising autoencoder (Vincent et al. 2008) to mend.

    Args:
        images: shape ``[B, 3, S, S]``; S is divisible by ``config.patch``.
        config: how much noise, and which share of the patches becomes mid grey, which no background is.

    Returns:
        Corrupted images, same shape, in [0, 1].
    """
    if config.noise > 0:
        images = images + config.noise * torch.randn_like(images)
    if config.masked > 0:
        cells, patch = images.shape[-1] // config.patch, config.patch
        hidden = (torch.rand(len(images), 1, cells, cells) < config.masked).to(images.device)
        hidden = hidden.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
        images = torch.where(hidden, 0.5, images)
    return images.clamp(0.0, 1.0)
