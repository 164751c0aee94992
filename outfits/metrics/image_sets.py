"""Distances between sets of images in pooled features of a frozen network; with Inception they would be FID and KID."""

import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from outfits.representations.perceptual import FrozenFeatures

SUBSETS, SUBSET_SIZE = 50, 100  # of the kernel distance


class _Given(nn.Module):
    """Hands computed features to torchmetrics as those of an extractor."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


@torch.inference_mode()
def pooled_features(images: Iterable[Tensor], features: FrozenFeatures) -> Tensor:
    """Returns the means over places of a network's maps, ``[n, d]``, for batches of images ``[B, 3, S, S]``."""
    return torch.cat([torch.cat([map_.mean(dim=(2, 3)) for map_ in features(batch)], dim=1) for batch in images])


def set_distances(made: Tensor, real: Tensor, *, seed: int) -> Mapping[str, float]:
    """Measures how far features ``[n, d]`` of made images are from those ``[m, d]`` of real ones.

    Each feature is divided by its standard deviation among the real ones, since layers differ by factors.

    Returns:
        ``frechet``: the Fréchet distance of normal distributions fitted to both (arXiv 1706.08500), which is larger for
        small sets; ``kernel`` and ``kernel_deviation``: mean and standard deviation over subsets of the squared maximum
        mean discrepancy under a cubic kernel (arXiv 1801.01401), which is unbiased.

    Raises:
        ValueError: if a set has fewer than two rows.
    """
    if min(len(made), len(real)) < 2:
        raise ValueError("the distance of two sets needs two images in each")
    scale = real.std(dim=0).clamp(min=1e-6)
    made, real = made / scale, real / scale
    extractor = _Given(made.shape[1])
    frechet = FrechetInceptionDistance(extractor)
    size = min(SUBSET_SIZE, len(made), len(real))
    with warnings.catch_warnings(action="ignore"):  # it warns that it keeps all features, which are few here
        kernel = KernelInceptionDistance(extractor, subsets=SUBSETS, subset_size=size)
    for metric in (frechet, kernel):
        metric.update(real, real=True)
        metric.update(made, real=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the metric draws its subsets from torch's global generator
        mean, deviation = kernel.compute()
    return {"frechet": float(frechet.compute()), "kernel": float(mean), "kernel_deviation": float(deviation)}
