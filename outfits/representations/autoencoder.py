"""The convolutional autoencoder; with corrupted input a denoising one."""

from torch import Tensor

from outfits.representations.base import Features, ImageModel, RepresentationSettings
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import NEARLY_WHITE, Decoder, Encoder


class Autoencoder(ImageModel):
    """Image to latent and back; fully connected at the bottleneck alone (Hinton & Salakhutdinov 2006).

    With ``noise`` or ``masked`` above 0 the encoder sees corrupted images in training and the whole ones are to be
    reconstructed: a denoising autoencoder (Vincent et al. 2008).

    Args:
        settings: see :class:`RepresentationSettings`.
        features: frozen features of the perceptual loss.
    """

    def __init__(self, settings: RepresentationSettings, features: Features | None = None) -> None:
        super().__init__(settings, features)
        image_size, width, dim = settings["image_size"], settings["width"], settings["latent_dim"]
        self.encoder = Encoder(image_size, width, dim)
        self.decoder = Decoder(image_size, width, dim, 3, NEARLY_WHITE)

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(latents).sigmoid()
        return images

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        terms = self._reconstruction(batch, self.decode(self.encode(self._seen(batch))))
        return {**terms, "loss": terms["reconstruction"]}
