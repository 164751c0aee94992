"""Measures a multi-task network: search both ways, refinement, categories and captions of a split.

Items with equal images are one image, whose right texts are those of all of them, and equal texts are one text: in a
full gallery several answers may be right, and the best placed one counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT, RETRIEVAL
from outfits.data.refinements import RefinementQuestion, Refinements
from outfits.encoders.multitask.inference import (
    blocks,
    captions_of,
    categories_of,
    image_vectors,
    refined_queries,
    text_vectors,
)
from outfits.encoders.multitask.store import StoredNetwork
from outfits.encoders.multitask.towers import unit
from outfits.metrics.captions import caption_measures

RETRIEVED_AT, REFINED_AT = (1, 5, 10), (1, 10, 50)
BLOCK = 256  # queries that are ranked at once
GALLERIES = ("split", "val")
"""All images of the split, FashionIQ's original gallery; and those in its refinements, VAL's (Chen et al. 2020)."""


@dataclass(frozen=True)
class Gallery:
    """Images and texts of a split.

    Attributes:
        pixels: of the whole catalogue, uint8, shape ``[N, S, S, 3]``.
        image_ids: equal numbers for equal images, shape ``[N]``.
        texts: of every item, may be empty.
        categories: int32, shape ``[N]``.
        items: the split's items, catalogue positions.
        refinements: of the split; None without.
        by_category: whether refinements search their own category alone, as in FashionIQ.
    """

    pixels: NDArray[np.uint8]
    image_ids: NDArray[np.int64]
    texts: Sequence[str]
    categories: NDArray[np.int32]
    items: NDArray[np.int64]
    refinements: Refinements | None = None
    by_category: bool = False

    def distinct(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """One item for every different image among some."""
        found: NDArray[np.int64] = items[np.unique(self.image_ids[items], return_index=True)[1]]
        return np.sort(found)

    def candidates(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Equal numbers for equal candidates of refinements ``[n]``: images, of each category where each is searched.

        An image in two categories, as FashionIQ has them, is a candidate in both.
        """
        if not self.by_category:
            return self.image_ids[items]
        found: NDArray[np.int64] = self.image_ids[items] * (int(self.categories.max()) + 1) + self.categories[items]
        return found

    def texts_of(self, items: NDArray[np.int64]) -> list[str]:
        """Texts of items."""
        return [self.texts[item] for item in items.tolist()]


@dataclass(frozen=True)
class Measured:
    """Values by name, in [0, 1] except CIDEr, and the number of cases that each is a mean over."""

    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float], count: int) -> None:
        """Adds values over so many cases."""
        self.values.update(values)
        self.counts.update(dict.fromkeys(values, count))


def measure(model: StoredNetwork, gallery: Gallery, tasks: Sequence[str], beam: int, seed: int) -> Measured:
    """Measures tasks that the model has or, without adapters, can do: search, and refinement by its vectors alone."""
    found, own = Measured(), model.network.config.tasks
    if RETRIEVAL in tasks and RETRIEVAL in (own or [RETRIEVAL]):
        _retrieval(found, model, gallery)
    if REFINEMENT in tasks and gallery.refinements is not None:
        _refinement(found, model, gallery, seed)
    if RECOGNITION in tasks and RECOGNITION in own:
        _recognition(found, model, gallery)
    if CAPTIONING in tasks and CAPTIONING in own:
        _captioning(found, model, gallery, beam)
    return found


def first_right(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many wrong answers stand before the first right one, shape ``[Q]``; of equal scores the wrong ones first.

    Both arguments have shape ``[Q, G]``, and every row has a right answer.
    """
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    found: NDArray[np.int64] = ((scores >= best) & ~right).sum(1)
    return found


def recalls(ranks: NDArray[np.int64], depths: Sequence[int], name: str) -> dict[str, float]:
    """Shares of ranks, counted from 0, below some depths, named ``NAME_r@DEPTH``."""
    return {f"{name}_r@{depth}": float((ranks < depth).mean()) for depth in depths}


def _retrieval(found: Measured, model: StoredNetwork, gallery: Gallery) -> None:
    task = model.network.task_or_none(RETRIEVAL)
    items = gallery.items[[bool(gallery.texts[item].strip()) for item in gallery.items.tolist()]]
    images, texts = gallery.distinct(items), sorted(set(gallery.texts_of(items)))
    seen, said = image_vectors(model, gallery.pixels[images], task), text_vectors(model, texts, task)
    number_of_image = {int(gallery.image_ids[item]): row for row, item in enumerate(images.tolist())}
    number_of_text = {text: row for row, text in enumerate(texts)}
    right = np.zeros((len(images), len(texts)), dtype=np.bool_)
    for item in items.tolist():
        right[number_of_image[int(gallery.image_ids[item])], number_of_text[gallery.texts[item]]] = True
    found.add(recalls(_ranks(seen, said, right), RETRIEVED_AT, "image_to_text"), len(images))
    found.add(recalls(_ranks(said, seen, right.T), RETRIEVED_AT, "text_to_image"), len(texts))


def _refinement(found: Measured, model: StoredNetwork, gallery: Gallery, seed: int) -> None:
    assert gallery.refinements is not None
    network, questions = model.network, gallery.refinements.questions(seed)
    search, pixels = network.task_or_none(RETRIEVAL), gallery.pixels
    references, texts = np.array([one.reference for one in questions]), [one.text for one in questions]
    every = np.union1d(gallery.items, np.concatenate([references, *(one.right for one in questions)]))
    images = every[np.unique(gallery.candidates(every), return_index=True)[1]]
    distinct_texts, of_text = np.unique(np.array(texts), return_inverse=True)
    plain_images = image_vectors(model, pixels[images], search)
    place = {int(gallery.image_ids[item]): row for row, item in enumerate(images.tolist())}
    seen = plain_images[[place[int(gallery.image_ids[item])] for item in references.tolist()]]
    said = text_vectors(model, distinct_texts.tolist(), search)[of_text]
    rows = {"image_alone": seen, "text_alone": said, "sum": _unit(seen + said)}
    targets = dict.fromkeys(rows, plain_images)
    if REFINEMENT in network.config.tasks:
        rows["refined"] = refined_queries(model, pixels[references], texts)
        targets["refined"] = image_vectors(model, pixels[images], REFINEMENT)
    for name, queries in rows.items():
        for kind in GALLERIES:
            ranks = refinement_ranks(queries, targets[name], images, questions, gallery, kind)
            groups = gallery.categories[references] if gallery.by_category else np.zeros(len(references), np.int32)
            by_group = [recalls(ranks[groups == group], REFINED_AT, f"{name}_{kind}") for group in np.unique(groups)]
            found.add({key: float(np.mean([one[key] for one in by_group])) for key in by_group[0]}, len(questions))


def refinement_ranks(
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    images: NDArray[np.int64],
    questions: Sequence[RefinementQuestion],
    gallery: Gallery,
    kind: str,
) -> NDArray[np.int64]:
    """Ranks of the first right answers, from 0; the reference itself is a candidate, as in FashionIQ.

    Args:
        queries: shape ``[Q, D]``.
        targets: of ``images``, shape ``[G, D]``.
        images: catalogue positions, one for each number of :meth:`Gallery.candidates`.
        questions: what is asked.
        gallery: the split.
        kind: of :data:`GALLERIES`.
    """
    ids, named = gallery.candidates(images), gallery.items
    if kind != "split":
        named = np.concatenate([[one.reference, *one.right.tolist()] for one in questions])
    in_gallery = np.isin(ids, gallery.candidates(named))
    ranks = []
    for some in blocks(len(questions), BLOCK):
        scores = queries[some] @ targets.T
        right = np.stack([np.isin(ids, gallery.candidates(one.right)) for one in questions[some]])
        allowed = np.tile(in_gallery, (len(scores), 1))
        if gallery.by_category:
            own = gallery.categories[[one.reference for one in questions[some]]]
            allowed &= own[:, None] == gallery.categories[images]
        ranks.append(first_right(np.where(allowed | right, scores, -np.inf), right))
    return np.concatenate(ranks)


def _recognition(found: Measured, model: StoredNetwork, gallery: Gallery) -> None:
    items, numbers = gallery.items, {name: number for number, name in enumerate(model.categories)}
    true = gallery.categories[items]
    for name, texts in (("with_text", gallery.texts_of(items)), ("image_alone", [""] * len(items))):
        predicted = np.array([numbers[one] for one in categories_of(model, gallery.pixels[items], texts)])
        macro = float(f1_score(true, predicted, average="macro", zero_division=0.0))
        found.add({f"{name}_accuracy": float((predicted == true).mean()), f"{name}_macro_f1": macro}, len(items))


def _captioning(found: Measured, model: StoredNetwork, gallery: Gallery, beam: int) -> None:
    items = gallery.items[[bool(gallery.texts[item].strip()) for item in gallery.items.tolist()]]
    images = gallery.distinct(items)
    references: dict[int, list[str]] = {}
    for item in items.tolist():
        references.setdefault(int(gallery.image_ids[item]), []).append(gallery.texts[item])
    captions = captions_of(model, gallery.pixels[images], beam)
    found.add(caption_measures(captions, [references[int(gallery.image_ids[one])] for one in images]), len(images))


def _ranks(queries: NDArray[np.float32], targets: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.concatenate([first_right(queries[some] @ targets.T, right[some]) for some in blocks(len(queries), BLOCK)])


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return unit(torch.from_numpy(rows)).numpy()
