"""A table of how far sets of made images are from the training images, beside held-out images as the floor."""

from collections.abc import Mapping

import torch
from torch import Tensor

from outfits.metrics.image_sets import pooled_features, set_distances
from outfits.report.imaging.result import MetricTable, Value
from pipeline.imaging.work import MEASURED, ImagingWork

BATCH = 32


def set_table(work: ImagingWork, made: Mapping[str, Tensor]) -> MetricTable:
    """Compares sets of images ``[n, 3, S, S]`` in [0, 1], one for each measured test image, with the training images.

    The test images are compared too. All sets have the same number, since the Fréchet distance depends on it.
    """
    features = work.features(*work.config.set_layers)
    real = pooled_features(torch.split(work.images("train", MEASURED), BATCH), features)
    rows: dict[str, list[Value]] = {}
    for name, images in {"Held-out images (the floor)": work.images("test", MEASURED), **made}.items():
        found = set_distances(pooled_features(torch.split(images, BATCH), features), real, seed=work.run.config.seed)
        rows[name] = [len(images), found["frechet"], found["kernel"], found["kernel_deviation"]]
    network = str(work.config.perceptual.network)
    return MetricTable(
        "sets",
        "Distance of sets of images to the training images",
        ("Images", "Fréchet distance", "Kernel distance", "its deviation over subsets"),
        rows,
        f"In mean features of {network} at {', '.join(work.config.set_layers)}, each divided by its deviation among "
        f"the {len(real):,} training images; not comparable with FID and KID, whose network is another. The Fréchet "
        "distance is larger for smaller sets.",
        digits=4,
    )
