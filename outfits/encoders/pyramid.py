"""Local features of images at several scales: maps of a frozen image network, pooled over grids of cells.

A pyramid of grids of 1, 2 and 3 cells along a side has R = 1 + 4 + 9 parts. The features of a part are the means of the
network's maps over its cell, each map's scaled to unit length; centred and halfway whitened by a PCA of training items'
parts, and scaled to unit length again.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema import Config
from outfits.config.schema.parts import PYRAMID_NETWORKS, PartsConfig
from outfits.encoders.content import content_hash, weights_sha256
from outfits.encoders.fitting import State, half_whitened, kept_state, read_or_fit, write_state
from outfits.encoders.images import Prepare
from outfits.encoders.learned import LearnedImages, preparation_key, prepare_image
from outfits.encoders.timm_images import TimmFeatures
from outfits.errors import ConfigError

VERSION = 1  # raise it when the same image would get other features
BATCH = 64  # images per forward pass
COARSEST = 2  # maps of a learned model that are pooled


class MapNetwork:
    """A frozen image network.

    Attributes:
        image_size: side S of its images, pixels.
        background: what :func:`outfits.encoders.learned.prepare_image` does to backgrounds.
        key: hash of its weights and settings.
    """

    image_size: int
    background: str
    key: str

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps ``[B, c, h, w]`` of images ``[B, 3, S, S]`` in [0, 1]."""
        raise NotImplementedError

    def keep(self, folder: Path) -> None:
        """Copies weights that are not to be had elsewhere to a run's own folder; by default there are none."""


class TimmMaps(MapNetwork):
    """Maps of the stages that ``parts.timm`` names."""

    def __init__(self, config: Config, kept: Path | None = None) -> None:
        settings = config.parts.timm
        self.features = TimmFeatures(settings, "parts.timm")
        self.image_size, self.background = settings.image_size, "keep"
        self.key = content_hash(["timm", weights_sha256(self.features), f"{settings.stages}"])

    def maps(self, images: Tensor) -> list[Tensor]:
        """See :class:`MapNetwork`."""
        return self.features.maps(images)


class LearnedMaps(MapNetwork):
    """The coarsest maps of the convolutional encoder of an image model, that of ``encoder.learned.run`` or kept."""

    def __init__(self, config: Config, kept: Path | None = None) -> None:
        self.learned = LearnedImages(str(kept or config.encoder.learned.run))
        self.encoder: Any = self.learned.model.encoder
        self.image_size, self.background = self.learned.model.image_size, self.learned.background
        self.key = self.learned.key

    def keep(self, folder: Path) -> None:
        """See :class:`MapNetwork`."""
        self.learned.keep(folder)

    def maps(self, images: Tensor) -> list[Tensor]:
        """See :class:`MapNetwork`."""
        found: list[Tensor] = self.encoder.maps(images)
        return found[-COARSEST:]


class PyramidEncoder:
    """Maps images to pyramids.

    Args:
        network: the image network.
        grids: cells along a side of each scale.
        state: ``mean`` and ``components`` of :func:`outfits.encoders.fitting.half_whitened`.
        key: hash of network, grids and fit.

    Raises:
        ConfigError: if a grid has more cells than the network's maps.
    """

    def __init__(self, network: MapNetwork, grids: Sequence[int], state: State, key: str) -> None:
        self.network = network
        self.grids = tuple(grids)
        self.key = key
        self.mean = torch.from_numpy(np.array(state["mean"]))
        self.components = torch.from_numpy(np.array(state["components"]))

    @property
    def feature_dim(self) -> int:
        """Width d of local features."""
        return len(self.components)

    @property
    def parts(self) -> int:
        """R, the number of parts of an image."""
        return sum(grid * grid for grid in self.grids)

    @property
    def prepare(self) -> Prepare:
        """Pads with white and shrinks, as for training."""
        return partial(prepare_image, image_size=self.network.image_size, background=self.network.background)

    def encode(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Pyramids ``[n, R, d]`` of prepared images or views, uint8, ``[S, S, 3 or 4]`` each."""
        found = [np.zeros((0, self.parts, self.feature_dim), dtype=np.float32)]
        for raw in raw_parts(self.network, self.grids, images):
            reduced = (raw - self.mean) @ self.components.T
            found.append(F.normalize(reduced, dim=-1).numpy())
        return np.concatenate(found)

    def save(self, path: Path) -> None:
        """Writes the fit, and beside it what the network keeps."""
        self.network.keep(path.parent)
        write_state(path, self.key, {"mean": self.mean.numpy(), "components": self.components.numpy()})


def raw_parts(network: MapNetwork, grids: Sequence[int], images: Iterable[NDArray[np.uint8]]) -> Iterable[Tensor]:
    """Parts before the PCA, batch by batch, ``[B, R, c]``."""
    rest = iter(images)
    while batch := list(islice(rest, BATCH)):
        pixels = torch.from_numpy(np.stack([image[..., :3] for image in batch])).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            yield pooled_parts(network.maps(pixels), grids)


def pooled_parts(maps: Sequence[Tensor], grids: Sequence[int]) -> Tensor:
    """Means of maps ``[B, c, h, w]`` over the cells of grids, each map's of unit length, ``[B, R, c]``.

    Raises:
        ConfigError: if a grid has more cells than a map.
    """
    side = min(min(one.shape[2:]) for one in maps)
    if max(grids) > side:
        text = f"{list(grids)} has a grid finer than the network's maps of side {side}; enlarge parts.timm.image_size"
        raise ConfigError([f"parts.grids: {text}"])
    scales = []
    for grid in grids:
        cells = [F.normalize(F.adaptive_avg_pool2d(one, grid).flatten(2), dim=1) for one in maps]
        scales.append(torch.cat(cells, dim=1).transpose(1, 2))
    return torch.cat(scales, dim=1)


def build_network(config: Config, kept: Path | None = None) -> MapNetwork:
    """Builds the configured network; ``kept`` is the folder of a run's own weights.

    Raises:
        ConfigError: if there is no such network, package, stage or run.
        ArtifactError: if its weights cannot be loaded.
    """
    network: MapNetwork = PYRAMID_NETWORKS[config.parts.network].load()(config, kept)
    return network


def fit_pyramids(
    network: MapNetwork, config: PartsConfig, images: Sequence[NDArray[np.uint8]], state_dir: Path
) -> PyramidEncoder:
    """Fits the PCA of the network's parts on prepared images of training items, or reads the fit from ``state_dir``."""
    prepared = preparation_key(network.image_size, network.background)
    settings = f"pyramid {VERSION} {config.grids} {config.feature_dim}"
    key = content_hash([settings, network.key, prepared, *(image.tobytes() for image in images)])

    def fit() -> State:
        rows = np.concatenate([raw.flatten(0, 1).numpy() for raw in raw_parts(network, config.grids, images)])
        scale = np.ones(rows.shape[1], dtype=np.float32)
        return half_whitened(rows, config.feature_dim, scale, "local features")

    state = read_or_fit(state_dir / f"local-features-{key[:32]}.npz", key, fit)
    return PyramidEncoder(network, config.grids, state, key)


def load_pyramids(config: Config, path: Path) -> PyramidEncoder:
    """Builds the configured network again, with a fit of :meth:`PyramidEncoder.save`."""
    key, state = kept_state(path)
    return PyramidEncoder(build_network(config, path.parent), config.parts.grids, state, key)
