"""The interface of models of images pixel by pixel, from top left to bottom right."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from outfits.config.schema.imaging_pixels import PixelArchitecture
from outfits.imaging.logistic_mixture import bits_per_dimension, log_likelihood, sample_pixels
from outfits.imaging.upsampling import Upsampling
from outfits.weights import Network

S = TypeVar("S")
BATCH = 64  # images measured at a time
CONDITION = 8  # channels of the map that tells the category


class CategoryMap(nn.Module):
    """Maps categories ``[B]`` to maps ``[B, CONDITION, S, S]`` by transposed convolutions.

    The location-dependent condition of van den Oord et al. (2016, section 2.3): what is likely where in a category.
    """

    def __init__(self, categories: int, image_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(categories, CONDITION)
        self.decoder = Upsampling(image_size, CONDITION, CONDITION, CONDITION)

    def forward(self, categories: Tensor) -> Tensor:
        """Computes the maps."""
        maps: Tensor = self.decoder(self.embedding(categories))
        return maps


class PixelModel(Network[PixelArchitecture], ABC, Generic[S]):
    r"""Gives every pixel's distribution from the pixels before it and the category.

    :math:`p(x \mid c) = \prod_i p(x_i \mid x_1 … x_{i-1}, c)` in raster order (van den Oord et al. 2016), each factor
    a mixture of discretised logistics over the pixel's three channels, red before green before blue.

    Args:
        config: section ``imaging.pixels``.
        categories: number of categories.
        image_size: side S of the images, pixels.
    """

    def __init__(self, config: PixelArchitecture, categories: int, image_size: int) -> None:
        super().__init__(PixelArchitecture, config, categories=categories, image_size=image_size)
        self.image_size = image_size

    @property
    @abstractmethod
    def receptive_field(self) -> str:
        """Which pixels a pixel's distribution depends on, in words, for the report."""

    @abstractmethod
    def forward(self, images: Tensor, categories: Tensor) -> Tensor:
        """Computes parameters ``[B, P, S, S]`` of all pixels of images ``[B, 3, S, S]`` in [0, 1]."""

    @abstractmethod
    def enter_row(self, images: Tensor, categories: Tensor, row: int, state: S | None) -> S:
        """Computes what a row needs of the rows above it; ``state`` is that of the row before, None for the first."""

    @abstractmethod
    def row_parameters(self, images: Tensor, row: int, state: S) -> Tensor:
        """Computes parameters ``[B, P, S]`` of a row; those of a column depend on the columns before it."""

    def log_likelihood(self, images: Tensor, categories: Tensor) -> Tensor:
        """Computes the log probability of every pixel, nats, shape ``[B, S, S]``."""
        return log_likelihood(self(images, categories), images)

    @torch.inference_mode()
    def pixel_bits(self, images: NDArray[np.uint8], categories: NDArray[np.integer]) -> NDArray[np.float64]:
        """Computes every pixel's bits per channel value, images ``[n, S, S, 3]`` to ``[n, S, S]``."""
        device = next(self.parameters()).device
        parts = []
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).to(device)
            told = torch.from_numpy(categories[start : start + BATCH].astype(np.int64)).to(device)
            nats = -self.log_likelihood(batch.permute(0, 3, 1, 2).float() / 255.0, told)
            parts.append(bits_per_dimension(nats, 3).double().cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def sample(self, categories: Tensor, seed: int, known: Tensor | None = None, rows: int = 0) -> Tensor:
        """Draws images pixel by pixel.

        Args:
            categories: of the images, shape ``[B]``.
            seed: of the draws.
            known: images to be completed, in [0, 1], shape ``[B, 3, S, S]``.
            rows: how many rows of ``known`` stay as they are, from the top.

        Returns:
            In [0, 1] at 256 levels, shape ``[B, 3, S, S]``.
        """
        size = self.image_size
        images = torch.zeros(len(categories), 3, size, size, device=next(self.parameters()).device)
        if known is not None:
            images[:, :, :rows] = known[:, :, :rows].to(images)
        random = torch.Generator().manual_seed(seed)
        state: S | None = None
        for row in range(size):
            state = self.enter_row(images, categories, row, state)
            for column in range(size if row >= rows else 0):
                parameters = self.row_parameters(images, row, state)[..., column]
                images[:, :, row, column] = sample_pixels(parameters, random)
        return images
