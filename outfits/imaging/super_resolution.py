"""Super-resolution: a small image enlarged by a network that corrects bicubic interpolation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.imaging import SuperResolutionArchitecture
from outfits.weights import Network

RESIDUAL_SCALE = 0.1  # of a block's branch, so that many blocks train without normalisation (arXiv 1707.02921)


def shrunk(images: Tensor, factor: int) -> Tensor:
    """Shrinks images ``[B, 3, S, S]`` in [0, 1] as an 8-bit thumbnail: antialiased bicubic, rounded to 256 levels."""
    small = F.interpolate(images, scale_factor=1 / factor, mode="bicubic", antialias=True)
    return (small.clamp(0.0, 1.0) * 255).round() / 255


def bicubic(images: Tensor, factor: int) -> Tensor:
    """Enlarges images by bicubic interpolation with Keys' kernel of a = -0.5, as Pillow does; not clamped."""
    return F.interpolate(images, scale_factor=factor, mode="bicubic", antialias=True)


class ResidualBlock(nn.Sequential):
    """Two convolutions whose scaled output is added to their input, without normalisation (EDSR, arXiv 1707.02921)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[B, w, s, s]`` to the same shape."""
        branch: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]
        return maps + RESIDUAL_SCALE * branch


class SuperResolution(Network[SuperResolutionArchitecture]):
    """Adds a correction to the image that bicubic interpolation gives; untrained, the correction is 0.

    All convolutions work at the low resolution; sub-pixel convolution makes the correction (ESPCN, arXiv 1609.05158).
    """

    def __init__(self, config: SuperResolutionArchitecture) -> None:
        super().__init__(SuperResolutionArchitecture, config)
        width, factor = config.width, config.factor
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(config.blocks)))
        self.last = nn.Conv2d(width, 3 * factor**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, images: Tensor) -> Tensor:
        """Enlarges images ``[B, 3, s, s]`` in [0, 1] to ``[B, 3, S, S]``, S = ``factor`` s; not clamped."""
        h = self.first(1.0 - images)  # the white ground is 0, as the padding of convolutions is
        correction: Tensor = self.shuffle(self.last(h + self.blocks(h)))
        return bicubic(images, self.config.factor) + correction

    @torch.inference_mode()
    def enlarge(self, images: Tensor) -> Tensor:
        """Enlarges images as :meth:`forward` does, to values in [0, 1]."""
        enlarged: Tensor = self(images)
        return enlarged.clamp(0.0, 1.0)

    @property
    def receptive_field(self) -> int:
        """Side of the square of the small image that a pixel of the correction depends on, pixels."""
        return 1 + 2 * (2 + 2 * self.config.blocks)
