"""Networks from conditions to an image and its mask."""

import torch
from torch import Tensor, nn

from outfits.config.schema.imaging_conditional import ConditionalArchitecture, ConditionalLoss
from outfits.representations.blocks import NEARLY_WHITE, Decoder
from outfits.representations.losses import pixel_weight, squared_error
from outfits.weights import Network


class ConditionalGenerator(Network[ConditionalArchitecture]):
    """Maps conditions to an image and its mask (Dosovitskiy et al. 2015, arXiv 1411.5928).

    Conditions and view have a fully connected layer each, two more follow on both, then upsampling convolutions. The
    last one has two heads: three channels of the image, one of the mask.

    Args:
        config: the architecture, or a section that contains it.
        inputs: width of the conditions: attributes as zeros and ones, or a latent.
        image_size: side S of the images, pixels.
        view: numbers of a view; 0 for a network without.
    """

    def __init__(self, config: ConditionalArchitecture, inputs: int, image_size: int, view: int = 0) -> None:
        super().__init__(ConditionalArchitecture, config, inputs=inputs, image_size=image_size, view=view)
        hidden = config.hidden
        self.inputs, self.image_size = inputs, image_size
        self.of_conditions = nn.Linear(inputs, hidden)
        self.of_view = nn.Linear(view, hidden // 4) if view else None
        joined = hidden + (hidden // 4 if view else 0)
        self.both = nn.Sequential(
            nn.SiLU(), nn.Linear(joined, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, 2 * hidden), nn.SiLU()
        )
        self.upsampling = Decoder(image_size, config.width, 2 * hidden, 4, NEARLY_WHITE)
        assert isinstance(self.upsampling.blocks[-1].bias, Tensor)
        nn.init.constant_(self.upsampling.blocks[-1].bias[3:], -NEARLY_WHITE)  # white images have an empty mask

    def forward(self, conditions: Tensor, view: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draws images ``[B, 3, S, S]`` and masks ``[B, 1, S, S]``, both in [0, 1].

        Args:
            conditions: shape ``[B, inputs]``.
            view: see :class:`outfits.imaging.views.Views`, shape ``[B, view]``; None: as the data set's images are.
        """
        h = self.of_conditions(conditions)
        if self.of_view is not None:
            view = conditions.new_zeros(len(conditions), self.of_view.in_features) if view is None else view
            h = torch.cat([h, self.of_view(view)], dim=1)
        maps = self.upsampling(self.both(h)).sigmoid()
        return maps[:, :3], maps[:, 3:]


def image_and_mask_loss(
    drawn: tuple[Tensor, Tensor], images: Tensor, masks: Tensor, config: ConditionalLoss
) -> dict[str, Tensor]:
    """Computes the weighted squared errors of images and masks, shapes as in :class:`ConditionalGenerator`.

    Returns:
        ``image`` and ``mask``, mean squared errors, the former with the weight of background pixels, and ``loss``,
        their weighted sum; each of shape ``[B]``.
    """
    weight = pixel_weight(masks, config.background_weight)
    of_image = squared_error(images, drawn[0], weight)
    of_mask = (drawn[1] - masks).square().mean(dim=(1, 2, 3))
    return {"image": of_image, "mask": of_mask, "loss": of_image + config.mask_weight * of_mask}
