"""Prepares a catalogue's images for image models once and memory-maps them: no epoch decodes them again."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from outfits.data.catalogue import Catalogue
from outfits.encoders.content import content_hash, image_digests
from outfits.encoders.images import ItemImages, ItemShard, Prepare, keep_shard
from outfits.encoders.learned import BATCH, image_tensor, preparation_key, prepare_image
from outfits.representations.base import ImageModel
from outfits.storage import READING_ERRORS, reserve, write_atomically, writing

SHARD = 64  # images that a loader worker prepares at a time


@dataclass(frozen=True)
class PackedImages:
    """Prepared images by catalogue position.

    Attributes:
        pixels: uint8, memory-mapped; for image models RGB and foreground, shape ``[N, S, S, 4]``, else what ``prepare``
            of an encoder makes of an image; white where an item has no image.
        present: which items have a usable image, bool, shape ``[N]``.
        key: hash of the images and their preparation; the name of their folder.
    """

    pixels: NDArray[np.uint8]
    present: NDArray[np.bool_]
    key: str = ""


def packing_key(catalogue: Catalogue, image_size: int, background: str, policies: dict[str, str]) -> str:
    """Hashes the image files' bytes and their preparation."""
    return content_hash(
        [preparation_key(image_size, background), *policies.values(), *image_digests(catalogue.image_paths)]
    )


def load_packed(folder: Path) -> PackedImages | None:
    """Maps the images in a folder; None if they are missing or incomplete."""
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        present = np.load(folder / "present.npy", allow_pickle=False)
    except READING_ERRORS:
        return None
    return PackedImages(pixels, present, folder.name) if len(pixels) == len(present) else None


def pack_images(
    catalogue: Catalogue, folder: Path, image_size: int, background: str, policies: dict[str, str], num_workers: int
) -> PackedImages:
    """Prepares every image for image models, see :func:`pack_prepared`; ``background`` is ``keep`` or ``cut``."""
    prepare = partial(prepare_image, image_size=image_size, background=background)
    return pack_prepared(catalogue, folder, prepare, (image_size, image_size, 4), policies, num_workers)


def pack_prepared(
    catalogue: Catalogue,
    folder: Path,
    prepare: Prepare,
    shape: tuple[int, int, int],
    policies: dict[str, str],
    num_workers: int,
) -> PackedImages:
    """Decodes and prepares every image with ``num_workers`` processes and writes the arrays to ``folder``.

    ``present.npy``, written last, marks them as complete. ``shape`` is that of a prepared image, ``policies`` are
    ``on_missing_image`` and ``on_corrupt_image``.

    Raises:
        DataError: if an image cannot be used and the policy for that is ``error``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".pixels.{os.getpid()}.tmp"
    try:
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(catalogue), *shape))
        with writing(folder):
            reserve(unfinished)
        present = np.zeros(len(catalogue), dtype=np.bool_)
        pixels[..., :3] = 255
        images = ItemImages(catalogue, SHARD, prepare=prepare, draft_size=2 * max(shape[:2]), **policies)
        collate: Any = keep_shard
        loader: DataLoader[ItemShard] = DataLoader(images, batch_size=None, num_workers=num_workers, collate_fn=collate)
        for shard in loader:
            shard.raise_error()
            for position, image in zip(shard.positions, shard.images, strict=True):
                if image is not None:
                    pixels[position], present[position] = image, True
        with writing(folder):
            pixels.flush()
        del pixels
        os.replace(unfinished, folder / "pixels.npy")
    finally:
        unfinished.unlink(missing_ok=True)
    write_atomically(folder / "present.npy", lambda file: np.save(file, present))
    packed = load_packed(folder)
    assert packed is not None
    return packed


def copies_of(images: PackedImages, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Gives equal numbers to items whose images are equal in every pixel, shape ``[n]``."""
    numbers: dict[bytes, int] = {}
    groups = np.empty(len(positions), dtype=np.int64)
    for row, position in enumerate(positions):
        content = images.pixels[position, :, :, :3].tobytes()
        groups[row] = numbers.setdefault(hashlib.blake2b(content, digest_size=16).digest(), len(numbers))
    return groups


def first_copies(images: PackedImages) -> NDArray[np.int64]:
    """The first position whose image is equal in every pixel, of every item, shape ``[N]``; -1 without an image.

    Items of one image cannot be told apart by it: of them the first stands for all.
    """
    usable = np.flatnonzero(images.present)
    groups = copies_of(images, usable)
    _, first = np.unique(groups, return_index=True)
    found = np.full(len(images.present), -1, dtype=np.int64)
    found[usable] = usable[first[groups]]
    return found


@torch.inference_mode()
def latents_of_images(model: ImageModel, images: PackedImages, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Encodes the images at some catalogue positions on the model's device, ``[n, d]``."""
    latents = [np.zeros((0, model.latent_dim), dtype=np.float32)]
    for start in range(0, len(positions), BATCH):
        maps = image_tensor(images.pixels[positions[start : start + BATCH]])
        latents.append(model.encode(maps[:, :3].to(model.centre.device)).float().cpu().numpy())
    return np.concatenate(latents)
