"""The gated PixelCNN: two stacks of causal convolutions, one over the rows above, one over the row's own start."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.imaging_pixels import PixelArchitecture
from outfits.imaging.logistic_mixture import parameters_of
from outfits.imaging.pixel_model import CONDITION, CategoryMap, PixelModel

FIRST = 3  # rows above, and columns before, that the first convolutions see


def gated(maps: Tensor) -> Tensor:
    """Halves the channels: tanh of one half times sigmoid of the other."""
    signal, gate = maps.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(gate)


class GatedLayer(nn.Module):
    r"""One layer of both stacks (van den Oord et al. 2016, figure 2).

    The vertical stack convolves the rows above a pixel, all columns, the horizontal one the columns before it in its
    own row and adds the vertical stack's map of the same place. Since no convolution is masked by zeroed weights, the
    rows above have no blind spot. Unlike the paper's, the vertical stack adds its input too. Both are conditioned:
    :math:`\tanh(Wx + Vs) \odot \sigma(W'x + V's)`.

    Shapes:
        vertical and horizontal maps ``[B, width, R, S]``, condition ``[B, CONDITION, R, S]`` of R rows.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.vertical = nn.Conv2d(width, 2 * width, (2, 3), dilation=dilation)
        self.horizontal = nn.Conv2d(width, 2 * width, (1, 2), dilation=dilation)
        self.down = nn.Conv2d(width, 2 * width, 1)
        self.across = nn.Conv2d(width, width, 1)
        self.condition = nn.Conv2d(CONDITION, 4 * width, 1)

    def of_rows(self, above: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Maps the vertical stack; returns its next map and what the horizontal stack takes, ``[B, 2·width, R, S]``."""
        d = self.dilation
        of_vertical, of_horizontal = self.condition(condition).chunk(2, dim=1)
        maps = gated(self.vertical(F.pad(above, (d, d, d, 0))) + of_vertical)
        return above + maps, self.down(maps) + of_horizontal

    def of_columns(self, before: Tensor, from_above: Tensor) -> Tensor:
        """Maps the horizontal stack, with what :meth:`of_rows` gives it."""
        maps = self.horizontal(F.pad(before, (self.dilation, 0, 0, 0)))
        return before + self.across(gated(maps + from_above))  # type: ignore[no-any-return]


class GatedPixelCnn(PixelModel[list[Tensor]]):
    """The gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328), conditional on the category.

    The image enters shifted: the vertical stack begins with the rows above a pixel, the horizontal one with the
    columns before it. White enters as zero, as the padding does.
    """

    def __init__(self, config: PixelArchitecture, categories: int, image_size: int) -> None:
        super().__init__(config, categories, image_size)
        width = config.width
        self.category = CategoryMap(categories, image_size)
        self.first_rows = nn.Conv2d(3, width, (FIRST, 2 * FIRST + 1))
        self.first_columns = nn.Conv2d(3, width, (1, FIRST))
        self.layers = nn.ModuleList(GatedLayer(width, 1 + place % 2) for place in range(config.layers))
        parameters = parameters_of(config.mixtures)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, parameters, 1)
        )

    @property
    def receptive_field(self) -> str:
        reach = FIRST + sum(1 + place % 2 for place in range(self.config.layers))
        return f"{reach} rows above over {reach} columns either side, and {reach} columns before"

    def forward(self, images: Tensor, categories: Tensor) -> Tensor:
        from_above = self._rows(images, self.category(categories))
        return self._columns(images, from_above)

    def enter_row(self, images: Tensor, categories: Tensor, row: int, state: list[Tensor] | None) -> list[Tensor]:
        condition = self.category(categories)
        rows = self._rows(images[:, :, : row + 1], condition[:, :, : row + 1])
        return [maps[:, :, -1:] for maps in rows]

    def row_parameters(self, images: Tensor, row: int, state: list[Tensor]) -> Tensor:
        return self._columns(images[:, :, row : row + 1], state)[:, :, 0]

    def _rows(self, images: Tensor, condition: Tensor) -> list[Tensor]:
        """Runs the vertical stack; returns what each layer of the horizontal one takes."""
        ink = F.pad(1.0 - images, (FIRST, FIRST, FIRST, 0))[:, :, :-1]
        above, taken = self.first_rows(ink), []
        for layer in self.layers:
            above, from_above = layer.of_rows(above, condition)  # type: ignore[operator]
            taken.append(from_above)
        return taken

    def _columns(self, images: Tensor, from_above: list[Tensor]) -> Tensor:
        """Runs the horizontal stack on rows, with what the vertical one gives it."""
        before = self.first_columns(F.pad(1.0 - images, (FIRST, 0, 0, 0))[..., :-1])
        for layer, taken in zip(self.layers, from_above, strict=True):
            before = layer.of_columns(before, taken)  # type: ignore[operator]
        parameters: Tensor = self.head(before)
        return parameters
