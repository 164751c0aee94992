"""The catalogue: every item that may be chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.errors import DataError


@dataclass(frozen=True)
class ItemEmbeddings:
    """Frozen item embeddings, image part first, text part after it.

    Attributes:
        vectors: float32, shape ``[N, image_dim + text_dim]``, usually memory-mapped, also as float16; an absent part
            is zero.
        present: bool, shape ``[N, 2]``: whether the item has an image, a text.
        image_dim: width of the image part, 0 without an image encoder.
        text_dim: width of the text part, 0 without a text encoder.
        key: content key of encoder, weights, preprocessing and items.
        shared_space: whether a text can be compared with the image part, since one encoder maps both to one space.
    """

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]
    image_dim: int
    text_dim: int
    key: str = ""
    shared_space: bool = False

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.shape[1] != self.image_dim + self.text_dim:
            raise ValueError(
                f"vectors of shape {self.vectors.shape} do not hold {self.image_dim} + {self.text_dim} columns"
            )
        if self.present.shape != (len(self.vectors), 2):
            raise ValueError(f"present must have shape [{len(self.vectors)}, 2], not {list(self.present.shape)}")

    @property
    def dim(self) -> int:
        """Width of the concatenated vector."""
        return self.image_dim + self.text_dim

    def take(self, rows: NDArray[np.integer]) -> "ItemEmbeddings":
        """Selects the embeddings of these items, in this order."""
        vectors = np.array(self.vectors[rows], dtype=np.float32)
        return replace(self, vectors=vectors, present=np.array(self.present[rows]))

    @property
    def image(self) -> NDArray[np.float32]:
        """Image part, shape ``[N, image_dim]``."""
        return self.vectors[:, : self.image_dim]

    @property
    def text(self) -> NDArray[np.float32]:
        """Text part, shape ``[N, text_dim]``."""
        return self.vectors[:, self.image_dim :]


@dataclass(frozen=True)
class Catalogue:
    """Items by position: position ``i`` of every field is one item; fields as of :class:`outfits.data.dataset.Item`.

    Attributes:
        item_ids: unique.
        categories: int32, shape ``[N]``, positions in ``category_names``.
        embeddings: item embeddings, once they are computed.
        attributes: true properties by name, one value per item; an empty string is unknown.
    """

    item_ids: Sequence[str]
    categories: NDArray[np.int32]
    category_names: Sequence[str]
    texts: Sequence[str]
    image_paths: Sequence[Path | None]
    embeddings: ItemEmbeddings | None = field(default=None, repr=False)
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        lengths = {len(self.item_ids), len(self.categories), len(self.texts), len(self.image_paths)}
        if self.embeddings is not None:
            lengths.add(len(self.embeddings.vectors))
        lengths.update(len(values) for values in self.attributes.values())
        if len(lengths) != 1:
            raise ValueError(f"catalogue fields differ in length: {sorted(lengths)}")
        if len(self.positions) != len(self.item_ids):
            raise DataError("the catalogue names an item twice")

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of every item id."""
        return dict(zip(self.item_ids, range(len(self.item_ids)), strict=True))

    def with_embeddings(self, embeddings: ItemEmbeddings) -> "Catalogue":
        """The same items with embeddings."""
        return replace(self, embeddings=embeddings)

    @property
    def require_embeddings(self) -> ItemEmbeddings:
        """Returns the embeddings; raises :class:`DataError` if they are not computed yet."""
        if self.embeddings is None:
            raise DataError("the catalogue has no embeddings yet; run the embeddings stage first")
        return self.embeddings
