"""Networks from conditions to an image and its mask."""

import torch
from torch import Tensor, nn

from outfits.config.schema.imaging_conditional import ConditionalArchitecture, ConditionalLoss
from outfits.imaging.upsampling import Upsampling
from outfits.representations.blocks import NEARLY_WHITE
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
        # normalised, so that conditions tell images apart from the first step on, however few inputs differ
        self.of_conditions = nn.Sequential(nn.Linear(inputs, hidden), nn.LayerNorm(hidden))
        self.of_view = nn.Linear(view, hidden // 4) if view else None
        joined = hidden + (hidden // 4 if view else 0)
        self.both = nn.Sequential(
            nn.SiLU(), nn.Linear(joined, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, 2 * hidden), nn.SiLU()
        )
        for layer in self.both:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.upsampling = Upsampling(image_size, config.width, 2 * hidden, 4)
        assert self.upsampling.last.bias is not None
        with torch.no_grad():  # at first a white image with an empty mask
            self.upsampling.last.weight.mul_(0.1)
            self.upsampling.last.bias.copy_(torch.tensor([*[NEARLY_WHITE] * 3, -NEARLY_WHITE]))

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
