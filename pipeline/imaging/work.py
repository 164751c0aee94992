"""What every imaging model works with: the run, its images, a frozen network, and networks trained into the cache."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import OutfitLoaders
from datamodules.images import DistinctImageDataModule
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.config.schema.imaging import ImagingConfig
from outfits.data.dataset import OutfitDataset
from outfits.encoders.learned import image_tensor
from outfits.errors import ConfigError
from outfits.imaging.progress import Progress
from outfits.imaging.swatches import drawn_swatch, fabric_square, mirrored
from outfits.report.examples import evenly_spread
from outfits.representations.perceptual import FrozenFeatures
from outfits.representations.store import frozen_features
from outfits.storage import Arrays, copy_file, read_arrays, write_arrays, write_json
from outfits.weights import save_network, weights_digest
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.run import Run, content_key

PLACE = "model.imaging.perceptual"
MEASURED = 1000  # images of a split that are measured, at most: they are held in memory, made by every model
TRAINING_KEYS = ("image_size", "background", "epochs", "batch_size", "lr", "weight_decay", "warmup", "patience")


@dataclass(frozen=True)
class ImagingWork:
    """Holds what an imaging model is made from.

    Attributes:
        run: the run.
        dataset: its data set, without embeddings.
        data: different images of items, for training, validation and test.
    """

    run: Run
    dataset: OutfitDataset
    data: DistinctImageDataModule

    @property
    def config(self) -> ImagingConfig:
        """Section ``model.imaging``."""
        return self.run.config.model.imaging

    def features(self, *layers: str) -> FrozenFeatures:
        """Returns features of the configured frozen network, at its configured layers where none is named.

        Raises the errors of :func:`outfits.representations.perceptual.network_features`.
        """
        config = self.config.perceptual
        return frozen_features(replace(config, layers=list(layers)) if layers else config, PLACE)

    def features_key(self, features: FrozenFeatures) -> list[Any]:
        """Returns JSON values that features depend on."""
        normalisation = [part.flatten().tolist() for part in (features.mean, features.std)]
        # architectures of equal weights differ, for example, in their padding, which str names
        return [weights_digest(features.network), str(features.network), normalisation, *features.layers]

    def trained(
        self,
        name: str,
        metric: str,
        build: Callable[[], L.LightningModule],
        made_from: Any,
        data: OutfitLoaders | None = None,
    ) -> Path:
        """Finds a network in the run's folder, else in the cache, else trains it into the cache; the run has a copy.

        Args:
            name: of this training, and prefix of its logged metrics.
            metric: as of :func:`pipeline.cached.fit_into_cache`.
            build: makes the module, whose ``model`` is a :class:`outfits.weights.Network`.
            made_from: JSON values that the weights depend on, besides the images and the keys of the training.
            data: its data; None: the images.

        Returns:
            The network's file in the run's folder; ``training_time`` tells how long it took.
        """
        run, config, data, copy = self.run, self.config, data or self.data, self.file(name)
        if before_writing(copy.exists):
            return copy
        settings = {key: getattr(config, key) for key in TRAINING_KEYS}
        images = [self.data.images.key, *(self.data.items[split].tolist() for split in ("train", "valid"))]
        key = content_key(name, settings, made_from, images, run.config.seed, *run.training_facts())
        folder = run.cache / "imaging" / f"{name}-{key}"
        path = folder / run_files.NETWORK
        with to_be_made(run, path, "imaging", f"the {name}") as missing:
            if missing:
                run.require("imaging", wanted_by="this model")
                run.log("imaging", f"training the {name}, {config.epochs} epochs → {folder}")
                started = time.perf_counter()

                def save(network: Any) -> None:
                    write_json(folder / run_files.TRAINING, {"seconds": round(time.perf_counter() - started, 1)})
                    save_network(network, path)

                fit_into_cache(run, folder, name, metric, config, build, data, save)

        def keep() -> None:
            copy_file(folder / run_files.TRAINING, copy.with_suffix(".json"))
            copy_file(path, copy)

        on_rank_zero(keep)
        return copy

    def kept(self, name: str, made_from: Any, make: Callable[[], Arrays]) -> Arrays:
        """Makes arrays, or reads them from the cache, where they survive a kill; ``made_from`` are JSON values.

        ``seconds`` tells how long it took.
        """
        key = content_key(name, made_from, self.run.config.seed)
        path = self.run.cache / "imaging" / f"{name}-{key}.npz"
        arrays = read_arrays(path)
        if arrays is None:
            self.run.require("imaging", wanted_by="this model")
            started = time.perf_counter()
            arrays = {**make(), "seconds": np.array(time.perf_counter() - started)}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, arrays)
        return arrays

    def progress(self, what: str, every: float = 20.0) -> Progress:
        """Logs how far a synthesis is, every so many seconds."""
        told = time.perf_counter()

        def tell(done: int, steps: int, value: float) -> bool:
            nonlocal told
            if time.perf_counter() - told >= every:
                told = time.perf_counter()
                self.run.log("imaging", f"{what}: {done:,} of {steps:,}, at {value:.4f}")
            return True

        return tell

    def swatch(self, source: str, side: int, place: int, key: str, *, mirror: bool = False) -> Tensor:
        """Returns a fabric ``[3, side, side]`` in [0, 1]; raises ConfigError, naming ``key``, if there is none.

        Args:
            source: ``drawn:PATTERN`` or ``item:ID``.
            side: pixels.
            place: which of several, which chooses a drawn one's colour.
            key: the configuration key.
            mirror: cuts an item's square of a half, quarter or eighth of the side, the largest that its garment holds,
                and fills the rest by mirroring.
        """
        kind, _, name = source.partition(":")
        if kind == "drawn":
            return drawn_swatch(name, side, place, seed=self.run.config.seed, key=key)
        ids = self.dataset.catalogue.item_ids
        if kind != "item" or name not in ids:
            raise ConfigError([f"{key}: {source!r} is neither drawn:PATTERN nor item:ID of the catalogue"])
        maps = image_tensor(self.data.images.pixels[[list(ids).index(name)]])[0]
        sides = [side // part for part in (2, 4, 8)] if mirror else [side]
        for cut in sides:
            if (found := fabric_square(maps[:3], maps[3:], cut)) is not None:
                return mirrored(found, side)
        raise ConfigError([f"{key}: {source} has no square of {cut} pixels of fabric; choose a larger image_size"])

    def images(self, split: str, most: int | None = None) -> Tensor:
        """Returns images of a split, at most ``most`` spread evenly over it, ``[n, 3, S, S]`` in [0, 1]."""
        return image_tensor(self.data.images.pixels[self.chosen(split, most)])[:, :3]

    def chosen(self, split: str, most: int | None = None) -> NDArray[np.int64]:
        """Returns catalogue positions of a split, at most ``most`` spread evenly over it."""
        items = self.data.items[split]
        return items if most is None else items[evenly_spread(len(items), most)]

    @property
    def measured(self) -> NDArray[np.int64]:
        """Catalogue positions of the test images that are measured."""
        return self.chosen("test", MEASURED)

    def file(self, name: str) -> Path:
        """Returns the file of a trained network in the run's folder."""
        return self.run.folder / run_files.IMAGING_NETWORKS / f"{name}.safetensors"

    def training_time(self, name: str) -> float:
        """Returns how long a training took, seconds; of an interrupted one, from its last start."""
        return float(json.loads(self.file(name).with_suffix(".json").read_text())["seconds"])
