"""Images of items, decoded shard by shard in loader workers."""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError
from torch.utils.data import Dataset

from outfits.data.catalogue import Catalogue
from outfits.data.image_files import image_content, image_exists, is_inside
from outfits.errors import DataError, one_line

# What Pillow's decoders raise on bytes that are not the image they claim to be.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

# Pillow's own warning of a large image does not say which one; decode_image says it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

Prepare = Callable[[Image.Image], NDArray[Any]]
ImageSource = str | Path | bytes | BinaryIO | Image.Image
"""An image file by its path (inside Parquet files and tars too, see :mod:`outfits.data.image_files`), content or open
file, or an image that Pillow has opened or made."""


def decode_image(source: ImageSource, draft_size: int | None = None) -> Image.Image:
    """Reads an image completely, upright, as RGB with transparent parts on white; the source stays as it was.

    Of animations the first frame is read, of an opened one its present frame. 16-bit grey is scaled to 8 bits.

    Args:
        source: the image.
        draft_size: lets a JPEG decoder shrink by 2, 4 or 8 while decoding, as long as both sides keep this many pixels.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError, SyntaxError, ValueError, ...: one of :data:`DECODING_ERRORS` if the file is truncated or no image, or
            if its pixels are floats or 32-bit integers, whose white is not known.
    """
    if isinstance(source, Image.Image) and not _is_pending_jpeg(source):
        _warn_if_large(source, image_name(source))
        return _as_rgb(source)
    with Image.open(_content(source)) as image:
        _warn_if_large(image, image_name(source))
        if draft_size is not None and image.format == "JPEG":
            image.draft("RGB", (draft_size, draft_size))
        return _as_rgb(image)


def image_name(source: ImageSource) -> str:
    """The file that an image comes from, for messages; ``in memory`` where that is not known."""
    name = source if isinstance(source, str | Path) else getattr(source, "filename", getattr(source, "name", ""))
    return str(name or "in memory")


def reason(error: BaseException) -> str:
    """Why an image cannot be decoded, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a format that is known"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return error.strerror  # messages name the file themselves
    return one_line(error)


def _warn_if_large(image: Image.Image, name: str) -> None:
    pixels = image.width * image.height
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        warnings.warn(f"image {name} has {pixels / 1e6:,.0f} megapixels; a smaller one is read faster", stacklevel=3)


def _is_pending_jpeg(image: Image.Image) -> bool:
    """Whether the file of an opened image is still to be decoded, which a draft can do faster and otherwise."""
    return isinstance(image, JpegImagePlugin.JpegImageFile) and bool(image.tile) and image.fp is not None


def _content(source: ImageSource) -> str | Path | BytesIO:
    """What to open; the content of an open file from its beginning, which is left where it was."""
    if isinstance(source, str | Path):
        return BytesIO(image_content(Path(source))) if is_inside(Path(source)) else source
    if isinstance(source, bytes):
        return BytesIO(source)
    file: Any = getattr(source, "fp", source)
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    return BytesIO(content)


def _as_rgb(image: Image.Image) -> Image.Image:
    if getattr(image, "tile", None) and getattr(image, "fp", None) is None:
        raise ValueError("its file was closed before it was read; load() it before, or give its path")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return _as_grey(upright, image).convert("RGB")
    if upright.has_transparency_data:
        layer = upright.convert("LA" if upright.mode == "La" else "RGBA").convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return upright.convert("RGB")


def _as_grey(image: Image.Image, opened: Image.Image) -> Image.Image:
    """8-bit grey of more bits; what white is, the file says, from which the image was opened."""
    if image.mode == "F" or (image.mode == "I" and opened.format != "PPM"):
        kind = "floats" if image.mode == "F" else "32-bit integers"
        raise ValueError(f"its pixels are {kind}, whose white is not known; save it with 8 or 16 bits a channel")
    tags = getattr(opened, "tag_v2", {})  # of a TIFF: its bits, and whether 0 is white
    pixels = np.asarray(image).astype(np.float32) / (2 ** tags.get(258, (16,))[0] - 1)
    if tags.get(262) == 0:
        pixels = 1 - pixels
    if "transparency" in image.info:
        pixels[np.asarray(image) == image.info["transparency"]] = 1
    return Image.fromarray(np.rint(255 * pixels.clip(0, 1)).astype(np.uint8))


def item_image(
    path: Path | None,
    item_id: str,
    *,
    on_missing_image: str = "error",
    on_corrupt_image: str = "error",
    draft_size: int | None = None,
) -> Image.Image | None:
    """An item's image, or None where it has none or a policy masks it.

    Raises:
        DataError: naming item, file and configuration key, if the file is missing or cannot be decoded and the policy
            for that is ``error``.
    """
    if path is None:
        return None
    if not image_exists(path):
        if on_missing_image == "mask":
            return None
        raise DataError(
            f"item '{item_id}': its image {path} is missing. Set data.on_missing_image=mask to leave such images out."
        )
    try:
        return decode_image(path, draft_size)
    except DECODING_ERRORS as error:
        if on_corrupt_image == "mask":
            return None
        raise DataError(
            f"item '{item_id}': its image {path} cannot be decoded ({reason(error)}). "
            "Mend the file or set data.on_corrupt_image=mask to leave such images out."
        ) from error


def undecodable(catalogue: Catalogue, present: NDArray[np.bool_]) -> list[str]:
    """Ids of the items that have an image file but, by ``present`` ``[N]``, no usable image."""
    items = zip(catalogue.item_ids, catalogue.image_paths, present, strict=True)
    return [item_id for item_id, path, usable in items if path is not None and not usable]


class ItemShard(NamedTuple):
    """Items that are encoded, stored and resumed together.

    Attributes:
        shard: number of the shard.
        positions: catalogue positions of its items, int64, shape ``[B]``.
        images: an image per item, or what :attr:`ItemEncoder.prepare` made of it; None where there is none.
        texts: a text per item, may be empty.
        item_ids: the data set's names of the items, for messages.
        error: what went wrong while decoding, one line, or None.
    """

    shard: int
    positions: NDArray[np.int64]
    images: list[Any]
    texts: list[str]
    item_ids: list[str]
    error: str | None = None

    def raise_error(self) -> None:
        """Raises what went wrong in a loader worker.

        An exception that crosses from a worker process comes out with the worker's traceback as its message, so shards
        carry the message instead and the main process raises it.

        Raises:
            DataError: if decoding failed.
        """
        if self.error is not None:
            raise DataError(self.error)


class ItemImages(Dataset[ItemShard]):
    """The shards of a catalogue; element ``s`` is shard ``s``, its images decoded.

    Use it with ``DataLoader(images, batch_size=None, sampler=pending_shards, collate_fn=keep_shard)``.

    Args:
        catalogue: the items.
        shard_size: items per shard.
        on_missing_image: ``error`` or ``mask``, for files that are not there.
        on_corrupt_image: ``error`` or ``mask``, for files that cannot be decoded.
        prepare: run on every image in the worker, so that little travels back; None keeps the image.
        draft_size: smallest side that JPEG decoding may shrink to, pixels; None decodes at full size.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        shard_size: int,
        *,
        on_missing_image: str = "error",
        on_corrupt_image: str = "error",
        prepare: Prepare | None = None,
        draft_size: int | None = None,
    ) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size must be positive, not {shard_size}")
        self.item_ids = catalogue.item_ids
        self.texts = catalogue.texts
        self.image_paths = catalogue.image_paths
        self.shard_size = shard_size
        self.on_missing_image = on_missing_image
        self.on_corrupt_image = on_corrupt_image
        self.prepare = prepare
        self.draft_size = draft_size

    def __len__(self) -> int:
        return -(-len(self.item_ids) // self.shard_size)

    def __getitem__(self, shard: int) -> ItemShard:
        if not 0 <= shard < len(self):
            raise IndexError(f"shard {shard} of {len(self)}")
        start = shard * self.shard_size
        stop = min(start + self.shard_size, len(self.item_ids))
        positions = np.arange(start, stop, dtype=np.int64)
        texts = list(self.texts[start:stop])
        item_ids = list(self.item_ids[start:stop])
        try:
            images = [self._picture(position) for position in range(start, stop)]
        except DataError as error:
            return ItemShard(shard, positions, [], texts, item_ids, str(error.args[0]))
        return ItemShard(shard, positions, images, texts, item_ids)

    def _picture(self, position: int) -> Any:
        image = item_image(
            self.image_paths[position],
            self.item_ids[position],
            on_missing_image=self.on_missing_image,
            on_corrupt_image=self.on_corrupt_image,
            draft_size=self.draft_size,
        )
        return image if image is None or self.prepare is None else self.prepare(image)


def keep_shard(shard: ItemShard) -> ItemShard:
    """Collate function for loaders over :class:`ItemImages`: passes the shard on as it is."""
    return shard
