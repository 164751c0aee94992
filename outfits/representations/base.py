"""What every image model offers: a latent of an image, an image of a latent, and losses to learn both."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from outfits.config.schema.representation import IMAGE_MODELS, RepresentationConfig
from outfits.representations.batch import ImageBatch, corrupted
from outfits.representations.losses import feature_distance, pixel_weight, squared_error
from outfits.weights import Network

Features = Callable[[Tensor], list[Tensor]]
"""Maps of some layers of a frozen network, for the perceptual loss."""


class ImageModel(Network[RepresentationConfig], ABC):
    """A network that turns images into latents.

    Args:
        config: section ``model.representation``.
        categories: number of categories of the catalogue.
        text_dim: width of the frozen text embeddings; 0 for models that see no texts.
        features: frozen features of the perceptual loss; None where its weight is 0. No submodule, so that no
            checkpoint holds it.

    Attributes:
        centre: mean latent of the training items, shape ``[d]``; see :meth:`embed`.
        components: linear map of centred latents, shape ``[d, d]``.
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(RepresentationConfig, config, categories=categories, text_dim=text_dim)
        self._features = (features,)  # a tuple: a module in an attribute of its own would become a submodule
        self.centre: Tensor
        self.components: Tensor
        self.register_buffer("centre", torch.zeros(self.latent_dim))
        self.register_buffer("components", torch.eye(self.latent_dim))

    @property
    def latent_dim(self) -> int:
        """Width d of the latents."""
        return self.config.latent_dim

    @property
    def image_size(self) -> int:
        """Side S of the images, pixels."""
        return self.config.image_size

    @property
    def generative(self) -> bool:
        """Whether it can draw the image of a latent."""
        return IMAGE_MODELS[self.config.kind].generative

    @property
    @abstractmethod
    def title(self) -> str:
        """The kind of model in words, as the report has it."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Latents ``[B, d]`` of images ``[B, 3, S, S]`` in [0, 1]; of a variational model the mean."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` in [0, 1] of latents ``[B, d]``."""

    @abstractmethod
    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        """The objective as ``loss`` and its terms by name, each the mean over the batch, shape ``[]``.

        Args:
            batch: images, as they are to be reconstructed.
            progress: share of training that is done, in [0, 1]; 1 in validation.
        """

    def embed(self, images: Tensor) -> Tensor:
        """Item vectors ``[B, d]``: latents centred on the training items and whitened halfway, as the classical ones
        are.

        See :func:`outfits.representations.store.fit_components`.
        """
        return (self.encode(images) - self.centre) @ self.components.T

    def sample_latents(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents ``[count, d]`` to draw new images from: from the prior where the model has one.

        A model without a prior takes the normal distribution fitted to its latents on the training items, whose
        whitening :attr:`components` are.
        """
        normal = torch.randn(count, self.latent_dim, generator=generator).to(self.centre)
        # components = diag(1 / sqrt(s)) V with deviations s along the rows of V: components^T scaled back has V^T s.
        length = self.components.norm(dim=1)  # 1 / sqrt(s); 0 for a coordinate that never moves
        inverse = torch.where(length > 0, 1.0 / length.clamp(min=1e-12), 0.0)
        directions = self.components * inverse[:, None]  # V
        return self.centre + (normal * inverse.square()) @ directions

    def _reconstruction(self, batch: ImageBatch, images: Tensor) -> dict[str, Tensor]:
        """Weighted sum of pixel error and perceptual distance as ``reconstruction``, with both where they count."""
        terms = {}
        total = images.new_zeros(())
        weight = pixel_weight(batch.foreground, self.config.background_weight)
        terms["pixel_error"] = squared_error(batch.images, images, weight).mean()
        total = total + self.config.pixel_weight * terms["pixel_error"]
        (features,) = self._features
        if features is not None:
            with torch.no_grad():
                targets = features(batch.images)
            terms["perceptual_distance"] = feature_distance(features(images), targets).mean()
            total = total + self.config.perceptual.weight * terms["perceptual_distance"]
        return {**terms, "reconstruction": total}

    def _seen(self, batch: ImageBatch) -> Tensor:
        """The images as the encoder sees them: corrupted in training where that is configured."""
        if not self.training:
            return batch.images
        return corrupted(batch.images, self.config.corruption)
