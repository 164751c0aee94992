"""Joins image encoders: the parts of an item's vector are those of several encoders."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits.config.schema.encoder import IMAGE_ENCODERS
from outfits.encoders.base import EncoderSource, ImageEncoder
from outfits.encoders.content import content_hash
from outfits.encoders.images import Prepare


def prepare_each(image: Image.Image, prepares: Sequence[Prepare]) -> Any:
    """Prepares an image for every encoder."""
    return tuple(prepare(image) for prepare in prepares)


class JoinedImages:
    """Vectors of several encoders, each scaled to unit length, side by side; ``names`` are theirs in the table."""

    def __init__(self, names: Sequence[str], parts: Sequence[ImageEncoder]) -> None:
        self.names = names
        self.parts = parts
        self.dim = sum(part.dim for part in parts)
        self.key = content_hash(["joined images", *(part.key for part in parts)])

    @property
    def draft_size(self) -> int | None:
        """The largest of the parts'; None if one wants an image at full size."""
        sizes = [part.draft_size for part in self.parts]
        return None if None in sizes else max(size for size in sizes if size is not None)

    @property
    def prepare(self) -> Prepare:
        """Prepares an image for every part."""
        return partial(prepare_each, prepares=[part.prepare for part in self.parts])

    def keep(self, folder: Path) -> None:
        """Writes what the parts fitted to a run's own folder."""
        for name, part in zip(self.names, self.parts, strict=True):
            if IMAGE_ENCODERS[name].fitted:
                part.keep(folder)  # type: ignore[attr-defined]

    def to(self, device: torch.device | str) -> None:
        """Moves the weights of all parts."""
        for part in self.parts:
            part.to(device)

    def encode(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Vectors of images that every part has prepared, shape ``[B, dim]``."""
        found = []
        for place, part in enumerate(self.parts):
            vectors = part.encode([images[place] for images in prepared])
            found.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
        joined: NDArray[np.float32] = np.concatenate(found, axis=1)
        return joined


def build_images(source: EncoderSource) -> JoinedImages:
    """Builds the encoders that ``encoder.joined`` names."""
    names = source.config.joined
    return JoinedImages(names, [IMAGE_ENCODERS[name].load()(source) for name in names])
