"""Layers of the generator from PyG's graph convolutions, updated as message passing is."""

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv, GCNConv

from outfits.config.schema.model import ATTENTION_HEADS


class ConvolutionLayer(nn.Module):
    r"""One graph convolution with a residual connection, :math:`h + \gamma(h, \mathrm{conv}(h))`.

    The update :math:`\gamma` is that of :class:`outfits.models.message_passing.OutfitMessagePassing`, so that layers
    differ in how they gather from the neighbours alone.
    """

    def __init__(self, width: int, convolution: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = convolution
        self.aggregate_norm = nn.LayerNorm(width)
        self.gamma = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, edge_index: Tensor) -> Tensor:
        """Updates node states ``[V, width]`` along edges ``[2, E]`` (sources first)."""
        normed = self.norm(h)
        gathered = self.aggregate_norm(self.convolution(normed, edge_index))
        update: Tensor = self.gamma(torch.cat([normed, gathered], dim=-1))
        return h + update


def gcn_layer(width: int, aggregation: str, dropout: float) -> ConvolutionLayer:
    """Gathers the degree-normalised mean of the neighbours (Kipf and Welling 2017, arXiv 1609.02907)."""
    return ConvolutionLayer(width, GCNConv(width, width), dropout)


def gat_layer(width: int, aggregation: str, dropout: float) -> ConvolutionLayer:
    """Gathers by attention over the neighbours (Velickovic et al. 2018, arXiv 1710.10903)."""
    return ConvolutionLayer(width, _attention(GATConv, width, dropout), dropout)


def gatv2_layer(width: int, aggregation: str, dropout: float) -> ConvolutionLayer:
    """Gathers by attention whose ranking of the neighbours depends on the node (Brody et al. 2022, 2105.14491)."""
    return ConvolutionLayer(width, _attention(GATv2Conv, width, dropout), dropout)


def _attention(kind: type, width: int, dropout: float) -> nn.Module:
    if width % ATTENTION_HEADS:
        raise ValueError(f"width {width} is not divisible by {ATTENTION_HEADS} attention heads")
    attention: nn.Module = kind(width, width // ATTENTION_HEADS, heads=ATTENTION_HEADS, dropout=dropout)
    return attention
