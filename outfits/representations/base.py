"""The interface of image models: encoder, decoder and losses."""

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
    """A network that maps images to latents.

    Args:
        config: section ``model.representation``.
        categories: number of categories.
        text_dim: width of the frozen text embeddings; 0 for models without texts.
        features: frozen features of the perceptual loss; None where its weight is 0. Not a submodule, so that no
            checkpoint holds it.

    Attributes:
        centre: mean latent of the training items, shape ``[d]``; see :meth:`embed`.
        components: linear map of centred latents, shape ``[d, d]``.
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(RepresentationConfig, config, categories=categories, text_dim=text_dim)
        self._features = (features,)  # a tuple, because a module as an attribute would become a submodule
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
        """Tells whether the model can decode latents."""
        return IMAGE_MODELS[self.config.kind].generative

    @property
    @abstractmethod
    def title(self) -> str:
        """The kind of model in words, for the report."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Encodes images ``[B, 3, S, S]`` in [0, 1] to latents ``[B, d]``; a variational model returns the mean."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decodes latents ``[B, d]`` to images ``[B, 3, S, S]`` in [0, 1]."""

    @abstractmethod
    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        """Returns the objective as ``loss`` and its terms by name, each the mean over the batch, shape ``[]``.

        ``batch`` holds uncorrupted images; ``progress`` is the share of training done, in [0, 1], and 1 in validation.
        """

    def embed(self, images: Tensor) -> Tensor:
        """Embeds items, ``[B, d]``: latents centred and half whitened by the training items.

        See :func:`outfits.representations.store.fit_components`.
        """
        return (self.encode(images) - self.centre) @ self.components.T

    def sample_latents(self, count: int, generator: torch.Generator) -> Tensor:
        """Samples latents ``[count, d]`` from the prior.

        A model without a prior samples the normal distribution fitted to its latents on the training items, whose
        whitening is :attr:`components`.
        """
        normal = torch.randn(count, self.latent_dim, generator=generator).to(self.centre)
        # components = diag(1 / sqrt(s)) V with deviations s along the rows of V: components^T scaled back has V^T s.
        length = self.components.norm(dim=1)  # 1 / sqrt(s); 0 for a constant coordinate
        inverse = torch.where(length > 0, 1.0 / length.clamp(min=1e-12), 0.0)
        directions = self.components * inverse[:, None]  # V
        return self.centre + (normal * inverse.square()) @ directions

    def _reconstruction(self, batch: ImageBatch, images: Tensor) -> dict[str, Tensor]:
        """Returns pixel error, perceptual distance (if it has a weight) and their weighted sum ``reconstruction``."""
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
        """Returns the encoder's input: corrupted in training if that is configured."""
        if not self.training:
            return batch.images
        return corrupted(batch.images, self.config.corruption)
