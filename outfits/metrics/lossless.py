"""Counts the bits that an image takes without a learned model: histograms, PNG and WebP without loss."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVELS = 256
LONGEST = 16383  # pixels of a WebP file's side
ENCODINGS = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
}


def encoded_bits(images: NDArray[np.uint8], encoding: str) -> NDArray[np.float64]:
    """Bits per channel value of every image ``[n, H, W, 3]`` as a file of its own, headers included, shape ``[n]``.

    ``encoding`` is one of :data:`ENCODINGS`, at the encoder's slowest setting.
    """
    return np.array([8.0 * _length(image, encoding) / image.size for image in images])


def sheet_bits(images: NDArray[np.uint8], encoding: str) -> float:
    """Bits per channel value of all images ``[n, S, S, 3]`` in one file, so that its header counts for nothing.

    They are one column, or a square grid whose last row is filled up with white, whichever file is shorter. All but
    the pixels that fill up are counted as content. A column longer than :data:`LONGEST` is left out, and a grid larger
    than that is several files.
    """
    count, side = images.shape[:2]
    fit = (LONGEST // side) ** 2
    if count > fit:
        parts = [images[start : start + fit] for start in range(0, count, fit)]
        return float(sum(sheet_bits(part, encoding) * len(part) for part in parts) / count)
    across = math.ceil(math.sqrt(count))
    filled = np.full((math.ceil(count / across) * across, *images.shape[1:]), LEVELS - 1, dtype=np.uint8)
    filled[:count] = images
    grid = filled.reshape(-1, across, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, across * side, 3)
    layouts = [grid] if count * side > LONGEST else [images.reshape(-1, side, 3), grid]
    return 8.0 * min(_length(np.ascontiguousarray(layout), encoding) for layout in layouts) / images.size


def histogram_bits(train: NDArray[np.uint8], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Bits per channel value of images ``[n, H, W, 3]``, every value drawn from its channel's histogram, ``[n]``.

    The histograms are those of ``train``, of the same shape, with one added to every count.
    """
    counts = np.stack([np.bincount(train[..., channel].ravel(), minlength=LEVELS) for channel in range(3)]) + 1.0
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    of_channels = np.stack([bits[channel][images[..., channel]].mean(axis=(1, 2)) for channel in range(3)])
    return np.asarray(of_channels.mean(axis=0), dtype=np.float64)


def _length(pixels: NDArray[np.uint8], encoding: str) -> int:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **ENCODINGS[encoding])  # type: ignore[arg-type]
    return buffer.tell()
