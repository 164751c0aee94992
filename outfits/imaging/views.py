"""Views of an image: its place, size and brightness, as numbers that a network is told."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.config.schema.imaging_conditional import ViewConfig

VIEW = ("to the right", "downwards", "larger", "brighter")
"""What each number of a view does; from -1, least, to 1, most."""


@dataclass(frozen=True)
class Views:
    """Draws views and applies them; see :data:`VIEW` for their four numbers."""

    config: ViewConfig

    def draw(self, count: int) -> Tensor:
        """Draws views ``[count, 4]`` with the global random state, as augmentation does; uniform in [-1, 1]."""
        return torch.rand(count, len(VIEW)) * 2.0 - 1.0

    def apply(self, images: Tensor, masks: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Moves, enlarges and brightens images ``[B, 3, S, S]`` and masks ``[B, 1, S, S]`` by views ``[B, 4]``.

        White comes in at the edges. Only what the mask marks becomes brighter: the background stays.
        """
        config, views = self.config, views.to(images)
        enlarged = 1.0 + config.size * views[:, 2]
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1.0 / enlarged
        theta[:, :, 2] = -2.0 * config.place * views[:, :2] / enlarged[:, None]  # the grid's side is 2
        both = torch.cat([1.0 - images, masks], dim=1)  # white is 0, which grid_sample fills in
        grid = F.affine_grid(theta, list(both.shape), align_corners=False)
        both = F.grid_sample(both, grid, align_corners=False)
        images, masks = 1.0 - both[:, :3], both[:, 3:]
        lit = (images * (1.0 + config.brightness * views[:, 3, None, None, None])).clamp(0.0, 1.0)
        return masks * lit + (1.0 - masks) * images, masks
