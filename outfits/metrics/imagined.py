"""Measures imagined images: encoded again, which items and categories they find, and what S makes of the outfit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit
from torch import Tensor

from outfits.completion.context import MethodContext
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.encoders.base import ItemEncoder
from outfits.encoders.packed import PackedImages, copies_of

CUTOFFS = (1, 10)
TIE = 1e-6  # cosines this close are equal: those of items with the same image
BATCH = 64


@dataclass(frozen=True)
class Retrieved:
    """What Q images retrieve by the cosine of image embeddings among the N items with an image.

    Attributes:
        ranks: number of items that are nearer than the wanted one, shape ``[Q]``.
        category_first: whether the nearest item has the wanted one's category, shape ``[Q]``.
        category_share: share of the ten nearest items that have it, shape ``[Q]``.
    """

    ranks: NDArray[np.int64]
    category_first: NDArray[np.bool_]
    category_share: NDArray[np.float64]

    def values(self) -> list[float]:
        """Shares of the wanted item found at :data:`CUTOFFS`, and of its category at 1 and among 10."""
        found = [float((self.ranks < cutoff).mean()) for cutoff in CUTOFFS]
        return [*found, float(self.category_first.mean()), float(self.category_share.mean())]


def pil_images(images: Tensor) -> list[Image.Image]:
    """Converts images ``[n, 3, S, S]`` in [0, 1] to Pillow's."""
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(each) for each in pixels]


def embed_images(encoder: ItemEncoder, images: Tensor) -> ItemEmbeddings:
    """Embeds images ``[n, 3, S, S]`` in [0, 1] as items without a text, by the run's encoder."""
    parts = [encoder.encode(pil_images(some), [""] * len(some)) for some in torch.split(images, BATCH)]
    vectors, present = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ItemEmbeddings(vectors, present, encoder.image_dim, encoder.text_dim)


def retrieved(found: ItemEmbeddings, wanted: NDArray[np.integer], catalogue: Catalogue) -> Retrieved:
    """Looks up image embeddings of Q images in the catalogue; ``wanted`` ``[Q]`` are catalogue positions.

    Items with the same image as the wanted one are no mistakes: they are as near, and do not count as nearer.
    """
    items = catalogue.require_embeddings
    pictured, images = items.present[:, 0], np.asarray(items.image)
    ranks, right = [], []
    for start in range(0, len(wanted), BATCH):  # so that no matrix is Q × N
        asked = wanted[start : start + BATCH].astype(np.int64)
        cosines = np.where(pictured, found.image[start : start + BATCH] @ images.T, -np.inf)
        ranks.append((cosines > np.take_along_axis(cosines, asked[:, None], axis=1) + TIE).sum(axis=1))
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : CUTOFFS[-1]]
        right.append(catalogue.categories[nearest] == catalogue.categories[asked][:, None])
    same_category = np.concatenate(right)
    return Retrieved(np.concatenate(ranks), same_category[:, 0], same_category.mean(axis=1))


def seen_share(images: PackedImages, wanted: NDArray[np.int64], train: NDArray[np.int64]) -> float:
    """Share of items ``wanted`` whose image, pixel by pixel, is that of a training item; both catalogue positions."""
    numbers = copies_of(images, np.concatenate([train, wanted]))
    return float(np.isin(numbers[len(train) :], numbers[: len(train)]).mean())


def completed_scores(
    context: MethodContext, given: Sequence[NDArray[np.integer]], added: ItemEmbeddings, categories: NDArray[np.integer]
) -> dict[str, float]:
    """Mean S, and judge if there is one, of outfits completed by external items.

    Args:
        context: models and catalogue of the run.
        given: catalogue positions of the B outfits' given items.
        added: the added items, B·k of them, those of an outfit together.
        categories: their categories, shape ``[B·k]``.
    """
    places = len(context.catalogue) + np.arange(len(added.vectors)).reshape(len(given), -1)
    sets = [np.concatenate([items.astype(np.int64), more]) for items, more in zip(given, places, strict=True)]
    scorers = {"S": context.scorer, "judge": context.judge}
    scores = {}
    with torch.inference_mode():
        for name, scorer in scorers.items():
            if scorer is not None:
                hosting = scorer.with_external(added.vectors, added.present, categories)
                scores[name] = float(expit(hosting.ragged_logits(sets).double().cpu().numpy()).mean())
    return scores


def ratio(values: Mapping[str, Retrieved], one: str, other: str) -> float:
    """How many times as often ``one`` finds the wanted item at 10 as ``other``; inf where that never does."""
    shares = [float((values[name].ranks < CUTOFFS[-1]).mean()) for name in (one, other)]
    return shares[0] / shares[1] if shares[1] else float("inf")
