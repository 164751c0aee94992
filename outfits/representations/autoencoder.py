"""The convolutional autoencoder, denoising if its input is corrupted."""

from torch import Tensor

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import NEARLY_WHITE, Decoder, Encoder


class Autoencoder(ImageModel):
    """Encodes and decodes images; fully connected at the bottleneck alone (Hinton & Salakhutdinov 2006).

    With ``corruption`` the encoder sees corrupted images in training and the decoder reconstructs the originals: a
    denoising autoencoder (Vincent et al. 2008).
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(config, categories, text_dim, features)
        self.encoder = Encoder(config.image_size, config.width, config.latent_dim)
        self.decoder = Decoder(config.image_size, config.width, config.latent_dim, 3, NEARLY_WHITE)

    @property
    def title(self) -> str:
        corruption = self.config.corruption
        return "Denoising autoencoder" if corruption.noise or corruption.masked else "Autoencoder"

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(latents).sigmoid()
        return images

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        terms = self._reconstruction(batch, self.decode(self.encode(self._seen(batch))))
        return {**terms, "loss": terms["reconstruction"]}
