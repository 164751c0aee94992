"""Image encoder trained here on pictures alone: see :mod:`outfits.representations`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits.encoders.content import content_hash
from outfits.encoders.features import cut_out, foreground, lab, shrink
from outfits.encoders.images import Prepare
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError
from outfits.representations.store import WEIGHTS, load_representation

# Raised when the same picture would be prepared otherwise.
PREPARATION = 1
BATCH = 256  # pictures per forward pass


def prepare_picture(image: Image.Image, side: int, backdrop: str = "keep") -> NDArray[np.uint8]:
    """A picture as picture models see it, with what is known of its backdrop.

    The longer side is reduced to ``side`` pixels and the rest padded with white. Product photos stand on a backdrop
    that is white or nearly so; how surely a pixel belongs to the garment is estimated as for the classical descriptors
    (:func:`outfits.encoders.features.foreground`), and padding is backdrop.

    Args:
        image: the picture, RGB.
        side: side of the square, pixels.
        backdrop: ``keep``, or ``cut``, which makes the backdrop white.

    Returns:
        RGB and foreground, uint8, shape ``[side, side, 4]``.
    """
    pixels = shrink(image, side)
    weight = foreground(lab(pixels))
    if backdrop == "cut":
        pixels = np.rint(cut_out(pixels.astype(np.float32), weight, np.float32(255.0))).astype(np.uint8)
    canvas = np.zeros((side, side, 4), dtype=np.uint8)
    canvas[..., :3] = 255
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    inside = canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    inside[..., :3] = pixels
    inside[..., 3] = np.rint(255 * weight)
    return canvas


def preparation_key(side: int, backdrop: str) -> str:
    """Hash of what :func:`prepare_picture` does with these settings."""
    return content_hash([f"pictures {PREPARATION}", str(side), backdrop])


def picture_tensor(prepared: NDArray[np.uint8]) -> torch.Tensor:
    """Prepared pictures ``[B, S, S, 4]`` as a float tensor ``[B, 4, S, S]`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(prepared)).permute(0, 3, 1, 2).float() / 255.0


class LearnedImages:
    """Codes of a frozen picture model, centred and half whitened.

    Args:
        run: folder of the representation run, or any other with its weights.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

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
        if not (folder / WEIGHTS).is_file():
            raise ArtifactError(
                f"encoder.learned.run: {folder} has no {WEIGHTS}; finish that run with train.py resume={folder}"
            )
        self.path = folder / WEIGHTS
        self.model, sha256 = load_representation(self.path)
        self.precision = precision
        self.device = torch.device("cpu")
        self.key = content_hash(["learned images", precision, sha256, preparation_key(self.model.side, self.backdrop)])

    @property
    def backdrop(self) -> str:
        """What was done with the backdrop in training, and is done here."""
        return self.model.settings["backdrop"]

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.model.code_dim

    @property
    def draft_size(self) -> int:
        """JPEG decoding may shrink a picture to twice the side of the model's pictures."""
        return 2 * self.model.side

    @property
    def prepare(self) -> Prepare:
        """Padding, shrinking and the estimate of the backdrop."""
        return partial(prepare_picture, side=self.model.side, backdrop=self.backdrop)

    def to(self, device: torch.device | str) -> None:
        """Moves the model."""
        self.device = torch.device(device)
        self.model.to(self.device)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Item vectors, shape ``[B, dim]``."""
        vectors = []
        for start in range(0, len(prepared), BATCH):
            pictures = picture_tensor(np.stack(prepared[start : start + BATCH]))[:, :3].to(self.device)
            with autocast(self.precision, self.device):
                vectors.append(self.model.embed(pictures).float().cpu().numpy())
        return np.concatenate(vectors)
