"""The catalogue as the generator sees it."""

import numpy as np
import torch

from outfits.data.catalogue import Catalogue
from outfits.index.category_index import CategoryIndex
from outfits.models.generator import Generator


def index_catalogue(model: Generator, catalogue: Catalogue, device: torch.device | str) -> CategoryIndex:
    """The catalogue in the generator's retrieval space, one exact sub-index per category, on the given device."""
    model = model.to(device)
    with torch.inference_mode():
        vectors = torch.from_numpy(np.array(catalogue.features.vectors)).to(device)
        mapped = model.retrieval_vectors(vectors).float()
    return CategoryIndex(mapped, catalogue.categories, device, num_categories=len(catalogue.category_names))
