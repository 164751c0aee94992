"""Features of a frozen network for the perceptual loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from outfits.errors import ArtifactError, ConfigError
from outfits.weights import load_foreign

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIDUAL_STAGES = ("layer1", "layer2", "layer3")  # of the ResNets of both libraries


class FrozenFeatures(nn.Module):
    """Maps that named layers of a network, frozen here, give for images (arXiv 1603.08155).

    Args:
        network: the network.
        layers: full names of its submodules whose outputs are compared, maps ``[B, c, h, w]``.
        mean, std: normalisation of the images, channel by channel.

    Raises:
        ConfigError: if the network lacks a layer.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        known = dict(network.named_modules())
        unknown = [name for name in layers if name not in known]
        if unknown or not layers:
            names = ", ".join(name for name in known if name and name.count(".") < 2)[:300]
            what = f"has no layer {unknown[0]!r}" if unknown else "needs the layers to compare"
            raise ConfigError([f"model.representation.perceptual.layers: the network {what}; it has {names}"])
        self.network = network.eval().requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self._maps: list[Tensor] = []
        for name in layers:
            known[name].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps.append(output)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the layers' maps of images ``[B, 3, S, S]`` in [0, 1], in the order of execution."""
        self._maps = []
        self.network((images - self.mean) / self.std)
        maps, self._maps = self._maps, []
        return maps


def network_features(name: str, weights: str | None, layers: Sequence[str]) -> FrozenFeatures:
    """Features of a torchvision or timm network with weights from a file.

    Args:
        name: ``torchvision:ARCHITECTURE`` or ``timm:ARCHITECTURE``.
        weights: its state dict, ``.safetensors`` or a ``torch.save`` file of tensors alone.
        layers: layers to compare; empty: the first three stages of a residual network.

    Raises:
        ConfigError: if there is no such architecture or layer.
        ArtifactError: if the file is missing, cannot be read, or belongs to another architecture.
    """
    library, _, architecture = name.partition(":")
    network = _architecture(library, architecture, name)
    try:
        load_foreign(network, Path(str(weights)), name)
    except ArtifactError as error:
        raise ArtifactError(f"model.representation.perceptual.weights: {error.args[0]}") from error
    return FrozenFeatures(network, layers or RESIDUAL_STAGES, IMAGENET_MEAN, IMAGENET_STD)


def _architecture(library: str, architecture: str, name: str) -> nn.Module:
    """Builds an architecture with random weights."""
    if library == "torchvision":
        from torchvision.models import get_model

        try:
            network: nn.Module = get_model(architecture, weights=None)
        except ValueError:
            network = _unknown(name)
        return network
    if library == "timm":
        import timm

        return timm.create_model(architecture) if timm.is_model(architecture) else _unknown(name)
    return _unknown(name)


def _unknown(name: str) -> nn.Module:
    raise ConfigError(
        [
            f"model.representation.perceptual.network: {name!r} is unknown; write torchvision:ARCHITECTURE, "
            "timm:ARCHITECTURE, or learned:RUN_DIR for an encoder trained here"
        ]
    )
