"""Measures an image model: its reconstructions beside baselines, its divergence, its neighbours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from outfits.metrics.disentanglement import Disentanglement
from outfits.report.representation.items import EncodedItems
from outfits.representations.gaussian import kl_to_standard_normal
from outfits.representations.losses import pixel_weight, squared_error
from outfits.representations.vae import VariationalAutoencoder

NEAREST = 5  # neighbours whose factors are compared
MOST_QUERIES = 6000  # items whose neighbours are searched
MOST_FITTED = 3000  # training images that the baselines are fitted to
MOST_HELD_OUT = 3000  # held-out images that are reconstructed
ACTIVE = 0.01  # nats; a coordinate of a variational model with less carries nothing
FEWEST_OF_A_VALUE = 5  # items of a value whose mean latent is taken
DIRECTIONS = 4
INFORMATIVE = 0.05  # informativeness above which the latent counts as informative about a factor
_COLOURS = ("colour", "color", "hue")
_KINDS = ("category", "shape", "kind", "type", "product")
Draw = Callable[[Tensor], Tensor]  # from images [B, 3, S, S] to reconstructions of the same shape

Fidelity = Mapping[str, float | None]
"""``weighted_error``, mean squared error with pixels weighted as in training; ``squared_error`` over all pixels;
``garment_error`` over the pixels of garments; ``psnr`` and ``garment_psnr``, the last two as peak signal-to-noise
ratios, dB, None where nothing differs."""

Agreement = Mapping[str, float | None]
"""How often the items nearest to an item have its value of a factor: ``share`` of all pairs of an item and one of its
nearest, None where no such pair has both values known; ``chance``, the same of pairs drawn at random; ``items``, images
whose value is known, copies counted once."""


def _psnr(error: float) -> float | None:
    """Computes the ratio of the largest possible to the mean squared error, dB, of images in [0, 1]."""
    return float(-10 * np.log10(error)) if error > 0 else None


@torch.inference_mode()
def fidelity(items: EncodedItems, rows: NDArray[np.int64], draw: Draw) -> Fidelity:
    """Compares reconstructions of some items with their images, pooled over the items."""
    background = items.model.config.background_weight
    sums = np.zeros(3)
    weight_of_garments = 0.0
    for maps in items.batches(rows):
        images, foreground = maps[:, :3], maps[:, 3:]
        made = draw(images)
        apart = (made - images).square()
        sums += [
            float(squared_error(images, made, pixel_weight(foreground, background)).double().sum()),
            float(apart.mean(dim=(1, 2, 3)).double().sum()),
            float((apart.mean(dim=1, keepdim=True) * foreground).double().sum()),
        ]
        weight_of_garments += float(foreground.double().sum())
    weighted, plain, garment = (sums / [len(rows), len(rows), max(weight_of_garments, 1e-12)]).tolist()
    return {
        "weighted_error": weighted,
        "squared_error": plain,
        "garment_error": garment,
        "psnr": _psnr(plain),
        "garment_psnr": _psnr(garment),
    }


def reconstruction_metrics(items: EncodedItems, seed: int) -> dict[str, Fidelity]:
    """Measures fidelity on held-out items of the model and of two baselines without a network, by name.

    ``mean`` answers with the mean training image, ``pca`` with the best linear latent as wide as the model's own.
    """
    model, rng = items.model, np.random.default_rng([seed, 1])
    rows = _drawn(np.flatnonzero(items.held_out), MOST_HELD_OUT, rng)
    fitted = _drawn(np.flatnonzero(items.train), MOST_FITTED, rng)
    flat = np.concatenate([maps[:, :3].flatten(1).cpu().numpy() for maps in items.batches(fitted)])
    components = min(model.latent_dim, len(flat) - 1, flat.shape[1])
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(flat)

    def mean(images: Tensor) -> Tensor:
        return torch.from_numpy(pca.mean_).to(images).reshape(1, *images.shape[1:]).expand_as(images)

    def linear(images: Tensor) -> Tensor:
        latents = pca.transform(images.flatten(1).cpu().numpy())
        made = torch.from_numpy(pca.inverse_transform(latents)).to(images)
        return made.clamp(0.0, 1.0).reshape_as(images)

    draws: dict[str, Draw] = {
        "model": lambda images: model.decode(model.encode(images)),
        "pca": linear,
        "mean": mean,
    }
    return {name: fidelity(items, rows, draw) for name, draw in draws.items()}


@torch.inference_mode()
def divergence(items: EncodedItems) -> NDArray[np.float64] | None:
    """Averages each coordinate's divergence from the prior over held-out items, nats, ``[d]``; None without a prior."""
    model = items.model
    if not isinstance(model, VariationalAutoencoder):
        return None
    rows = np.flatnonzero(items.held_out)
    total = torch.zeros(model.latent_dim, dtype=torch.float64)
    for maps in items.batches(rows):
        total += kl_to_standard_normal(*model.posterior(maps[:, :3])).double().sum(dim=0).cpu()
    means: NDArray[np.float64] = (total / len(rows)).numpy()
    return means


def neighbours(vectors: NDArray[np.float32], queries: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Finds rows of the nearest by cosine, best first, ``[q, min(count, n - 1)]``; no row is its own neighbour."""
    units = F.normalize(torch.from_numpy(np.asarray(vectors)), dim=1)
    count = min(count, len(units) - 1)
    found = [np.zeros((0, count), dtype=np.int64)]
    for start in range(0, len(queries), 512):
        some = torch.from_numpy(queries[start : start + 512])
        cosines = units[some] @ units.T
        cosines[torch.arange(len(some)), some] = -torch.inf
        found.append(cosines.topk(count, dim=1).indices.numpy())
    return np.concatenate(found)


def neighbour_agreement(items: EncodedItems, count: int, seed: int) -> dict[str, Agreement]:
    """Measures agreement of every distinct image with its ``count`` nearest, by factor; copies count as one image.

    Of more than :data:`MOST_QUERIES` images so many are drawn, and their nearest are searched among all.
    """
    rows = items.distinct()
    queries = _drawn(np.arange(len(rows)), MOST_QUERIES, np.random.default_rng([seed, 2]))
    nearest = neighbours(items.vectors[rows], queries, count)
    result: dict[str, Agreement] = {}
    for name, values in items.factors.items():
        of_row = values[rows]
        own, other = of_row[queries][:, None], of_row[nearest]
        known = (own != "") & (other != "")
        counts = np.unique(of_row[of_row != ""], return_counts=True)[1].astype(np.float64)
        total = counts.sum()
        chance = float((counts * (counts - 1)).sum() / (total * (total - 1))) if total > 1 else None
        share = float((own == other)[known].mean()) if known.any() else None
        result[name] = {"share": share, "chance": chance, "items": int(total)}
    return result


@dataclass(frozen=True)
class Direction:
    """Holds a step through the latent that turns one value of a factor into another.

    Attributes:
        items: numbers of training images of ``source`` and ``target`` that the means are taken over.
        step: mean latent of the target less mean latent of the source, shape ``[d]``.
    """

    factor: str
    source: str
    target: str
    items: tuple[int, int]
    step: NDArray[np.float32]


def attribute_directions(items: EncodedItems) -> list[Direction]:
    """Computes steps between the two commonest values of at most :data:`DIRECTIONS` factors, copies counted once.

    Means are over training images. Colours come first, then kinds of garment, then the others, in the data set's order.
    """
    rows = items.distinct(items.train)
    found = []
    for name in sorted(items.factors, key=_rank):
        values = items.factors[name][rows]
        names, counts = np.unique(values[values != ""], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:2]
        if len(order) < 2 or counts[order[1]] < FEWEST_OF_A_VALUE:
            continue
        source, target = names[order].tolist()
        means = [items.latents[rows[values == value]].mean(axis=0) for value in (source, target)]
        seen = (int(counts[order[0]]), int(counts[order[1]]))
        found.append(Direction(name, source, target, seen, means[1] - means[0]))
    return found[:DIRECTIONS]


def coordinate_factors(metrics: Disentanglement) -> list[tuple[str, float] | None]:
    """Returns the factor that every coordinate matters most for, and its share of that factor's importance.

    A forest spreads importance over the coordinates even where it learns nothing, so only factors count that a linear
    map of the latent predicts better than guessing by :data:`INFORMATIVE`. None where a coordinate has no more than an
    even share in any of them.
    """
    informative = np.array([factor.informativeness > INFORMATIVE for factor in metrics.factors.values()])
    importance = np.where(informative, metrics.importance, 0.0)
    names, best = list(metrics.factors), importance.argmax(axis=1)
    shares = importance.max(axis=1).tolist()
    even = 1 / len(importance)
    return [(names[factor], share) if share > even else None for factor, share in zip(best, shares, strict=True)]


def _rank(name: str) -> int:
    word = name.lower()
    return 0 if any(part in word for part in _COLOURS) else 1 if any(part in word for part in _KINDS) else 2


def _drawn(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
