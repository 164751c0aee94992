"""Data sets: as a parser reads them, and after cleaning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue
from outfits.data.outfits import Outfits
from outfits.data.refinements import Refinement
from outfits.data.users import UserOutfits


@dataclass(frozen=True)
class Item:
    """An item as a parser read it; its image file is not yet checked.

    Attributes:
        item_id: the data set's own name of it.
        category: name of its category.
        text: an empty string is a missing text.
        image_path: None is a missing image.
        attributes: its true properties by name, as in ``{"colour": "red"}``, to evaluate learned representations; an
            empty string or a missing name is unknown.
    """

    item_id: str
    category: str
    text: str
    image_path: Path | None
    # A dict has no hash, and items are keys of caches.
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class RawOutfit:
    """An outfit as a parser read it.

    Attributes:
        outfit_id: the data set's own name of it.
        item_ids: its items.
        split: its official split; None where there is none.
        source: its place, for messages.
        scores: the different scores given to it, NaN for one that is missing or no number; empty where the data set has
            none.
    """

    outfit_id: str
    item_ids: tuple[str, ...]
    split: str | None
    source: str
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Interaction:
    """A user and an outfit that the user likes, as a parser read them.

    Attributes:
        user_id: the data set's own name of the user.
        outfit_id: the outfit.
        split: its official split; None where there is none.
        source: its place, for messages; of tens of millions of lines only their file.
        time: any number that grows with time; NaN where it is unknown.
        line: number of its line in ``source``; 0: ``source`` says all.
    """

    user_id: str
    outfit_id: str
    split: str | None
    source: str
    time: float = math.nan
    line: int = 0

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.source} line {self.line:,}" if self.line else self.source


@dataclass(frozen=True)
class FurtherImage:
    """Another image of an item, as a parser read it: the same thing seen otherwise.

    Attributes:
        item_id: the item.
        path: image file.
        kind: how it differs from the item's own image, as in ``cropped``: the bucket in which it is measured.
    """

    item_id: str
    path: Path
    kind: str


@dataclass(frozen=True)
class RawRefinement:
    """Ids of a reference and of the item that is meant, captions of the difference, and their split."""

    reference: str
    target: str
    captions: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class FillInTheBlank:
    """A question: ids of the given items and of the answers, the position of the true answer, and the user if known."""

    question: tuple[str, ...]
    answers: tuple[str, ...]
    correct: int
    user_id: str = ""


@dataclass(frozen=True)
class LabelledOutfit:
    """A set of item ids with its official compatibility label."""

    item_ids: tuple[str, ...]
    compatible: bool


@dataclass(frozen=True)
class RawDataset:
    """The result of a parser, and log lines on how it read the files.

    ``fitb`` and ``labelled`` map splits to official tasks; ``interactions`` say what users like; ``further_images`` are
    pairs of an item and another image of it. Data without outfits have ``item_splits``, the ids of every split's items,
    and perhaps ``refinements``. With ``questions_apart`` none of the ``fitb`` is about an outfit of the data, so that
    they can be asked however these are split. Ids and names of categories and attributes are in the form of
    :func:`outfits.naming.normalised`.
    """

    name: str
    items: Sequence[Item]
    outfits: Sequence[RawOutfit]
    fitb: Mapping[str, Sequence[FillInTheBlank]] = field(default_factory=dict)
    labelled: Mapping[str, Sequence[LabelledOutfit]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    interactions: Sequence[Interaction] = ()
    further_images: Sequence[FurtherImage] = ()
    item_splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refinements: Sequence[RawRefinement] = ()
    questions_apart: bool = False


@dataclass(frozen=True)
class OutfitDataset:
    """A clean data set.

    Attributes:
        name: data set and variant, for reports.
        catalogue: all items that may be chosen.
        outfits: clean outfits with their split.
        fitb: official fill-in-the-blank questions by split, may be empty.
        labelled: official compatibility rows by split, may be empty.
        counts: numbers of what was seen and left out, by a short sentence, for logs and report.
        split_facts: ``mode``, ``seed``, ``shares`` and ``pairs_seen`` (share of test item pairs seen in training).
        notes: further lines for the log: how files were read, and names that look wrong.
        users: what users like; None where the data set has no users.
        further_images: other images of the catalogue's items.
        refinements: the data set's own, by split; empty where it has none.
        item_splits: catalogue positions of every split's items; empty where outfits alone are in splits.
    """

    name: str
    catalogue: Catalogue
    outfits: Outfits
    fitb: Mapping[str, Sequence[FillInTheBlank]]
    labelled: Mapping[str, Sequence[LabelledOutfit]]
    counts: Mapping[str, int]
    split_facts: Mapping[str, object]
    notes: Sequence[str] = ()
    users: UserOutfits | None = None
    further_images: Sequence[FurtherImage] = ()
    refinements: Mapping[str, Sequence[Refinement]] = field(default_factory=dict)
    item_splits: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
