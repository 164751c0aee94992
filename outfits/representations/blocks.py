"""Convolutional encoder and decoder of all image models; only the bottleneck is fully connected."""

import torch
from torch import Tensor, nn

COARSE = 4  # side of the coarsest feature map, pixels
GROUPS = 8  # of group normalisation, which unlike batch normalisation does the same in training and evaluation
NEARLY_WHITE = 3.0  # initial logit of image decoders: sigmoid(3) = 0.95


def levels_of(side: int) -> int:
    """Counts the halvings from ``side`` down to the coarsest map; ValueError if ``side`` is not 8, 16, 32, …."""
    levels = (side // COARSE).bit_length() - 1
    if levels < 1 or COARSE << levels != side:
        raise ValueError(f"side {side} is not {COARSE} times a power of two")
    return levels


def channels_of(width: int, levels: int) -> list[int]:
    """Lists the channels after each halving: ``width``, doubled at every level up to eight times."""
    return [width * min(8, 2**level) for level in range(levels)]


class Encoder(nn.Sequential):
    """Strided convolutions from images of ``side`` pixels to vectors of width ``outputs``; every block halves the side.

    ``width`` is the number of channels after the first halving.
    """

    def __init__(self, side: int, width: int, outputs: int) -> None:
        channels = channels_of(width, levels_of(side))
        blocks: list[nn.Module] = []
        for before, after in zip([3, *channels], channels, strict=False):
            blocks.append(
                nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(min(GROUPS, after), after), nn.SiLU())
            )
        super().__init__(*blocks, nn.Flatten(), nn.Linear(channels[-1] * COARSE**2, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``[B, 3, S, S]`` to vectors ``[B, outputs]``.

        The network sees one minus the image: the white background is 0, as the padding of convolutions is.
        """
        *_, flatten, linear = self
        vectors: Tensor = linear(flatten(self.maps(images)[-1]))
        return vectors

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps after every halving, the coarsest last, ``[B, c, side, side]``."""
        h = (1.0 - images).contiguous(memory_format=torch.channels_last)
        found = []
        for block in list(self)[:-2]:
            h = block(h)
            found.append(h)
        return found


class Decoder(nn.Module):
    """Transposed convolutions from a vector to maps; every block doubles the side.

    Args:
        side: of the maps, pixels.
        width: channels of the finest hidden map of a decoder to full size; coarser ones have more.
        inputs: width of the vector.
        outputs: channels of the maps.
        bias: initial value of every output.
        full_side: side of the images where the maps are coarser, so that equal levels have equal channels.
    """

    def __init__(
        self, side: int, width: int, inputs: int, outputs: int, bias: float = 0.0, full_side: int | None = None
    ) -> None:
        super().__init__()
        channels = channels_of(width, levels_of(full_side or side))[::-1][: levels_of(side)]
        self.coarsest = channels[0]
        self.bottleneck = nn.Linear(inputs, channels[0] * COARSE**2)
        blocks: list[nn.Module] = []
        for before, after in zip(channels, channels[1:], strict=False):
            blocks += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.GroupNorm(min(GROUPS, after), after), nn.SiLU()]
        last = nn.ConvTranspose2d(channels[-1], outputs, 4, 2, 1)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
        self.blocks = nn.Sequential(*blocks, last)

    def forward(self, latents: Tensor) -> Tensor:
        """Maps latents ``[B, inputs]`` to maps ``[B, outputs, side, side]``, unbounded."""
        h = self.bottleneck(latents).view(-1, self.coarsest, COARSE, COARSE)
        maps: Tensor = self.blocks(h.contiguous(memory_format=torch.channels_last))
        return maps
