"""GRNet, similarity of two items from the similarities of their parts (Kuang et al. 2019, arXiv 1908.11754)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import DenseGCNConv

from outfits.config.schema.parts import GrnetArchitecture
from outfits.weights import Network

EPSILON = 1e-8  # added to lengths
SHARPNESS = 8.0  # factor of inner products of unit vectors in edges at the start
NEAR = 1e-6  # mean squared distance of parts from which on images count as different


class PartsConv(nn.Module):
    r"""Lets the nodes of a graph of parts exchange what they are.

    :math:`\hat s_a = \mathrm{ReLU}(W \sum_b w_{ab} s_b)` with
    :math:`w_{ab} = \mathrm{softmax}_b ((T_{out} s_a)^\top (T_{in} s_b))` over all nodes of all scales.

    The graph is complete, so its edges are a dense matrix: in PyG's sparse layers (``TransformerConv`` is the same map
    but for a factor of T) each of the V² edges would hold a copy of a node. PyG's :class:`DenseGCNConv` does the sum
    and W; it scales by node degrees, which are 1 because rows of w sum to 1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.outgoing = nn.Linear(dim, dim, bias=False)
        self.incoming = nn.Linear(dim, dim, bias=False)
        self.update = DenseGCNConv(dim, dim, bias=False)
        for linear in (self.outgoing, self.incoming):
            # nodes begin by looking at those like them; from small random T every node would be the mean of all
            linear.weight.data = SHARPNESS**0.5 * torch.eye(dim)

    def weights(self, receivers: Tensor, nodes: Tensor) -> Tensor:
        """w ``[B, U, V]`` of receiving nodes ``[B, U, dim]`` and all nodes ``[B, V, dim]``."""
        found: Tensor = (self.outgoing(receivers) @ self.incoming(nodes).transpose(1, 2)).softmax(-1)
        return found

    def forward(self, nodes: Tensor, receivers: int | None = None) -> Tensor:
        """Updates nodes ``[B, V, dim]``, or so many of the first alone."""
        return F.relu(self.update(nodes, self.weights(nodes[:, :receivers], nodes), add_loop=False))


class Grnet(Network[GrnetArchitecture]):
    r"""Compares two pyramids of local features by a graph of their similarity vectors.

    A node for every two parts of one scale, :math:`s_l^{ij} = P|x_l^i - y_l^j|^2 / \|P|x_l^i - y_l^j|^2\|_2`, and a
    global node, the same of the means of all parts with a projection of its own; layers of :class:`PartsConv`; the
    global node then gives r, the logit of showing the same item.

    .. math:: S_X(X, Y) = 1 - 2 g(X, Y) (1 - \sigma(r(X, Y))),\quad g = \delta / (\delta + 10^{-6})

    with :math:`\delta` the mean of :math:`|x_l^i - y_l^i|^2` over the parts. So :math:`S_X \in [-1, 1]`, and
    :math:`S_X(X, X) = 1` whatever the weights are, since there :math:`\delta = 0`; between images that differ g is
    1 but for a millionth or so. P has a bias where the architecture says so: without one, length 1 leaves of a
    difference its direction alone, and of no difference nothing.

    Args:
        config: the architecture.
        feature_dim: width of local features.
    """

    def __init__(self, config: GrnetArchitecture, feature_dim: int) -> None:
        super().__init__(GrnetArchitecture, config, feature_dim=feature_dim)
        self.local = nn.Linear(feature_dim, config.dim, bias=config.bias)
        self.overall = nn.Linear(feature_dim, config.dim, bias=config.bias)
        self.layers = nn.ModuleList(PartsConv(config.dim) for _ in range(config.layers))
        self.readout = nn.Linear(config.dim, 1)
        for linear in (self.local, self.overall):
            # differences of unit vectors are about 1/d in every coordinate, small beside the bias
            linear.weight.data *= max(1.0, feature_dim / 4)
        # The global node begins as one of the parts' nodes would: from a projection unrelated to theirs it looks at
        # itself alone, and some trainings never learn to look elsewhere.
        self.overall.load_state_dict(self.local.state_dict())
        self.cells = [grid * grid for grid in config.grids]

    @property
    def parts(self) -> int:
        """R, the number of parts of an image."""
        return sum(self.cells)

    def nodes(self, x: Tensor, y: Tensor) -> Tensor:
        """Similarity vectors ``[B, V, dim]`` of pyramids ``[B, R, d]``: the global one, then scale by scale."""
        found = [_unit(self.overall((x.mean(1) - y.mean(1)).square()))[:, None]]
        for one, other in zip(torch.split(x, self.cells, 1), torch.split(y, self.cells, 1), strict=True):
            difference = (one[:, :, None] - other[:, None]).square()  # [B, cells, cells, d]
            found.append(_unit(self.local(difference)).flatten(1, 2))
        return torch.cat(found, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits r ``[B]`` of pyramids ``[B, R, d]`` and ``[B, R, d]``, pair by pair."""
        return self.read(self.nodes(x, y))

    def read(self, nodes: Tensor) -> Tensor:
        """Logits r ``[B]`` of graphs ``[B, V, dim]``, the global node first."""
        for number, layer in enumerate(self.layers, start=1):
            nodes = layer(nodes, 1 if number == len(self.layers) else None)  # of the last, the global node is read
        logits: Tensor = self.readout(nodes[:, 0])[:, 0]
        return logits

    @torch.no_grad()
    def part_effects(self, x: Tensor, y: Tensor) -> Tensor:
        """What each part of a pyramid ``[R, d]`` adds to r: r less r without the part's nodes, ``[R]``."""
        nodes = self.nodes(x[None], y[None])[0]  # [V, dim]
        effects, start = [], 1
        for cells in self.cells:
            places = torch.arange(start, start + cells * cells, device=nodes.device).view(cells, cells)
            kept = torch.ones(cells, len(nodes), dtype=torch.bool, device=nodes.device)
            kept[torch.arange(cells)[:, None], places] = False
            without = torch.stack([nodes[some] for some in kept])  # [cells, V - cells, dim]
            effects.append(self.read(nodes[None]) - self.read(without))
            start += cells * cells
        return torch.cat(effects)

    def evidence(self, x: Tensor, y: Tensor) -> Tensor:
        """Ranks pairs as S_X does, not rounded: ``-log((1 - S_X) / 2)``, shape ``[B]``, infinite for X = Y."""
        delta = (x - y).square().sum(-1).mean(-1).double()
        return F.softplus(self(x, y).double()) - torch.log(delta / (delta + NEAR))

    def similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """S_X ``[B]`` of pyramids ``[B, R, d]`` and ``[B, R, d]``, pair by pair."""
        found: Tensor = 1 - 2 * torch.exp(-self.evidence(x, y))
        return found


def _unit(vectors: Tensor) -> Tensor:
    scaled: Tensor = vectors / (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + EPSILON)
    return scaled
