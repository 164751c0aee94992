"""A contrastive model of an image tower and a text tower, after CLIP."""

import math

import torch
from torch import Tensor, nn

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import Encoder
from outfits.representations.losses import info_nce

SHARED = 128  # width of the joint space of images and texts
HIDDEN = 256  # of the text tower
HOTTEST, COLDEST = 1.0, 0.01  # bounds of the temperature, as in CLIP


class ContrastiveTower(ImageModel):
    """Trains an image tower and a text tower with InfoNCE and a learned temperature (arXiv 2103.00020).

    The latent is the image tower's output before the projection to the joint space: it keeps more of the image than the
    projection, whose only purpose is to match the text (arXiv 2002.05709, section 4.2). The text tower maps frozen text
    embeddings; it and both projections serve training alone. Negatives are the other items of the batch on the same
    device. Nothing is reconstructed, so there is no perceptual loss.
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(config, categories, text_dim, features)
        self.encoder = Encoder(config.image_size, config.width, config.latent_dim)
        self.projection = nn.Sequential(nn.SiLU(), nn.Linear(config.latent_dim, SHARED))
        self.texts = nn.Sequential(nn.Linear(text_dim, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, SHARED))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.contrastive.temperature)))

    @property
    def title(self) -> str:
        return "Contrastive image tower"

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Raises TypeError: this model has no decoder."""
        raise TypeError("a contrastive tower draws no images")

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        temperature = self.log_temperature.exp().clamp(COLDEST, HOTTEST)
        latents = self.encode(self._seen(batch))
        loss = info_nce(self.projection(latents), self.texts(batch.texts), temperature, batch.text_ids)
        return {"info_nce": loss, "temperature": temperature.detach(), "loss": loss}
