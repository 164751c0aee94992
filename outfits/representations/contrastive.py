"""An image tower and a text tower that agree on which text belongs to which image, in the shape of CLIP."""

import math

import torch
from torch import Tensor, nn

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import Encoder
from outfits.representations.losses import info_nce

SHARED = 128  # width of the space in which images and texts meet
HIDDEN = 256  # of the text tower
HOTTEST, COLDEST = 1.0, 0.01  # bounds of the temperature, as in CLIP


class ContrastiveTower(ImageModel):
    """Images and their own texts, drawn together by InfoNCE with a learned temperature (arXiv 2103.00020).

    The latent is what the image tower gives before the projection to the space that it shares with texts: it keeps more
    of the image than the projection, whose only purpose is to meet the text (arXiv 2002.05709, section 4.2). The text
    tower maps frozen text embeddings; it and both projections serve training alone. Negatives are the other items of
    the batch, on several devices those of the same device.

    Arguments are those of :class:`ImageModel`; nothing is reconstructed, so there is no perceptual loss.
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
        """Refuses: this model draws no images.

        Raises:
            TypeError: always.
        """
        raise TypeError("a contrastive tower draws no images")

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        temperature = self.log_temperature.exp().clamp(COLDEST, HOTTEST)
        latents = self.encode(self._seen(batch))
        loss = info_nce(self.projection(latents), self.texts(batch.texts), temperature, batch.text_ids)
        return {"info_nce": loss, "temperature": temperature.detach(), "loss": loss}
