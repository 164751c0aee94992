"""Encodes a catalogue's items by an image model, with held-out items, copies, and known factors."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.data.catalogue import Catalogue
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages, copies_of, latents_of_images
from outfits.errors import ConfigError
from outfits.representations.base import ImageModel

BATCH = 256  # images in memory at a time
MOST_ITEMS = 20_000  # drawn from a larger catalogue, so that a report takes minutes
FEWEST_HELD_OUT = 100  # least number of held-out items in such a draw, where there are as many


@dataclass(frozen=True)
class EncodedItems:
    """Holds items of a catalogue with an image, in the catalogue's order, and their latents.

    Attributes:
        model: the model, in evaluation mode.
        images: prepared images of the whole catalogue.
        positions: the items' catalogue positions, shape ``[n]``.
        latents: shape ``[n, d]``.
        vectors: item vectors of the encoder, shape ``[n, d]``.
        groups: equal numbers for items whose images are equal in every pixel, shape ``[n]``.
        train: marks items that the model was trained on, bool, shape ``[n]``.
        held_out: marks items that, like their copies, were not trained on; each image once, bool, shape ``[n]``.
        categories: name of every item's category.
        factors: values of category and attributes by name; an empty string is unknown.
        training: number of items that the model was trained on, including items that are not among these.
        validation: number of items of the validation loss.
        copies: whether ``held_out`` are copies of training images, since there is no other.
    """

    model: ImageModel
    images: PackedImages
    positions: NDArray[np.int64]
    latents: NDArray[np.float32]
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    train: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    categories: NDArray[np.str_]
    factors: dict[str, NDArray[np.str_]]
    training: int
    validation: int
    copies: bool

    def __len__(self) -> int:
        return len(self.positions)

    def distinct(self, among: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Returns items, ascending, each image once: the first copy ``among`` the marked ones, or among all."""
        rows = np.arange(len(self)) if among is None else np.flatnonzero(among)
        _, first = np.unique(self.groups[rows], return_index=True)
        return np.sort(rows[first])

    def maps(self, rows: NDArray[np.int64]) -> Tensor:
        """Loads images and foreground ``[n, 4, S, S]`` of some items, on the model's device."""
        return image_tensor(self.images.pixels[self.positions[rows]]).to(self.model.centre.device)

    def batches(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """Yields the :meth:`maps` of some items, a batch at a time."""
        for start in range(0, len(rows), BATCH):
            yield self.maps(rows[start : start + BATCH])

    def latent_tensor(self, rows: NDArray[np.int64]) -> Tensor:
        """Returns latents ``[n, d]`` of some items, on the model's device."""
        return torch.from_numpy(self.latents[rows]).to(self.model.centre.device)

    def spread(self, among: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
        """Draws at most ``count`` of some items at random with all categories taking turns."""
        shuffled = np.random.default_rng([seed, len(self)]).permutation(among)
        turns: Counter[str] = Counter()
        turn = []
        for category in self.categories[shuffled]:
            turn.append(turns[category])
            turns[category] += 1
        return shuffled[np.argsort(turn, kind="stable")[:count]]


def encoded_items(
    model: ImageModel,
    images: PackedImages,
    catalogue: Catalogue,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    factors: Sequence[str],
    seed: int,
) -> EncodedItems:
    """Encodes the items of a catalogue, or :data:`MOST_ITEMS` drawn from it.

    The model is in evaluation mode and was trained on the catalogue positions ``train`` and validated on ``valid``.
    ``factors`` are attributes to keep, see :func:`known_factors`, which may raise ConfigError.
    """
    known = known_factors(catalogue, factors)
    positions = np.flatnonzero(images.present)
    groups = copies_of(images, positions)
    learned, watched = np.isin(positions, train), np.isin(positions, valid)
    new = watched & ~np.isin(groups, groups[learned])
    candidates = np.flatnonzero(new if new.any() else watched)
    candidates = candidates[np.unique(groups[candidates], return_index=True)[1]]
    held_out = np.zeros(len(positions), dtype=np.bool_)
    held_out[candidates] = True
    rows = np.arange(len(positions))
    if len(rows) > MOST_ITEMS:
        order = np.random.default_rng(seed).permutation(rows)
        shown = order[held_out[order]][:FEWEST_HELD_OUT]
        rows = np.union1d(order[:MOST_ITEMS], shown)
    kept = positions[rows]
    latents = latents_of_images(model, images, kept)
    with torch.inference_mode():  # the same as embed, without encoding again
        vectors = (torch.from_numpy(latents) - model.centre.cpu()) @ model.components.cpu().T
    names = np.asarray(catalogue.category_names, dtype=np.str_)
    return EncodedItems(
        model=model,
        images=images,
        positions=kept,
        latents=latents,
        vectors=vectors.numpy(),
        groups=groups[rows],
        train=learned[rows],
        held_out=held_out[rows],
        categories=names[catalogue.categories[kept]],
        factors={name: values[kept] for name, values in known.items()},
        training=len(train),
        validation=len(valid),
        copies=not new.any(),
    )


def known_factors(catalogue: Catalogue, names: Sequence[str] = ()) -> dict[str, NDArray[np.str_]]:
    """Returns every item's category and its named attributes or, without names, all there are.

    The category is left out where an attribute has the same values. Raises ConfigError if there is no such attribute.
    """
    available = catalogue.attributes
    unknown = [name for name in names if name not in available]
    if unknown:
        raise ConfigError(
            [
                f"evaluate.representation.factors: the items have no attribute {', '.join(map(repr, unknown))}; "
                f"they have {', '.join(available) or 'none'}"
            ]
        )
    chosen = {name: np.asarray(available[name], dtype=np.str_) for name in names or available}
    category = np.asarray(catalogue.category_names, dtype=np.str_)[catalogue.categories]
    if any(np.array_equal(values, category) for values in chosen.values()):
        return chosen
    return {"item category" if "category" in chosen else "category": category, **chosen}
