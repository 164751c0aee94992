"""Message passing over outfit graphs."""

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import (
    Aggregation,
    AttentionalAggregation,
    MaxAggregation,
    MeanAggregation,
    PowerMeanAggregation,
    SetTransformerAggregation,
    SoftmaxAggregation,
    SumAggregation,
)


class SetTransformer(SetTransformerAggregation):  # type: ignore[misc]  # PyG has no types
    """PyG's aggregation by a Set Transformer (arXiv 1810.00825), which gives 0 for nodes without messages.

    PyG's own gives them something that depends on whether others of the batch have messages, and fails if none has.
    """

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """Aggregates messages ``[E, width]``, sorted by ``index [E]``, to ``[dim_size, width]``."""
        self.assert_index_present(index)
        assert index is not None
        nodes = int(index.max()) + 1 if dim_size is None else dim_size
        if not len(x):
            return x.new_zeros(nodes, x.shape[-1])
        received = torch.bincount(index, minlength=nodes) > 0
        found: Tensor = super().forward(x, index, ptr, dim_size, dim)
        return torch.where(received[:, None], found, 0)


def build_aggregation(name: str, width: int) -> Aggregation:
    """Builds a permutation-invariant aggregation of messages of this width by its configured name.

    Raises:
        ValueError: for a name other than sum, mean, max, softmax, powermean, attentional and set_transformer.
    """
    if name == "softmax":
        return SoftmaxAggregation(learn=True)
    if name == "powermean":
        return PowerMeanAggregation(learn=True)
    if name == "attentional":
        return AttentionalAggregation(nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)))
    if name == "set_transformer":
        return SetTransformer(width, heads=4)
    plain = {"sum": SumAggregation, "mean": MeanAggregation, "max": MaxAggregation}
    if name not in plain:
        raise ValueError(f"unknown aggregation {name!r}")
    return plain[name]()


class OutfitMessagePassing(MessagePassing):  # type: ignore[misc]  # PyG has no types
    r"""One step of message passing (arXiv 1704.01212) with a residual connection:

    .. math::
        h_i^{(t)} = h_i^{(t-1)} + \gamma\left(h_i^{(t-1)}, \bigoplus_j \phi(h_i^{(t-1)}, h_j^{(t-1)})\right)

    ``aggregation`` names :math:`\oplus`, see :func:`build_aggregation`; :math:`\phi` and :math:`\gamma` have dropout.
    """

    def __init__(self, width: int, aggregation: str = "sum", dropout: float = 0.0) -> None:
        super().__init__(aggr=build_aggregation(aggregation, width))
        self.norm = nn.LayerNorm(width)
        # φ's first layer, split into the receiver's and the sender's half: computed per node, not per edge
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.phi = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.aggregate_norm = nn.LayerNorm(width)
        self.gamma = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, edge_index: Tensor) -> Tensor:
        """Updates node states ``[V, width]`` along edges ``[2, E]`` (sources first)."""
        normed = self.norm(h)
        messages = self.propagate(edge_index, receiver=self.receiver(normed), sender=self.sender(normed), size=None)
        update: Tensor = self.gamma(torch.cat([normed, self.aggregate_norm(messages)], dim=-1))
        return h + update

    def message(self, receiver_i: Tensor, sender_j: Tensor) -> Tensor:
        """Computes :math:`\\phi(h_i, h_j)` for every edge, shape ``[E, width]``."""
        message: Tensor = self.phi(receiver_i + sender_j)
        return message
