"""Upsampling convolutions from a vector to maps."""

import torch
from torch import Tensor, nn

from outfits.representations.blocks import COARSE, channels_of, levels_of


class Upsampling(nn.Module):
    """Transposed convolutions from a vector to maps; every block doubles the side.

    Normalisation is over all channels of a map together, unlike in the decoders of image models, which normalise eight
    groups: in maps this narrow a few channels, whose mean is then the same for every vector. Which draws colours better
    was not measured.

    Args:
        side: of the maps, pixels; four times a power of two.
        width: channels of the finest hidden map; coarser ones have up to eight times as many.
        inputs: width of the vector.
        outputs: channels of the maps.
    """

    def __init__(self, side: int, width: int, inputs: int, outputs: int) -> None:
        super().__init__()
        channels = channels_of(width, levels_of(side))[::-1]
        self.coarsest = channels[0]
        self.first = nn.Linear(inputs, channels[0] * COARSE**2)
        blocks: list[nn.Module] = []
        for before, after in zip(channels, channels[1:], strict=False):
            blocks += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.GroupNorm(1, after), nn.SiLU()]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.ConvTranspose2d(channels[-1], outputs, 4, 2, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Maps vectors ``[B, inputs]`` to maps ``[B, outputs, side, side]``, unbounded."""
        h = self.first(vectors).view(-1, self.coarsest, COARSE, COARSE)
        maps: Tensor = self.last(self.blocks(h.contiguous(memory_format=torch.channels_last)))
        return maps
