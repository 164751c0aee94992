"""Features of a frozen network: for perceptual losses, Gram matrices and distances between sets of images."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from outfits.errors import ArtifactError, ConfigError
from outfits.packages import weights_file
from outfits.weights import load_foreign

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIDUAL_STAGES = ("layer1", "layer2", "layer3")  # of the ResNets of both libraries
EFFICIENT_STAGES = tuple(f"blocks.{stage}" for stage in range(5))  # of timm's EfficientNets; the last two are coarse
VGG_STAGES = 4
DEFAULT_PLACE = "model.representation.perceptual"


class _Complete(Exception):
    """Ends a forward pass once all layers have been reached."""


class FrozenFeatures(nn.Module):
    """Maps that named layers of a network, frozen here, give for images (arXiv 1603.08155).

    Layers after the last named one are not computed.

    Args:
        network: the network.
        layers: full names of its submodules whose outputs are compared, maps ``[B, c, h, w]``.
        mean, std: normalisation of the images, channel by channel.
        place: section of the configuration that names the layers, for messages.

    Raises:
        ConfigError: if the network lacks a layer.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        place: str = DEFAULT_PLACE,
    ) -> None:
        super().__init__()
        known = dict(network.named_modules())
        unknown = [name for name in layers if name not in known]
        if unknown or not layers:
            names = ", ".join(name for name in known if name and name.count(".") < 2)[:300]
            what = f"has no layer {unknown[0]!r}" if unknown else "needs the layers to compare"
            raise ConfigError([f"{place}.layers: the network {what}; it has {names}"])
        self.network = network.eval().requires_grad_(False)
        self.layers = tuple(dict.fromkeys(layers))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self._maps: dict[str, Tensor] = {}
        for name in self.layers:
            known[name].register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps[name] = output
        if len(self._maps) == len(self.layers):
            raise _Complete

    def named(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the maps of images ``[B, 3, S, S]`` in [0, 1] by layer, in the order of execution."""
        self._maps = {}
        with suppress(_Complete):
            self.network((images - self.mean) / self.std)
        maps, self._maps = self._maps, {}
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps of images ``[B, 3, S, S]`` in [0, 1], in the order of execution."""
        return list(self.named(images).values())


def network_features(
    name: str, weights: str | None, layers: Sequence[str], place: str = DEFAULT_PLACE
) -> FrozenFeatures:
    """Features of a torchvision or timm network with weights from a file.

    Args:
        name: ``torchvision:ARCHITECTURE`` or ``timm:ARCHITECTURE``.
        weights: its state dict, ``.safetensors`` or a ``torch.save`` file of tensors alone; or ``package:NAME``.
        layers: layers to compare; empty: those of :func:`default_layers`.
        place: section of the configuration with these three, for messages.

    Raises:
        ConfigError: if there is no such architecture, package or layer.
        ArtifactError: if the file is missing, cannot be read, or belongs to another architecture.
    """
    library, _, architecture = name.partition(":")
    network = _architecture(library, architecture, name, place)
    path = weights_file(str(weights), f"{place}.weights")
    try:
        load_foreign(network, path, name)
    except ArtifactError as error:
        raise ArtifactError(f"{place}.weights: {error.args[0]}") from error
    normal = getattr(network, "pretrained_cfg", {"mean": IMAGENET_MEAN, "std": IMAGENET_STD})
    return FrozenFeatures(network, layers or default_layers(network), normal["mean"], normal["std"], place)


def default_layers(network: nn.Module) -> tuple[str, ...]:
    """Names the stages of a residual network, an EfficientNet or a VGG; () for other networks."""
    modules = dict(network.named_modules())
    for stages in (RESIDUAL_STAGES, EFFICIENT_STAGES):
        if all(name in modules for name in stages):
            return stages
    pooled = [before for before, name in pairwise(modules) if isinstance(modules[name], nn.MaxPool2d)]
    return tuple(pooled[:VGG_STAGES]) if "features.0" in modules else ()


def _architecture(library: str, architecture: str, name: str, place: str) -> nn.Module:
    """Builds an architecture with random weights."""
    if library == "torchvision":
        from torchvision.models import get_model

        try:
            network: nn.Module = get_model(architecture, weights=None)
        except ValueError:
            network = _unknown(name, place)
        return network
    if library == "timm":
        import timm

        return timm.create_model(architecture) if timm.is_model(architecture) else _unknown(name, place)
    return _unknown(name, place)


def _unknown(name: str, place: str) -> nn.Module:
    raise ConfigError(
        [
            f"{place}.network: {name!r} is unknown; write torchvision:ARCHITECTURE, "
            "timm:ARCHITECTURE, or learned:RUN_DIR for an encoder trained here"
        ]
    )
