"""The item encoder: an image encoder and a text encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits.config.schema.encoder import EncoderConfig
from outfits.data.catalogue import Catalogue
from outfits.encoders.content import content_hash
from outfits.encoders.images import ItemImages, ItemShard, Prepare, decode_image
from outfits.errors import DataError


class ImageEncoder(Protocol):
    """Maps images to vectors in two steps: one per image for loader workers, one per batch."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def key(self) -> str:
        """Hash of kind, settings, weights and preprocessing."""

    @property
    def draft_size(self) -> int | None:
        """Smallest side to which JPEG decoding may shrink an image, pixels; None: full size."""

    @property
    def prepare(self) -> Prepare:
        """Turns an RGB image into an array; small and picklable, holds no weights."""

    def to(self, device: torch.device | str) -> None:
        """Moves the weights."""

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Vectors of prepared images, shape ``[B, dim]``, not normalised."""


class TextEncoder(Protocol):
    """Maps texts to vectors."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def key(self) -> str:
        """Hash of kind, settings, weights and preprocessing."""

    def to(self, device: torch.device | str) -> None:
        """Moves the weights."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of non-empty texts, shape ``[B, dim]``, not normalised."""


@dataclass(frozen=True)
class EncoderSource:
    """Inputs from which encoders are built.

    Attributes:
        config: section ``encoder`` of the configuration.
        train_items: catalogue positions of the training split's items, in any order, repetitions allowed.
        state_dir: folder of fitted encoders, shared between runs.
        policies: ``on_missing_image`` and ``on_corrupt_image``, as in :func:`outfits.encoders.images.item_image`.
        kept: folder of a run's fitted encoders, which are then read instead of fitted.
        shared: models that several encoders use, by name: a model of images and texts is loaded once.
    """

    config: EncoderConfig
    catalogue: Catalogue
    train_items: NDArray[np.integer]
    state_dir: Path
    policies: Mapping[str, str] = field(default_factory=dict)
    kept: Path | None = None
    shared: dict[str, Any] = field(default_factory=dict, init=False)


def no_encoder(source: EncoderSource) -> None:
    """Leaves a part out."""


class ItemEncoder:
    """Item embeddings: the image part, then the text part, each of unit length.

    A part is zero and its ``present`` flag False where the item has no image or no text, where the part has no encoder,
    or where the encoder sees nothing in it (a text whose words are all missing from a TF-IDF vocabulary).
    """

    def __init__(self, image: ImageEncoder | None, text: TextEncoder | None) -> None:
        if image is None and text is None:
            raise ValueError("an item encoder needs an image encoder or a text encoder")
        self.image = image
        self.text = text

    @property
    def image_dim(self) -> int:
        """Width of the image part; 0 without an image encoder."""
        return 0 if self.image is None else self.image.dim

    @property
    def text_dim(self) -> int:
        """Width of the text part; 0 without a text encoder."""
        return 0 if self.text is None else self.text.dim

    @property
    def key(self) -> str:
        """Hash of both encoders: kinds, settings, weights and preprocessing."""
        return content_hash(["none" if part is None else part.key for part in (self.image, self.text)])

    def to(self, device: torch.device | str) -> "ItemEncoder":
        """Moves the weights of both encoders."""
        if self.image is not None:
            self.image.to(device)
        if self.text is not None:
            self.text.to(device)
        return self

    def images(
        self, catalogue: Catalogue, shard_size: int, *, on_missing_image: str = "error", on_corrupt_image: str = "error"
    ) -> ItemImages:
        """Returns the catalogue's shards, images decoded and prepared; without an image encoder no file is opened."""
        if self.image is None:
            without: list[None] = [None] * len(catalogue)
            catalogue = Catalogue(
                catalogue.item_ids, catalogue.categories, catalogue.category_names, catalogue.texts, without
            )
        return ItemImages(
            catalogue,
            shard_size,
            on_missing_image=on_missing_image,
            on_corrupt_image=on_corrupt_image,
            prepare=None if self.image is None else self.image.prepare,
            draft_size=None if self.image is None else self.image.draft_size,
        )

    def encode_shard(self, shard: ItemShard) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embeds one shard; raises errors of loader workers here, in the main process.

        Raises:
            DataError: if an image of the shard could not be used, or an embedding is not finite.
        """
        shard.raise_error()
        return self.encode(shard.images, shard.texts, shard.item_ids)

    def encode(
        self,
        images: Sequence[Image.Image | NDArray[Any] | None],
        texts: Sequence[str],
        item_ids: Sequence[str] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embeds items; an image may be prepared by ``image.prepare`` already or None, a text may be empty.

        ``item_ids`` name the items in messages; by default their numbers in this batch do.

        Returns:
            Vectors, float32, ``[B, image_dim + text_dim]``, and presence of image and text, bool, ``[B, 2]``.

        Raises:
            DataError: if an embedding is not finite.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images but {len(texts)} texts")
        names = [f"number {row}" for row in range(len(texts))] if item_ids is None else item_ids
        vectors = np.zeros((len(texts), self.image_dim + self.text_dim), dtype=np.float32)
        present = np.zeros((len(texts), 2), dtype=np.bool_)
        if self.image is not None:
            prepare, size = self.image.prepare, self.image.draft_size
            rows = [row for row, image in enumerate(images) if image is not None]
            prepared = [
                prepare(decode_image(image, size)) if isinstance(image, Image.Image) else image
                for image in images
                if image is not None
            ]
            if rows:
                part = self.image.encode(prepared)
                vectors[rows, : self.image_dim], present[rows, 0] = _unit(part, [names[row] for row in rows], "image")
        if self.text is not None:
            rows = [row for row, text in enumerate(texts) if text.strip()]
            # Catalogues repeat texts, especially texts composed of attributes: each one is encoded once.
            distinct = {text: number for number, text in enumerate(dict.fromkeys(texts[row] for row in rows))}
            if rows:
                part = self.text.encode(list(distinct))[[distinct[texts[row]] for row in rows]]
                vectors[rows, self.image_dim :], present[rows, 1] = _unit(part, [names[row] for row in rows], "text")
        return vectors, present


def _unit(
    part: NDArray[np.float32], names: Sequence[str], modality: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scales rows to unit length, ``[B, d]``, and tells which are not zero, ``[B]``."""
    finite = np.isfinite(part).all(axis=1)
    if not finite.all():
        broken = [names[row] for row in np.flatnonzero(~finite).tolist()]
        raise DataError(
            f"item '{broken[0]}': its {modality} embedding is not finite; {len(broken)} such item(s) in this batch. "
            f"Set encoder.precision=fp32, or look at the item's {modality}."
        )
    length = np.linalg.norm(part.astype(np.float64), axis=1, keepdims=True)
    there = length[:, 0] > 1e-12
    return (part / np.where(length > 1e-12, length, 1.0)).astype(np.float32), there
