"""Describes colour and shape of one garment image, without weights and without fitting.

Product images have a plain background whose shade tells when an image was taken, not what it shows. Histograms
therefore weigh pixels by their difference from the background, estimated at the image's left and right edges.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64  # images are padded to a square and reduced to SIDE × SIDE pixels first
CELLS = 8  # shape descriptors are taken in CELLS × CELLS cells
ORIENTATIONS = 8
THUMBNAIL = 16
LAB_BINS = (6, 7, 7)  # lightness, green–red, blue–yellow
LAB_RANGES = ((0.0, 100.0), (-60.0, 70.0), (-70.0, 80.0))
BLOCKS = {
    "colour": LAB_BINS[0] * LAB_BINS[1] * LAB_BINS[2],
    "thumbnail": 3 * THUMBNAIL * THUMBNAIL,
    "gradients": CELLS * CELLS * ORIENTATIONS,
}
# Variance of each block before the PCA. Chosen on real outfits: the thumbnail is the best predictor of items that
# share one, the other two make neighbours agree in colour and category.
SHARES = {"colour": 0.5, "thumbnail": 1.0, "gradients": 0.5}
RAW_DIM = sum(BLOCKS.values())

_XYZ_OF_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_D65 = np.array([0.95047, 1.0, 1.08883])


def lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Converts sRGB pixels ``[..., 3]`` to CIE L*a*b* (D65), where Euclidean distances are about perceived ones."""
    value = rgb.astype(np.float64) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ_OF_RGB.T / _D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def shrink(image: Image.Image, side: int = SIDE) -> NDArray[np.uint8]:
    """Reduces an image to a longer side of ``side`` pixels, shape ``[h, w, 3]``, sRGB."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BOX))


def _centred(plane: NDArray[np.float32], fill: float) -> NDArray[np.float32]:
    canvas = np.full((SIDE, SIDE), fill, dtype=np.float32)
    top, left = (SIDE - plane.shape[0]) // 2, (SIDE - plane.shape[1]) // 2
    canvas[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return canvas


def foreground(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Estimates whether each pixel belongs to the garment, ``[H, W, 3]`` in Lab to ``[H, W]`` in [0, 1].

    Backgrounds vary from top to bottom, so each row has two background colours of its own, its left and right edges.
    """
    edges = np.stack([pixels[:, :2].mean(axis=1), pixels[:, -2:].mean(axis=1)])  # [2, H, 3]
    distance = np.linalg.norm(pixels[None] - edges[:, :, None], axis=-1).min(axis=0)
    weight: NDArray[np.float32] = np.clip((distance - 4.0) / 12.0, 0.0, 1.0).astype(np.float32)
    return weight


def cut_out(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], white: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """Makes the background of pixels ``[H, W, 3]`` white where the foreground ``weight`` ``[H, W]`` is low."""
    cut: NDArray[np.float32] = weight[..., None] * pixels + (1.0 - weight[..., None]) * white
    return cut


def _colour_histogram(pixels: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    bins = [
        np.clip((pixels[..., axis] - low) / (high - low) * number, 0, number - 1)
        for axis, (number, (low, high)) in enumerate(zip(LAB_BINS, LAB_RANGES, strict=True))
    ]
    histogram = np.zeros(LAB_BINS, dtype=np.float64)
    # Each pixel is shared between its neighbouring bins, so that a small change of light does not jump to another bin.
    lower = [np.floor(position).astype(np.intp) for position in bins]
    upper = [np.minimum(below + 1, number - 1) for below, number in zip(lower, LAB_BINS, strict=True)]
    share = [position - below for position, below in zip(bins, lower, strict=True)]
    for corner in range(8):
        index, part = [], weight.astype(np.float64)
        for axis in range(3):
            high = bool(corner >> axis & 1)
            index.append((upper if high else lower)[axis])
            part = part * (share[axis] if high else 1.0 - share[axis])
        histogram += np.bincount(
            np.ravel_multi_index((index[0].ravel(), index[1].ravel(), index[2].ravel()), LAB_BINS),
            weights=part.ravel(),
            minlength=histogram.size,
        ).reshape(LAB_BINS)
    total = histogram.sum()
    # With the square root, Euclidean distances of histograms are Hellinger distances.
    return np.asarray(np.sqrt(histogram / total), dtype=np.float32).ravel()


def _cells(plane: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    size = plane.shape[0] // cells
    means: NDArray[np.float32] = plane.reshape(cells, size, cells, size, *plane.shape[2:]).mean(axis=(1, 3))
    return means


def _gradient_histogram(lightness: NDArray[np.float32]) -> NDArray[np.float32]:
    down, across = np.gradient(lightness)
    strength = np.hypot(down, across)
    angle = (np.arctan2(down, across) % np.pi) / np.pi * ORIENTATIONS
    lower = np.floor(angle).astype(np.intp) % ORIENTATIONS
    share = angle - np.floor(angle)
    planes = np.zeros((*lightness.shape, ORIENTATIONS), dtype=np.float32)
    np.put_along_axis(planes, lower[..., None], (strength * (1 - share))[..., None], axis=-1)
    np.put_along_axis(planes, ((lower + 1) % ORIENTATIONS)[..., None], (strength * share)[..., None], axis=-1)
    histograms = _cells(planes, CELLS)
    return np.sqrt(histograms / (np.linalg.norm(histograms) + 1.0)).astype(np.float32).ravel()


def describe(image: Image.Image, background: str = "keep") -> NDArray[np.float32]:
    """Describes colour and shape of an RGB image, float32, shape ``[RAW_DIM]``.

    Concatenates the blocks of :data:`BLOCKS`: a joint Lab histogram of the foreground, a Lab thumbnail, and histograms
    of oriented gradients (Dalal & Triggs 2005) of the foreground.

    ``background="keep"`` takes the thumbnail from the whole image; ``"cut"`` makes its background white. Where outfits
    were photographed together, the background alone tells which items share one; only ``cut`` measures the garments.
    """
    pixels = lab(shrink(image))
    weight = foreground(pixels)
    white = np.array([100.0, 0.0, 0.0], dtype=np.float32)
    garment = cut_out(pixels, weight, white)
    source = pixels if background == "keep" else garment
    planes = np.stack([_centred(source[..., axis], white[axis]) for axis in range(3)], axis=-1)  # [SIDE, SIDE, 3]
    return np.concatenate(
        [
            # A white shirt on white has no foreground by this measure: every pixel keeps a little weight.
            _colour_histogram(pixels, weight + 0.02),
            _cells(planes, THUMBNAIL).ravel() / 100.0,
            _gradient_histogram(_centred(garment[..., 0], white[0])),
        ]
    ).astype(np.float32)
