"""The catalogue in a model's retrieval space."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.index.build import build_index
from outfits.index.hubness import HubnessIndex
from outfits.index.item_index import ItemIndex
from outfits.models.generator import Generator
from outfits.weights import weights_digest

LOOKED_AT = 4096  # embeddings whose content names a table, beside their key


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
    name = _table_name(model, items, categories, config) if config is not None and config.kind == "lance" else ""
    if config is None or not config.hubness or not len(model.references):
        return build_index(vectors, categories, device, num_categories=num_categories, config=config, name=name)
    return HubnessIndex(
        vectors,
        categories,
        device,
        references=model.references,
        num_categories=num_categories,
        config=config,
        name=name,
    )


def _table_name(model: Generator, items: ItemEmbeddings, categories: NDArray[np.integer], config: IndexConfig) -> str:
    """Name of the table of these items in the model's space: equal for equal weights, items and settings."""
    from outfits.index.lance_index import table_name

    # a key tells what embeddings were made of; without one, and as a second look, their content does
    step = max(1, len(items.vectors) // LOOKED_AT) if items.key else 1
    settings = [config.hubness, config.lists, config.pq_bytes, config.min_items]
    return table_name(
        weights_digest(model), items.key, repr(settings), np.asarray(categories), np.array(items.vectors[::step])
    )
