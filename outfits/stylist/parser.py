"""Parses partial outfits into positions: catalogue ids, and garments as external items."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.encoders.base import ItemEncoder
from outfits.errors import DataError
from outfits.naming import did_you_mean, normalised
from outfits.stylist.garments import Garment, embed_garment
from outfits.stylist.results import ItemRef

REMEMBERED = 64  # garments whose embeddings are kept
Embedded = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True)
class PartialOutfit:
    """A partial outfit.

    Attributes:
        items: its items in input order.
        positions: their catalogue positions, from ``N`` on those of external items, int64, shape ``[n]``.
        categories: their categories, int64, shape ``[n]``.
        external: embeddings of the external items, sorted by content; None without any.
        external_categories: their categories, int64, shape ``[m]``.
    """

    items: tuple[ItemRef, ...]
    positions: NDArray[np.int64]
    categories: NDArray[np.int64]
    external: ItemEmbeddings | None
    external_categories: NDArray[np.int64]


class OutfitParser:
    """Parses partial outfits against a catalogue; ``encoder`` gives the run's item encoder at its first use."""

    def __init__(self, catalogue: Catalogue, encoder: Callable[[], ItemEncoder]) -> None:
        self.catalogue = catalogue
        self._encoder = encoder
        self._embedded: OrderedDict[int, tuple[Garment, Embedded]] = OrderedDict()
        self._category = {name: number for number, name in enumerate(catalogue.category_names)}

    @property
    def encoder(self) -> ItemEncoder:
        """The run's item encoder, loaded at its first use."""
        return self._encoder()

    def read_all(self, outfits: Sequence[Sequence[str | Garment]]) -> list[PartialOutfit]:
        """Parses several outfits; see :meth:`read`."""
        return [self.read(outfit) for outfit in outfits]

    def read(self, pieces: Sequence[str | Garment]) -> PartialOutfit:
        """Parses one outfit.

        Raises:
            DataError: if it is empty, names an unknown item or one item twice, or a garment cannot be used.
        """
        if isinstance(pieces, str | Garment):
            raise TypeError(f"an outfit is a list of items, as in [{pieces!r}]")
        if not isinstance(pieces, Iterable):
            raise TypeError(f"an outfit is a list of items, not {pieces!r}")
        pieces = list(pieces)  # arrays and columns of tables too
        if not pieces:
            raise DataError("the partial outfit has no item; give at least one, or generate an outfit from a text")
        garments = [piece for piece in pieces if isinstance(piece, Garment)]
        categories = [self.category(garment.category) for garment in garments]
        embedded = [self.embed(garment) for garment in garments]
        # Sort external items by content, so that results do not depend on input order.
        order = sorted(
            range(len(garments)),
            key=lambda one: (embedded[one][0].tobytes(), embedded[one][1].tobytes(), categories[one]),
        )
        place_of = {part: len(self.catalogue) + place for place, part in enumerate(order)}
        own = iter(range(len(garments)))
        positions = [place_of[next(own)] if isinstance(piece, Garment) else self.position(piece) for piece in pieces]
        ids = [normalised(piece) for piece in pieces if isinstance(piece, str)]
        twice = next((item_id for item_id in ids if ids.count(item_id) > 1), None)
        if twice is not None:
            raise DataError(f"item {twice!r} stands twice in the partial outfit; an outfit is a set")
        external, external_categories = None, np.array([categories[part] for part in order], dtype=np.int64)
        if garments:
            features = self.catalogue.require_embeddings
            vectors = np.stack([embedded[part][0] for part in order])
            present = np.stack([embedded[part][1] for part in order])
            external = ItemEmbeddings(
                vectors, present, features.image_dim, features.text_dim, shared_space=features.shared_space
            )
        every = np.concatenate([self.catalogue.categories.astype(np.int64), external_categories])
        items = tuple(
            ItemRef(None, piece.category, piece.text, piece.path) if isinstance(piece, Garment) else self.item(position)
            for piece, position in zip(pieces, positions, strict=True)
        )
        where = np.array(positions, dtype=np.int64)
        return PartialOutfit(items, where, every[where], external, external_categories)

    def embed(self, garment: Garment) -> Embedded:
        """Embeds a garment; once, if its image is in memory, where it cannot change unseen."""
        if not isinstance(garment.image, Image.Image):
            return embed_garment(self.encoder, garment)
        if id(garment) not in self._embedded:
            self._embedded[id(garment)] = garment, embed_garment(self.encoder, garment)
            if len(self._embedded) > REMEMBERED:
                self._embedded.popitem(last=False)
        return self._embedded[id(garment)][1]

    def item(self, position: int) -> ItemRef:
        """The catalogue's entry at a position."""
        catalogue = self.catalogue
        category = catalogue.category_names[int(catalogue.categories[position])]
        return ItemRef(
            catalogue.item_ids[position], category, catalogue.texts[position], catalogue.image_paths[position]
        )

    def position(self, item_id: str) -> int:
        """Catalogue position of an item; raises :class:`DataError` with the nearest ids if there is no such item."""
        if not isinstance(item_id, str):
            raise TypeError(f"an item is the id of a catalogue item, a text, or a Garment, not {_shown(item_id)}")
        positions = self.catalogue.positions
        position = positions.get(item_id, positions.get(normalised(item_id)))
        if position is None:
            first = ", ".join(self.catalogue.item_ids[:3])
            hint = did_you_mean(item_id, self.catalogue.item_ids, 3) or f"; ids look like {first}"
            raise DataError(f"the catalogue has no item {item_id!r}{hint}")
        return position

    def category(self, name: str) -> int:
        """Number of a category; raises :class:`DataError` with the nearest names if there is no such category."""
        if not isinstance(name, str):
            raise TypeError(f"a category is the name of one, a text, not {_shown(name)}")
        number = self._category.get(name, self._category.get(normalised(name)))
        if number is None:
            names = list(self._category)
            some = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            hint = did_you_mean(name, names, 3) or f"; there are {some}"
            raise DataError(f"the catalogue has no category {name!r}{hint}")
        return number

    def allowed(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """These categories as a mask, bool, shape ``[C]``."""
        allowed = np.zeros(len(self._category), dtype=np.bool_)
        allowed[[self.category(name) for name in names]] = True
        return allowed


def _shown(value: object) -> str:
    """Shows a value in one line."""
    return " ".join(repr(value).split())[:80]
