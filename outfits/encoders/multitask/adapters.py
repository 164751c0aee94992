"""Adapters of FAME-ViL (Han et al. 2023): bottlenecks beside the layers of a tower, and between two towers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Adapter(nn.Module):
    r"""Adds :math:`s (W_u \, \mathrm{ReLU}(W_d \, \mathrm{LN}(x) + b_d) + b_u)` to a layer, s learned from 1.

    :math:`W_u` and both biases start at 0, so that an untrained adapter adds nothing.
    """

    def __init__(self, width: int, bottleneck: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to ``x``, both ``[B, L, width]``."""
        hidden = self.dropout(F.relu(self.down(self.norm(x))))
        found: Tensor = self.scale * self.up(hidden)
        return found


class CrossAttentionAdapter(nn.Module):
    r"""Lets a tower read the other one: :math:`s \cdot \mathrm{AdaptMLP}(\mathrm{LN}(\mathrm{MHXA}(x, y)))`.

    MHXA is multi-head attention of queries from :math:`\mathrm{LN}(x)` to keys and values from :math:`\mathrm{LN}(y)`.
    Adds nothing until it is trained.

    Args:
        width: of the reading tower.
        context: width of the tower that is read.
        heads: of the reading tower; divides ``width``.
        bottleneck: width of the bottleneck.
        dropout: within the bottleneck.
    """

    def __init__(self, width: int, context: int, heads: int, bottleneck: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(context)
        self.attention = nn.MultiheadAttention(width, heads, kdim=context, vdim=context, batch_first=True)
        self.adapter = Adapter(width, bottleneck, dropout)

    def forward(self, x: Tensor, context: Tensor, absent: Tensor | None = None) -> Tensor:
        """What is added to ``x``.

        Args:
            x: states of the reading tower, shape ``[B, L, width]``.
            context: states of the other tower, shape ``[B, M, context]``.
            absent: which of these are padding, bool, shape ``[B, M]``; None: none.
        """
        read = self.norm_context(context)
        attended, _ = self.attention(self.norm(x), read, read, key_padding_mask=absent, need_weights=False)
        found: Tensor = self.adapter(attended)
        return found
