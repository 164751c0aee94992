"""A feed-forward network that paints images in several styles and their mixtures."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.imaging import StyleArchitecture
from outfits.weights import Network


class ConditionalInstanceNorm(nn.Module):
    r"""Normalises maps, then scales and shifts them by weighted means of the styles' vectors (arXiv 1610.07629).

    :math:`z = \left(\sum_s w_s \gamma_s\right) \frac{x - \mu}{\sigma} + \sum_s w_s \beta_s`, mean and deviation over an
    image's own pixels.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(styles, channels))
        self.beta = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Maps ``[B, c, h, w]`` with weights of styles ``[B, n]`` to the same shape."""
        scale, shift = (weights @ vectors for vectors in (self.gamma, self.beta))
        return scale[..., None, None] * F.instance_norm(maps) + shift[..., None, None]


class StyledConvolution(nn.Module):
    """A reflection-padded convolution and its conditional normalisation; enlarges its input twice if ``up``."""

    def __init__(self, before: int, after: int, kernel: int, styles: int, *, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, padding_mode="reflect")
        self.norm = ConditionalInstanceNorm(after, styles)

    def forward(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Maps ``[B, c, h, w]`` with weights of styles ``[B, n]``."""
        if self.up:
            maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        normed: Tensor = self.norm(self.convolution(maps), weights)
        return normed


class ResidualBlock(nn.Module):
    """Two styled convolutions added to their input."""

    def __init__(self, width: int, styles: int) -> None:
        super().__init__()
        self.first = StyledConvolution(width, width, 3, styles)
        self.second = StyledConvolution(width, width, 3, styles)

    def forward(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Maps ``[B, c, h, w]`` with weights of styles ``[B, n]`` to the same shape."""
        branch: Tensor = self.second(self.first(maps, weights).relu(), weights)
        return maps + branch


class StyleNetwork(Network[StyleArchitecture]):
    """Paints images in one pass: two halvings, residual blocks, two doublings (arXiv 1603.08155), one set of filters.

    Styles differ by their normalisation alone, and are mixed there.

    Args:
        config: widths and blocks.
        styles: their number n.
    """

    def __init__(self, config: StyleArchitecture, styles: int) -> None:
        super().__init__(StyleArchitecture, config, styles=styles)
        width = config.width
        self.down = nn.ModuleList(
            [
                StyledConvolution(3, width, 9, styles),
                StyledConvolution(width, 2 * width, 3, styles, stride=2),
                StyledConvolution(2 * width, 4 * width, 3, styles, stride=2),
            ]
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width, styles) for _ in range(config.blocks))
        self.up = nn.ModuleList(
            [
                StyledConvolution(4 * width, 2 * width, 3, styles, up=True),
                StyledConvolution(2 * width, width, 3, styles, up=True),
            ]
        )
        self.last = StyledConvolution(width, 3, 9, styles)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Paints images ``[B, 3, S, S]`` in [0, 1], S divisible by 4, with weights of styles ``[B, n]``."""
        h = images - 0.5
        for layer in self.down:
            h = layer(h, weights).relu()
        for block in self.blocks:
            h = block(h, weights)
        for layer in self.up:
            h = layer(h, weights).relu()
        painted: Tensor = self.last(h, weights).sigmoid()
        return painted

    @property
    def receptive_field(self) -> int:
        """Side of the square of the image that a painted pixel depends on, besides the normalisation, pixels."""
        return 15 + 16 * (self.config.blocks + 1)
