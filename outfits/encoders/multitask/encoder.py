"""Item encoder from a trained multi-task network: images and texts in one space, as it searches in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from outfits import run_files
from outfits.config.schema.multitask import RETRIEVAL
from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash
from outfits.encoders.images import Prepare
from outfits.encoders.multitask.batch import pixels_of
from outfits.encoders.multitask.store import StoredNetwork, load_multitask
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError
from outfits.storage import write_atomically

BATCH = 128


class Multitask:
    """A network on a device, shared by image encoder, text encoder and what else uses it.

    Args:
        run: folder of a finished run of ``experiment=multitask``, or of a run that encodes by one.
        precision: arithmetic, a value of ``encoder.precision``.

    Raises:
        ConfigError: if the folder does not exist.
        ArtifactError: if the run has no finished model.
    """

    def __init__(self, run: str | Path, precision: str = "auto") -> None:
        folder = Path(run).expanduser()
        if not folder.is_dir():
            raise ConfigError(
                [f"encoder.multitask.run: there is no folder {run}; name a finished run of experiment=multitask"]
            )
        self.path = folder / run_files.MULTITASK
        if not self.path.is_file():
            raise ArtifactError(
                f"encoder.multitask.run: {folder} has no {run_files.MULTITASK}; finish that run with train.py "
                f"resume={folder}"
            )
        self.stored: StoredNetwork = load_multitask(self.path)
        self.precision = precision
        self.device = torch.device("cpu")
        self.dim = self.stored.network.clip_settings.embed_dim
        self.key = content_hash(["multitask", precision, self.stored.sha256])

    @property
    def tasks(self) -> Sequence[str]:
        """What the network has learned."""
        return self.stored.network.config.tasks

    def to(self, device: torch.device | str) -> None:
        """Moves the network."""
        self.device = torch.device(device)
        self.stored.network.to(self.device)

    def keep(self, folder: Path) -> None:
        """Copies the network to another folder: its own run may be moved or deleted."""
        if folder.resolve() != self.path.parent.resolve():
            weights = self.path.read_bytes()
            write_atomically(folder / run_files.MULTITASK, lambda file: file.write(weights))

    @torch.inference_mode()
    def image_vectors(self, prepared: Sequence[NDArray[Any]], task: str) -> NDArray[np.float32]:
        """Vectors of unit length ``[B, dim]`` of prepared images, with a task's adapters where the network has them."""
        network, vectors = self.stored.network, [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(prepared), BATCH):
            pixels = torch.from_numpy(np.stack(prepared[start : start + BATCH])).to(self.device)
            with autocast(self.precision, self.device):
                found = network.image_vectors(pixels_of(network, pixels), network.task_or_none(task))
            vectors.append(found.float().cpu().numpy())
        return np.concatenate(vectors)


class MultitaskImages:
    """The image side of a :class:`Multitask`."""

    def __init__(self, model: Multitask) -> None:
        self.model = model
        self.dim = model.dim
        self.key = content_hash(["images", model.key])
        self.draft_size = 2 * model.stored.network.clip_settings.image_size

    @property
    def prepare(self) -> Prepare:
        """Resizes and crops for the model."""
        return self.model.stored.network.clip_settings.prepare

    def keep(self, folder: Path) -> None:
        """Copies the model to another folder."""
        self.model.keep(folder)

    def to(self, device: torch.device | str) -> None:
        """Moves the shared model."""
        self.model.to(device)

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Image embeddings of prepared images, ``B`` times ``[S, S, 3]``, to ``[B, dim]``."""
        return self.model.image_vectors(prepared, RETRIEVAL)


class MultitaskTexts:
    """The text side of a :class:`Multitask`."""

    def __init__(self, model: Multitask) -> None:
        self.model = model
        self.dim = model.dim
        self.key = content_hash(["texts", model.key])

    def keep(self, folder: Path) -> None:
        """Copies the model to another folder."""
        self.model.keep(folder)

    def to(self, device: torch.device | str) -> None:
        """Moves the shared model."""
        self.model.to(device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Text embeddings, shape ``[B, dim]``; zeros where the model knows no word."""
        model, network = self.model, self.model.stored.network
        vectors = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), BATCH):
            tokens = model.stored.tokens(texts[start : start + BATCH]).to(model.device)
            with autocast(model.precision, model.device):
                found = network.text_vectors(tokens, network.task_or_none(RETRIEVAL))
            vectors.append(found.float().cpu().numpy())
        return np.concatenate(vectors) * model.stored.tokens.known(texts)[:, None]


def build_images(source: EncoderSource) -> MultitaskImages:
    """The image encoder of the configured run, or a run's copy of it."""
    return MultitaskImages(_model(source))


def build_texts(source: EncoderSource) -> MultitaskTexts:
    """The text encoder of the configured run, or a run's copy of it."""
    return MultitaskTexts(_model(source))


def _model(source: EncoderSource) -> Multitask:
    """The configured model, loaded once for images and texts."""
    if "multitask" not in source.shared:
        run = source.kept or source.config.multitask.run
        source.shared["multitask"] = Multitask(str(run), source.config.precision)
    model: Multitask = source.shared["multitask"]
    return model
