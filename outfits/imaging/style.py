"""The objective of style transfer: the content's features, the styles' Gram matrices, inside the garment."""

from collections.abc import Sequence

import torch
from torch import Tensor

from outfits.config.schema.imaging import StyleTransferConfig
from outfits.imaging.gram import colour_loss, gram_loss, gram_matrix
from outfits.representations.losses import smoothness
from outfits.representations.perceptual import FrozenFeatures


def inside(images: Tensor, contents: Tensor, foreground: Tensor) -> Tensor:
    """Puts images ``[B, 3, S, S]`` into the garments of others, by each pixel's probability ``[B, 1, S, S]``."""
    return foreground * images + (1.0 - foreground) * contents


class StyleObjective:
    r"""Measures stylised images by the loss of Gatys et al. (CVPR 2016), for any weights of several styles.

    .. math:: L = \lambda_c \sum_l \frac{\|\phi_l(x) - \phi_l(c)\|^2}{\|\phi_l(c)\|^2}
              + \lambda_s \sum_s w_s \left(\sum_l \frac{\|G_l(x) - G_l(s)\|^2}{\|G_l(s)\|^2} + \lambda_k K(x, s)\right)
              + \lambda_v V(x)

    :math:`K` is :func:`outfits.imaging.gram.colour_loss`, :math:`V` the mean squared difference of neighbouring pixels.
    Gram matrices of :math:`x` are those inside the garment (arXiv 1611.07865).

    Args:
        config: layers and weights.
        features: the frozen network, at the layers of content and style.
        styles: style images ``[n, 3, S, S]`` in [0, 1].
    """

    def __init__(self, config: StyleTransferConfig, features: FrozenFeatures, styles: Tensor) -> None:
        self.config = config
        self.features = features
        with torch.no_grad():
            maps = features.named(styles)
        self.styles = styles
        self.targets = [gram_matrix(maps[name]) for name in config.style_layers]  # [n, c, c] each

    def to(self, device: torch.device) -> None:
        """Moves the network and the styles' Gram matrices."""
        self.features.to(device)
        self.styles = self.styles.to(device)
        self.targets = [target.to(device) for target in self.targets]

    @torch.no_grad()
    def content_of(self, contents: Tensor) -> list[Tensor]:
        """Returns the features that stylised images are to keep, from ``[B, 3, S, S]``."""
        maps = self.features.named(contents)
        return [maps[name] for name in self.config.content_layers]

    def _style_error(self, images: Tensor, grams: Sequence[Tensor], foreground: Tensor, style: int) -> Tensor:
        """Compares an image's Gram matrices and colours with those of a style, ``[B]``."""
        row = slice(style, style + 1)
        error = gram_loss(grams, [target[row] for target in self.targets])
        return error + self.config.colour_weight * colour_loss(images, self.styles[row], foreground)

    def __call__(
        self, images: Tensor, content: Sequence[Tensor], foreground: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        """Returns ``loss`` and its terms ``content``, ``style`` and ``variation``, each ``[B]``.

        Args:
            images: stylised images ``[B, 3, S, S]``.
            content: of :meth:`content_of`.
            foreground: probability that a pixel belongs to the garment, ``[B, 1, S, S]``.
            weights: of the styles, ``[B, n]``.
        """
        config = self.config
        maps = self.features.named(images)
        errors = [
            (maps[name] - kept).square().sum(dim=(1, 2, 3)) / kept.square().sum(dim=(1, 2, 3))
            for name, kept in zip(config.content_layers, content, strict=True)
        ]
        grams = [gram_matrix(maps[name], foreground) for name in config.style_layers]
        terms = {
            "content": torch.stack(errors).sum(dim=0),
            "style": torch.stack(
                [
                    weights[:, style] * self._style_error(images, grams, foreground, style)
                    for style in range(len(self.styles))
                ]
            ).sum(dim=0),
            "variation": smoothness(images),
        }
        factors = {
            "content": config.content_weight,
            "style": config.style_weight,
            "variation": config.smoothness_weight,
        }
        return {**terms, "loss": torch.stack([factors[name] * term for name, term in terms.items()]).sum(dim=0)}
