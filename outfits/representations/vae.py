"""Variational autoencoders: the plain one, and the beta-VAE with a weighted divergence."""

import torch
from torch import Tensor

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import NEARLY_WHITE, Decoder, Encoder
from outfits.representations.gaussian import (
    beta_at,
    gaussian_log_likelihood,
    kl_to_standard_normal,
    reparameterised,
    with_free_bits,
)
from outfits.representations.losses import pixel_weight

LARGEST_LOG_VARIANCE = 4.0  # beyond it a coordinate is noise, and exp would overflow early in training


class VariationalAutoencoder(ImageModel):
    r"""Maximises :math:`\mathbb E_{q(z|x)} \log p(x|z) - \beta \, \mathrm{KL}(q(z|x) \| \mathcal N(0, I))`.

    With :math:`\beta = 1` that is the evidence lower bound (ELBO, arXiv 1312.6114), estimated from one reparameterised
    sample; with another :math:`\beta`, constant or falling, the beta-VAE (Higgins et al., ICLR 2017). The likelihood is
    Gaussian around the decoder's image; see :func:`gaussian_log_likelihood`. ``loss`` is the negative objective per
    pixel and channel, so that one learning rate serves every image size, plus the perceptual loss.
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(config, categories, text_dim, features)
        self.encoder = Encoder(config.image_size, config.width, 2 * config.latent_dim)
        self.decoder = Decoder(config.image_size, config.width, config.latent_dim, 3, NEARLY_WHITE)

    @property
    def title(self) -> str:
        plain = self.config.vae.beta == 1 and self.config.vae.beta_start is None
        return "Variational autoencoder" if plain else "Beta-VAE"

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        r"""Mean and log variance of :math:`q(z|x)`, each ``[B, d]``."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(max=LARGEST_LOG_VARIANCE)

    def encode(self, images: Tensor) -> Tensor:
        return self.posterior(images)[0]

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(latents).sigmoid()
        return images

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        config, options = self.config, self.config.vae
        mean, log_variance = self.posterior(self._seen(batch))
        images = self.decode(reparameterised(mean, log_variance))
        weight = pixel_weight(batch.foreground, config.background_weight)
        likelihood = gaussian_log_likelihood(batch.images, images, options.deviation, weight).mean()
        kl = kl_to_standard_normal(mean, log_variance)  # [B, d]
        beta = beta_at(progress, options.beta, options.beta_start, options.beta_fall)
        charged = with_free_bits(kl, options.free_bits)
        terms = self._reconstruction(batch, images)
        objective = config.pixel_weight * likelihood - beta * charged
        loss = -objective / images[0].numel()
        if "perceptual_distance" in terms:
            loss = loss + config.perceptual.weight * terms["perceptual_distance"]
        total = kl.sum(dim=1).mean()
        return {
            "pixel_error": terms["pixel_error"],
            **({"perceptual_distance": terms["perceptual_distance"]} if "perceptual_distance" in terms else {}),
            "log_likelihood": likelihood,
            "kl": total,
            "elbo": likelihood - total,
            "active_coordinates": (kl.mean(dim=0) > 0.01).sum().float(),
            "beta": images.new_tensor(beta),
            "loss": loss,
        }

    def sample_latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self.latent_dim, generator=generator).to(self.centre)
