"""Texture synthesis by nearest neighbours (Efros and Leung 1999), searched with FAISS."""

import numpy as np
import torch  # noqa: F401, before faiss

import faiss  # isort: skip
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter

from outfits.imaging.progress import Progress, silent

Image = NDArray[np.float32]

SIGMA_SHARE = 6.4  # the window's side over the deviation of its Gaussian weights, as in the paper
SHORTLIST = 32  # windows of the sample measured exactly, the first that the index finds among all
TOLD_EVERY = 500  # pixels


class WindowIndex:
    r"""Finds the windows of a sample that are nearest to a partly known one.

    The squared distance of a window :math:`q` to one of the sample :math:`s`, over known pixels alone, is

    .. math:: \sum_i w_i (q_i - s_i)^2 = \sum_i w_i q_i^2 - \langle (2 w q, -w), (s, s^2) \rangle

    with Gaussian weights :math:`w`, 0 where a pixel is unknown. One flat index of inner products over
    :math:`(s, s^2)` therefore answers every mask.

    Args:
        sample: RGB in [0, 1], shape ``[h, w, 3]``.
        window: side of the windows, odd.

    Raises:
        ValueError: if the window is even or larger than the sample.
    """

    def __init__(self, sample: Image, window: int) -> None:
        if window % 2 == 0 or window > min(sample.shape[:2]):
            raise ValueError(f"window {window} is even, or larger than the sample's {sample.shape[:2]}")
        views = np.lib.stride_tricks.sliding_window_view(sample, (window, window), axis=(0, 1))
        self.windows = np.ascontiguousarray(views.transpose(0, 1, 3, 4, 2)).reshape(-1, window**2 * 3)
        self.centres = self.windows[:, (window**2 // 2) * 3 : (window**2 // 2) * 3 + 3]
        self.index = faiss.IndexFlatIP(2 * self.windows.shape[1])
        self.index.add(np.concatenate([self.windows, self.windows**2], axis=1))
        falloff = np.exp(-0.5 * ((np.arange(window) - window // 2) / (window / SIGMA_SHARE)) ** 2)
        self.weights = np.outer(falloff, falloff).astype(np.float32)

    def nearest(self, query: Image, known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Finds windows by their mean weighted squared distance on known pixels, nearest first.

        ``query`` is a window ``[window, window, 3]``, ``known`` ``[window, window]`` says which of its pixels count.
        """
        weight = self.weights * known
        weight = np.repeat((weight / weight.sum()).reshape(-1), 3)
        flat = query.reshape(-1)
        asked = np.concatenate([2 * weight * flat, -weight])[None].astype(np.float32)
        found: NDArray[np.int64] = self.index.search(asked, min(SHORTLIST, len(self.windows)))[1][0]
        # measured again without the cancellation of large terms, so that equal windows are at distance 0
        distances = ((self.windows[found] - flat) ** 2 @ weight).astype(np.float32)
        order = np.argsort(distances, kind="stable")
        return found[order], distances[order]


def grown(
    sample: Image,
    side: int,
    window: int,
    tolerance: float = 0.1,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Image:
    r"""Grows a texture around its sample, pixel by pixel.

    The pixels next to known ones are filled first, those with most known neighbours before others. Each takes the
    centre of a window of the sample, drawn from those whose distance on known pixels is at most
    :math:`(1 + \epsilon) d_{\min}` (Efros and Leung 1999, section 2), among the :data:`SHORTLIST` nearest.

    Args:
        sample: RGB in [0, 1], shape ``[h, w, 3]``; it stands in the middle of the result.
        side: of the result, pixels, at least the sample's.
        window: side of the neighbourhood, odd; it should hold the largest regular feature of the texture.
        tolerance: :math:`\epsilon`.
        seed: of the draws.
        progress: is told the pixels filled so far and the last distance.

    Returns:
        The texture, shape ``[side, side, 3]``; where ``progress`` stops it, unfilled pixels are white.

    Raises:
        ValueError: if the sample is larger than the result, or smaller than the window.
    """
    height, width = sample.shape[:2]
    if max(height, width) > side:
        raise ValueError(f"a sample of {height} × {width} pixels is larger than the {side} of the result")
    index, half, rng = WindowIndex(sample, window), window // 2, np.random.default_rng(seed)
    canvas = np.ones((side + 2 * half, side + 2 * half, 3), dtype=np.float32)
    known = np.zeros(canvas.shape[:2], dtype=np.bool_)
    top, left = half + (side - height) // 2, half + (side - width) // 2
    canvas[top : top + height, left : left + width] = sample
    known[top : top + height, left : left + width] = True
    inside = np.zeros_like(known)
    inside[half : half + side, half : half + side] = True
    steps, done, distance = int((inside & ~known).sum()), 0, 0.0
    while done < steps:
        for row, column in _next_to_known(known, inside, window, rng):
            if done % TOLD_EVERY == 0 and not progress(done, steps, distance):
                return canvas[half : half + side, half : half + side]
            around = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
            found, distances = index.nearest(canvas[around], known[around])
            near = found[distances <= (1 + tolerance) * distances[0]]
            canvas[row, column] = index.centres[near[rng.integers(len(near))]]
            known[row, column] = True
            done, distance = done + 1, float(distances[0])
    return canvas[half : half + side, half : half + side]


def _next_to_known(
    known: NDArray[np.bool_], inside: NDArray[np.bool_], window: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns unknown pixels beside known ones, ``[n, 2]``, by falling number of known neighbours, ties at random."""
    rows = np.argwhere(binary_dilation(known, np.ones((3, 3), dtype=np.bool_)) & inside & ~known)
    rows = rng.permutation(rows)
    counts = uniform_filter(known.astype(np.float64), window, mode="constant")[rows[:, 0], rows[:, 1]]
    return rows[np.argsort(-counts, kind="stable")]
