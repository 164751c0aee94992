"""The catalogue as the generator sees it."""

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
    """A catalogue's vectors in the generator's retrieval space, mapped when they are read.

    Attributes:
        model: the generator, on ``device``.
        items: embeddings of ``N`` items; may be memory-mapped.
        device: where the map runs.
    """

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
        """Some of them, float32, shape ``[n, r]``."""
        with torch.inference_mode():
            vectors = torch.from_numpy(np.array(self.items.vectors[rows], dtype=np.float32)).to(self.device)
            return self.model.retrieval_vectors(vectors).float()


def index_catalogue(
    model: Generator, catalogue: Catalogue, device: torch.device | str, config: IndexConfig | None = None
) -> CategoryIndex:
    """The catalogue in the generator's retrieval space, searched category by category, on the given device.

    Args:
        model: the generator; it is moved to ``device``.
        catalogue: items with embeddings.
        device: where to search.
        config: kind of index; None: flat, the exact one, as while training, where the map, and with it the index,
            changes after every epoch.
    """
    vectors = RetrievalVectors(model.to(device), catalogue.require_embeddings, device)
    return CategoryIndex(
        vectors, catalogue.categories, device, num_categories=len(catalogue.category_names), config=config
    )
