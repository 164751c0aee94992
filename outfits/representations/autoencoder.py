"""The convolutional autoencoder; with corrupted input a denoising one."""

from torch import Tensor

from outfits.representations.base import Features, PictureModel, RepresentationSettings
from outfits.representations.batch import PictureBatch
from outfits.representations.blocks import NEARLY_WHITE, Decoder, Encoder


class Autoencoder(PictureModel):
    """Picture to code and back; fully connected at the bottleneck alone (Hinton & Salakhutdinov 2006).

    With ``noise`` or ``masked`` above 0 the encoder sees corrupted pictures in training and the whole ones are to be
    reconstructed: a denoising autoencoder (Vincent et al. 2008).

    Args:
        settings: see :class:`RepresentationSettings`.
        features: frozen features of the perceptual loss.
    """

    def __init__(self, settings: RepresentationSettings, features: Features | None = None) -> None:
        super().__init__(settings, features)
        side, width, dim = settings["side"], settings["width"], settings["code_dim"]
        self.encoder = Encoder(side, width, dim)
        self.decoder = Decoder(side, width, dim, 3, NEARLY_WHITE)

    def encode(self, pictures: Tensor) -> Tensor:
        codes: Tensor = self.encoder(pictures)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(codes).sigmoid()
        return pictures

    def losses(self, batch: PictureBatch, progress: float) -> dict[str, Tensor]:
        terms = self._reconstruction(batch, self.decode(self.encode(self._seen(batch))))
        return {**terms, "loss": terms["reconstruction"]}
