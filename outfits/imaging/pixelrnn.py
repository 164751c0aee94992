"""The row LSTM: a recurrence from row to row over convolved states."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.imaging_pixels import PixelArchitecture
from outfits.imaging.logistic_mixture import parameters_of
from outfits.imaging.pixel_model import CONDITION, CategoryMap, PixelModel

FIRST = 3  # columns before a pixel that the first convolution sees
States = list[tuple[Tensor, Tensor]]


class RowLstmLayer(nn.Module):
    r"""A layer of the row LSTM (van den Oord et al. 2016, arXiv 1601.06759, section 3.1).

    With K_ss a convolution over three states of the row above and K_is one over a pixel and the one before it:
    :math:`[o, f, i, g] = K_{ss} * h_{r-1} + K_{is} * x_r`, then the LSTM's update. The layer adds its hidden state to
    its input.

    Shapes:
        rows and states ``[B, width, S]``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = nn.Conv1d(width, 4 * width, 2)
        self.state_to_state = nn.Conv1d(width, 4 * width, 3, padding=1, bias=False)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, row: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Maps a row ``[B, width, S]``; takes and returns hidden and cell states ``[B, width, S]``."""
        gates = self.input_to_state(F.pad(row, (1, 0)))
        cell = torch.zeros_like(row)
        if before is not None:
            gates, cell = gates + self.state_to_state(before[0]), before[1]
        output, forget, entry, candidate = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget + 1.0) * cell + torch.sigmoid(entry) * torch.tanh(candidate)
        hidden = torch.sigmoid(output) * torch.tanh(cell)
        return row + self.out(hidden), (hidden, cell)


class RowLstm(PixelModel[tuple[Tensor, States]]):
    """PixelRNN with row LSTMs (van den Oord et al. 2016), conditional on the category.

    The receptive field of a pixel is a triangle, which widens by one column on either side per row above. The first
    convolution sees the pixel's own row alone, where the paper's sees 7 × 7 pixels.
    """

    def __init__(self, config: PixelArchitecture, categories: int, image_size: int) -> None:
        super().__init__(config, categories, image_size)
        width = config.width
        self.category = CategoryMap(categories, image_size)
        self.first = nn.Conv1d(3, width, FIRST)
        self.condition = nn.Conv1d(CONDITION, width, 1)
        self.layers = nn.ModuleList(RowLstmLayer(width) for _ in range(config.layers))
        parameters = parameters_of(config.mixtures)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv1d(width, 2 * width, 1), nn.ReLU(), nn.Conv1d(2 * width, parameters, 1)
        )

    @property
    def receptive_field(self) -> str:
        before = FIRST + self.config.layers
        return f"all rows above, a triangle that widens by a column a row from {before} columns before the pixel"

    def forward(self, images: Tensor, categories: Tensor) -> Tensor:
        condition, states, rows = self.category(categories), None, []
        for row in range(images.shape[2]):
            parameters, states = self._row(images[:, :, row], condition[:, :, row], states)
            rows.append(parameters)
        return torch.stack(rows, dim=2)

    def enter_row(
        self, images: Tensor, categories: Tensor, row: int, state: tuple[Tensor, States] | None
    ) -> tuple[Tensor, States]:
        condition = self.category(categories) if state is None else state[0]
        if state is None:
            return condition, []
        states = self._row(images[:, :, row - 1], condition[:, :, row - 1], state[1] or None)[1]
        return condition, states

    def row_parameters(self, images: Tensor, row: int, state: tuple[Tensor, States]) -> Tensor:
        return self._row(images[:, :, row], state[0][:, :, row], state[1] or None)[0]

    def _row(self, pixels: Tensor, condition: Tensor, states: States | None) -> tuple[Tensor, States]:
        """Maps a row of pixels ``[B, 3, S]`` to its parameters ``[B, P, S]`` and the layers' states."""
        h = self.first(F.pad(1.0 - pixels, (FIRST, 0))[..., :-1]) + self.condition(condition)
        kept: States = []
        for place, layer in enumerate(self.layers):
            h, state = layer(h, None if states is None else states[place])
            kept.append(state)
        return self.head(h), kept
