"""Image encoder trained on the catalogue's images alone: see :mod:`outfits.representations`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits import run_files
from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash
from outfits.encoders.features import cut_out, foreground, lab, shrink
from outfits.encoders.images import Prepare
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError
from outfits.representations.store import load_representation
from outfits.storage import write_atomically

# Raise this when the same image would be prepared otherwise.
PREPARATION = 1
BATCH = 256  # images per forward pass


def prepare_image(image: Image.Image, image_size: int, background: str = "keep") -> NDArray[np.uint8]:
    """Prepares an RGB image for image models, with the estimated foreground.

    The longer side is reduced to ``image_size`` pixels and the rest padded with white. The probability that a pixel
    belongs to the garment is estimated as for the classical descriptors (:func:`outfits.encoders.features.foreground`);
    padding is background. ``background="cut"`` makes the background white, ``"keep"`` does not.

    Returns:
        RGB and foreground, uint8, shape ``[image_size, image_size, 4]``.
    """
    pixels = shrink(image, image_size)
    weight = foreground(lab(pixels))
    if background == "cut":
        pixels = np.rint(cut_out(pixels.astype(np.float32), weight, np.float32(255.0))).astype(np.uint8)
    canvas = np.zeros((image_size, image_size, 4), dtype=np.uint8)
    canvas[..., :3] = 255
    top, left = (image_size - pixels.shape[0]) // 2, (image_size - pixels.shape[1]) // 2
    inside = canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    inside[..., :3] = pixels
    inside[..., 3] = np.rint(255 * weight)
    return canvas


def preparation_key(image_size: int, background: str) -> str:
    """Hashes the result of :func:`prepare_image` with these settings."""
    return content_hash([f"images {PREPARATION}", str(image_size), background])


def image_tensor(prepared: NDArray[np.uint8]) -> torch.Tensor:
    """Converts prepared images ``[B, S, S, 4]`` to a float tensor ``[B, 4, S, S]`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(prepared)).permute(0, 3, 1, 2).float() / 255.0


class LearnedImages:
    """Latents of a frozen image model, centred and half whitened; ``run`` is any folder with its weights.

    Raises:
        ConfigError: if the folder does not exist.
        ArtifactError: if the run has no finished representation.
    """

    def __init__(self, run: str, precision: str = "auto") -> None:
        folder = Path(run).expanduser()
        if not folder.is_dir():
            raise ConfigError(
                [f"encoder.learned.run: there is no folder {run}; name a finished run of experiment=representation"]
            )
        if not (folder / run_files.REPRESENTATION).is_file():
            raise ArtifactError(
                f"encoder.learned.run: {folder} has no {run_files.REPRESENTATION}; finish that run with train.py "
                f"resume={folder}"
            )
        self.path = folder / run_files.REPRESENTATION
        self.model, sha256 = load_representation(self.path)
        self.precision = precision
        self.device = torch.device("cpu")
        self.key = content_hash(
            ["learned images", precision, sha256, preparation_key(self.model.image_size, self.background)]
        )

    @property
    def background(self) -> str:
        """Treatment of the background, in training and here."""
        return self.model.config.background

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.model.latent_dim

    @property
    def draft_size(self) -> int:
        """JPEG decoding may shrink an image to twice the side of the model's images."""
        return 2 * self.model.image_size

    @property
    def prepare(self) -> Prepare:
        """Pads, shrinks and estimates the background."""
        return partial(prepare_image, image_size=self.model.image_size, background=self.background)

    def keep(self, folder: Path) -> None:
        """Copies the model to another folder: its own run may be moved or deleted."""
        weights = self.path.read_bytes()
        write_atomically(folder / run_files.REPRESENTATION, lambda file: file.write(weights))

    def to(self, device: torch.device | str) -> None:
        """Moves the model."""
        self.device = torch.device(device)
        self.model.to(self.device)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Item vectors, shape ``[B, dim]``."""
        vectors = []
        for start in range(0, len(prepared), BATCH):
            images = image_tensor(np.stack(prepared[start : start + BATCH]))[:, :3].to(self.device)
            with autocast(self.precision, self.device):
                vectors.append(self.model.embed(images).float().cpu().numpy())
        return np.concatenate(vectors)


def build_images(source: EncoderSource) -> LearnedImages:
    """Returns the encoder of the configured run, or a run's copy of it."""
    return LearnedImages(str(source.kept or source.config.learned.run), source.config.precision)
