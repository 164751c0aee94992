"""The catalogue in the generator's retrieval space."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.index.category_index import CategoryIndex
from outfits.models.generator import Generator


@dataclass(frozen=True)
class RetrievalVectors:
    """A catalogue's embeddings in the generator's retrieval space, mapped on the device when they are read."""

    model: Generator
    items: ItemEmbeddings
    device: torch.device | str

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, r)``."""
        mapped = self.model.retrieval_map
        width = self.items.vectors.shape[1] if mapped is None else mapped.out_features
        return len(self.items.vectors), width

    def __getitem__(self, rows: slice) -> Tensor:
        """These rows, float32, shape ``[n, r]``."""
        with torch.inference_mode():
            vectors = torch.from_numpy(np.array(self.items.vectors[rows], dtype=np.float32)).to(self.device)
            return self.model.retrieval_vectors(vectors).float()


def index_catalogue(
    model: Generator, catalogue: Catalogue, device: torch.device | str, config: IndexConfig | None = None
) -> CategoryIndex:
    """Builds a category index of the catalogue in the generator's retrieval space; moves the generator to the device.

    ``config=None`` is the flat, exact index, for training, where the map and with it the index change every epoch.
    """
    vectors = RetrievalVectors(model.to(device), catalogue.require_embeddings, device)
    return CategoryIndex(
        vectors, catalogue.categories, device, num_categories=len(catalogue.category_names), config=config
    )
