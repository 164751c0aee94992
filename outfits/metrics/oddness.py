"""Measures how well a model's likelihood tells broken images from whole ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from outfits.imaging.faults import FAULTS, with_fault
from outfits.imaging.pixel_model import PixelModel
from outfits.metrics.lossless import encoded_bits

SCORES = {
    "bits": "bits per dimension",
    "excess": "bits less those of WebP",
    "row": "bits of the worst row",
    "webp": "WebP alone",
}


def oddness_scores(
    model: PixelModel[Any], images: NDArray[np.uint8], categories: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Scores images ``[n, S, S, 3]``; more is odder; each of shape ``[n]``.

    ``bits`` are the model's bits per dimension; ``excess`` subtracts those of WebP without loss, so that an image is
    not odd because it is rich (Serrà et al. 2020, arXiv 1909.11480); ``row`` is the largest mean of a row; ``webp`` is
    the control that has learned nothing.
    """
    pixels = model.pixel_bits(images, categories)  # [n, S, S]
    bits, webp = pixels.mean(axis=(1, 2)), encoded_bits(images, "webp")
    return {"bits": bits, "excess": bits - webp, "row": pixels.mean(axis=2).max(axis=1), "webp": webp}


def detection(
    model: PixelModel[Any], images: NDArray[np.uint8], categories: NDArray[np.int64], seed: int
) -> dict[str, dict[str, float]]:
    """Computes, for every fault and score, the area under the ROC curve of the same images with and without the fault.

    ``another category`` leaves the image as it is and names the next category, which WebP cannot know.
    """
    whole = oddness_scores(model, images, categories)
    others = np.unique(categories)
    renamed = others[(np.searchsorted(others, categories) + 1) % len(others)]
    broken: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {
        **{name: (with_fault(images, name, seed), categories) for name in FAULTS},
        "another category": (images, renamed),
    }
    labels = np.repeat([0, 1], len(images))
    areas = {}
    for name, (faulty, told) in broken.items():
        scores = oddness_scores(model, faulty, told)
        areas[name] = {
            score: float(roc_auc_score(labels, np.concatenate([whole[score], scores[score]]))) for score in SCORES
        }
    return areas
