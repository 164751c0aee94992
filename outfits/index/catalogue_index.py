"""The catalogue in a model's retrieval space."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.index.category_index import CategoryIndex
from outfits.models.generator import Generator


@dataclass(frozen=True)
class MappedVectors:
    """A catalogue's embeddings as a model maps them, on the device, when they are read.

    ``mapping`` takes embeddings ``[n, d]`` and presence ``[n, 2]`` to ``[n, width]``.
    """

    mapping: Callable[[Tensor, Tensor], Tensor]
    items: ItemEmbeddings
    width: int
    device: torch.device | str

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, width)``."""
        return len(self.items.vectors), self.width

    def __getitem__(self, rows: slice) -> Tensor:
        """These rows, float32, shape ``[n, width]``."""
        with torch.inference_mode():
            vectors = torch.from_numpy(np.array(self.items.vectors[rows], dtype=np.float32)).to(self.device)
            present = torch.from_numpy(np.array(self.items.present[rows])).to(self.device)
            return self.mapping(vectors, present).float()


def index_catalogue(
    model: Generator, catalogue: Catalogue, device: torch.device | str, config: IndexConfig | None = None
) -> CategoryIndex:
    """Builds a category index of the catalogue in the generator's retrieval space; moves the generator to the device.

    ``config=None`` is the flat, exact index, for training, where the map and with it the index change every epoch.
    """
    vectors = retrieval_vectors(model, catalogue.require_embeddings, device)
    return CategoryIndex(
        vectors, catalogue.categories, device, num_categories=len(catalogue.category_names), config=config
    )


def retrieval_vectors(model: Generator, items: ItemEmbeddings, device: torch.device | str) -> MappedVectors:
    """Items in the generator's retrieval space; moves the generator to the device."""
    mapped = model.to(device).retrieval_map
    width = items.dim if mapped is None else mapped.out_features
    return MappedVectors(lambda vectors, _: model.retrieval_vectors(vectors), items, width, device)
