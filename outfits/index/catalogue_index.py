"""The catalogue in a model's retrieval space."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.index.category_index import CategoryIndex
from outfits.index.hubness import HubnessIndex
from outfits.index.item_index import ItemIndex
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
) -> ItemIndex:
    """Indexes a catalogue in the generator's retrieval space; moves the generator to the device.

    ``config=None`` is the flat, exact index without correction of hubs, for training, where the map and with it the
    index change every epoch.
    """
    categories = len(catalogue.category_names)
    return index_items(model, catalogue.require_embeddings, catalogue.categories, categories, device, config)


def index_items(
    model: Generator,
    items: ItemEmbeddings,
    categories: NDArray[np.integer],
    num_categories: int,
    device: torch.device | str,
    config: IndexConfig | None = None,
) -> ItemIndex:
    """Indexes items of these categories ``[N]`` as :func:`index_catalogue` does."""
    model.to(device)
    vectors = MappedVectors(model.retrieval_vectors, items, model.latent_dim, device)
    if config is None or not config.hubness or not len(model.references):
        return CategoryIndex(vectors, categories, device, num_categories=num_categories, config=config)
    return HubnessIndex(
        vectors, categories, device, references=model.references, num_categories=num_categories, config=config
    )
