"""A catalogue's pictures, prepared for picture models once and memory-mapped: no epoch decodes them again."""

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
from outfits.encoders.images import ItemPictures, ItemShard, keep_shard
from outfits.encoders.learned import BATCH, picture_tensor, preparation_key, prepare_picture
from outfits.representations.base import PictureModel
from outfits.storage import READING_ERRORS, write_atomically

SHARD = 64  # pictures that a loader worker prepares at a time


@dataclass(frozen=True)
class PackedPictures:
    """Prepared pictures by catalogue position.

    Attributes:
        pixels: RGB and foreground, uint8, shape ``[N, S, S, 4]``, memory-mapped; white where an item has no picture.
        present: which items have a usable picture, bool, shape ``[N]``.
    """

    pixels: NDArray[np.uint8]
    present: NDArray[np.bool_]


def packing_key(catalogue: Catalogue, side: int, backdrop: str, policies: dict[str, str]) -> str:
    """Hash of the picture files' bytes and of how they are prepared."""
    return content_hash([preparation_key(side, backdrop), *policies.values(), *image_digests(catalogue.image_paths)])


def load_packed(folder: Path) -> PackedPictures | None:
    """The pictures in a folder; None if they are not there or not complete."""
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        present = np.load(folder / "present.npy", allow_pickle=False)
    except READING_ERRORS:
        return None
    return PackedPictures(pixels, present) if len(pixels) == len(present) else None


def pack_pictures(
    catalogue: Catalogue, folder: Path, side: int, backdrop: str, policies: dict[str, str], num_workers: int
) -> PackedPictures:
    """Decodes and prepares every picture and leaves them in ``folder``; ``present.npy``, written last, says so.

    Args:
        catalogue: the items.
        folder: where the arrays go.
        side: side of the prepared pictures, pixels.
        backdrop: ``keep`` or ``cut``.
        policies: ``on_missing_image`` and ``on_corrupt_image``.
        num_workers: processes that decode.

    Raises:
        DataError: if a picture cannot be used and the policy for that is ``error``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".pixels.{os.getpid()}.tmp"
    try:
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(catalogue), side, side, 4))
        present = np.zeros(len(catalogue), dtype=np.bool_)
        pixels[..., :3] = 255
        prepare = partial(prepare_picture, side=side, backdrop=backdrop)
        pictures = ItemPictures(catalogue, SHARD, prepare=prepare, draft_size=2 * side, **policies)
        collate: Any = keep_shard
        loader: DataLoader[ItemShard] = DataLoader(
            pictures, batch_size=None, num_workers=num_workers, collate_fn=collate
        )
        for shard in loader:
            shard.raise_error()
            for position, picture in zip(shard.positions, shard.images, strict=True):
                if picture is not None:
                    pixels[position], present[position] = picture, True
        pixels.flush()
        del pixels
        os.replace(unfinished, folder / "pixels.npy")
    finally:
        unfinished.unlink(missing_ok=True)
    write_atomically(folder / "present.npy", lambda file: np.save(file, present))
    packed = load_packed(folder)
    assert packed is not None
    return packed


@torch.inference_mode()
def codes_of(model: PictureModel, pictures: PackedPictures, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Codes ``[n, d]`` of the pictures at some catalogue positions, computed on the model's device."""
    codes = [np.zeros((0, model.code_dim), dtype=np.float32)]
    for start in range(0, len(positions), BATCH):
        maps = picture_tensor(pictures.pixels[positions[start : start + BATCH]])
        codes.append(model.encode(maps[:, :3].to(model.centre.device)).float().cpu().numpy())
    return np.concatenate(codes)
