"""The outfits of a run's data: by id, by row, and those similar to an outfit."""

from functools import cached_property

import numpy as np
from torch import Tensor

from outfits.data.catalogue import ItemEmbeddings
from outfits.data.outfits import SPLITS
from outfits.errors import DataError
from outfits.models.similarity import outfit_embeddings
from outfits.naming import did_you_mean
from outfits.stylist.loading import LoadedRun
from outfits.stylist.parser import OutfitParser
from outfits.stylist.results import ItemRef, OutfitMatch


class KnownOutfits:
    """The outfits of a loaded run's data, M in all."""

    def __init__(self, run: LoadedRun, parser: OutfitParser) -> None:
        self.ids = run.outfits.outfit_ids
        self._run = run
        self._parser = parser

    def row(self, outfit_id: str) -> int:
        """The row of an outfit; raises :class:`DataError`, with the nearest ids, if there is no such outfit."""
        if outfit_id not in self._rows:
            raise DataError(f"there is no outfit {outfit_id!r}{did_you_mean(outfit_id, self.ids)}")
        return self._rows[outfit_id]

    def items(self, row: int) -> tuple[ItemRef, ...]:
        """The items of the outfit in a row."""
        return tuple(self._parser.item(int(item)) for item in self._run.outfits[row])

    def similar(self, items: ItemEmbeddings, top: int) -> list[OutfitMatch]:
        """The outfits most similar to a set of items by :math:`S_O`; the first call embeds all outfits."""
        one = outfit_embeddings(self._run.context.require_scorer_module(), [items])[0]
        similarity = (self._vectors @ one).clamp(-1, 1).cpu().numpy()
        order = np.argsort(-similarity, kind="stable")[:top].tolist()
        split = self._run.outfits.split
        return [
            OutfitMatch(self.ids[row], SPLITS[split[row]], self.items(row), float(similarity[row])) for row in order
        ]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {outfit_id: row for row, outfit_id in enumerate(self.ids)}

    @cached_property
    def _vectors(self) -> Tensor:
        """S's outfit embeddings, shape ``[M, d]``."""
        features, scorer = self._run.catalogue.require_embeddings, self._run.context.require_scorer_module()
        return outfit_embeddings(scorer, [features.take(outfit) for outfit in self._run.outfits], block=256)
