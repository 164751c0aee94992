"""The deforming autoencoder: appearance in a template's frame, shape as a warp of that template."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.representations.blocks import NEARLY_WHITE, Decoder, Encoder
from outfits.representations.losses import smoothness, total_variation
from outfits.representations.warping import (
    affine_of,
    grid_of,
    identity_grid,
    increments,
    transformed,
    warped,
)

COARSER = 4  # the warp field has so many times fewer pixels and is interpolated: cloth bends smoothly
COARSEST = 8  # smallest side of the warp field, pixels


class Deformation(NamedTuple):
    """An image and its factors.

    Attributes:
        image: the warped template, shape ``[B, 3, S, S]``.
        template: appearance in the template's frame, shape ``[B, 3, S, S]``.
        grid: where each pixel reads the template, before the affine part, shape ``[B, S, S, 2]``.
        affine: the affine part, shape ``[B, 2, 3]``.
        steps: increments of the grid, 1 for the identity, shape ``[B, 2, S, S]``.
        albedo: template without shading, shape ``[B, 3, S, S]``; None unless the model is intrinsic.
        shading: shape ``[B, 1, S, S]``; None unless the model is intrinsic.
    """

    image: Tensor
    template: Tensor
    grid: Tensor
    affine: Tensor
    steps: Tensor
    albedo: Tensor | None
    shading: Tensor | None


class DeformingAutoencoder(ImageModel):
    r"""Splits the latent into shape and appearance, decoded to a warp and a texture (arXiv 1806.06503).

    The loss is reconstruction + :math:`\lambda_1` total variation of the warp's increments + :math:`\lambda_2` bias
    reduction, the squared distance of the batch's mean warp from the identity, which keeps the template upright and
    centred. **Class-aware** (``class_dim`` > 0): the texture also reads a third part of the latent, from which a linear
    classifier predicts the item's category. **Intrinsic**: the texture is albedo times shading, and the shading is
    smooth. The latent is the concatenation of shape, appearance and class.

    Raises:
        ValueError: if no coordinate is left for the appearance.
    """

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(config, categories, text_dim, features)
        side, width, options = config.image_size, config.width, config.deforming
        appearance = config.latent_dim - options.shape_dim - options.class_dim
        if appearance < 1:
            raise ValueError("shape_dim and class_dim leave no coordinate of latent_dim for the appearance")
        self.parts = (options.shape_dim, appearance, options.class_dim)
        self.encoder = Encoder(side, width, config.latent_dim)
        coarse = max(COARSEST, side // COARSER)
        self.warp = Decoder(coarse, width, options.shape_dim, 2, full_side=side)
        self.affine = nn.Linear(options.shape_dim, 5)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)
        inputs = appearance + options.class_dim
        self.texture = Decoder(side, width, inputs, 3, NEARLY_WHITE)
        self.shading = Decoder(coarse, width, inputs, 1, NEARLY_WHITE, full_side=side) if options.intrinsic else None
        self.classifier = nn.Linear(options.class_dim, categories) if options.class_dim else None

    @property
    def title(self) -> str:
        kinds = ["intrinsic"] if self.config.deforming.intrinsic else []
        kinds += ["class-aware"] if self.config.deforming.class_dim else []
        return f"{', '.join(kinds)} deforming autoencoder".strip().capitalize()

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        return self.deform(latents).image

    def deform(self, latents: Tensor) -> Deformation:
        """Decodes latents ``[B, d]`` to images with their templates and warps."""
        shape, appearance = latents[:, : self.parts[0]], latents[:, self.parts[0] :]
        steps = increments(self._to_full_size(self.warp(shape)))
        grid, affine = grid_of(steps), affine_of(self.affine(shape))
        template = self.texture(appearance).sigmoid()
        albedo, shading = None, None
        if self.shading is not None:
            shading = self._to_full_size(self.shading(appearance).sigmoid())
            albedo, template = template, template * shading
        image = warped(template, transformed(grid, affine))
        return Deformation(image, template, grid, affine, steps, albedo, shading)

    def _to_full_size(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps, size=(self.image_size, self.image_size), mode="bilinear", align_corners=False)

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        options = self.config.deforming
        latents = self.encode(self._seen(batch))
        made = self.deform(latents)
        terms = self._reconstruction(batch, made.image)
        terms["warp_variation"] = total_variation(made.steps).mean()
        terms["warp_bias"] = bias(made.grid, made.affine)
        loss = (
            terms["reconstruction"]
            + options.variation_weight * terms["warp_variation"]
            + options.bias_weight * terms["warp_bias"]
        )
        if made.shading is not None:
            terms["shading_roughness"] = smoothness(made.shading).mean()
            loss = loss + options.shading_weight * terms["shading_roughness"]
        if self.classifier is not None:
            logits = self.classifier(latents[:, -self.parts[2] :])
            terms["class_entropy"] = F.cross_entropy(logits, batch.categories)
            terms["class_accuracy"] = (logits.argmax(dim=1) == batch.categories).float().mean()
            loss = loss + options.class_weight * terms["class_entropy"]
        return {**terms, "loss": loss}


def bias(grid: Tensor, affine: Tensor) -> Tensor:
    """Squared distance of the mean grid ``[B, S, S, 2]`` and the mean affine map ``[B, 2, 3]`` from the identity."""
    local = (grid.mean(dim=0) - identity_grid(grid.shape[1], grid.device)[0]).square().mean()
    unchanged = torch.eye(2, 3, device=affine.device)
    return local + (affine.mean(dim=0) - unchanged).square().mean()
