"""The index that corrects for items near to everything: its values by their definition."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from outfits.config.schema.index import IndexConfig
from outfits.config.schema.model import GeneratorArchitecture
from outfits.index.catalogue_index import index_catalogue
from outfits.index.category_index import CategoryIndex
from outfits.index.hubness import NEIGHBOURS, HubnessIndex
from outfits.models.frozen import load_generator
from outfits.models.generator import Generator
from outfits.weights import save_network
from tests.test_generator_model import CATEGORIES, IMAGE_DIM, TEXT_DIM, a_catalogue

ITEMS, WIDTH, WEIGHT = 120, 6, 0.4
RNG = np.random.default_rng(0)
VECTORS = (RNG.normal(size=(ITEMS, WIDTH)) + 0.5).astype(np.float32)
OF_ITEMS = RNG.integers(4, size=ITEMS)
REFERENCES = F.normalize(torch.from_numpy(RNG.normal(size=(80, WIDTH)) + 1).float(), dim=-1)
QUERIES = (RNG.normal(size=(5, WIDTH)) + 1).astype(np.float32)


def an_index(weight: float = WEIGHT) -> HubnessIndex:
    config = IndexConfig(hubness=weight)
    return HubnessIndex(VECTORS, OF_ITEMS, "cpu", references=REFERENCES, num_categories=5, config=config)


def values(weight: float = WEIGHT) -> np.ndarray:
    """Every item's cosine to every query less its mean cosine to the nearest references, written out."""
    items = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    queries = QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)
    near = np.sort(items @ REFERENCES.numpy().T, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    return np.asarray(queries @ items.T - weight * near)


def test_values_are_cosines_less_the_correction() -> None:
    np.testing.assert_allclose(an_index().cosines(QUERIES), values(), atol=1e-5)


@pytest.mark.parametrize("n", [1, 7])
def test_search_finds_the_largest_values_of_every_category(n: int) -> None:
    found, ids = an_index().search(QUERIES, n)
    expected = values()
    for category in range(4):
        members = np.flatnonzero(category == OF_ITEMS)
        for row in range(len(QUERIES)):
            best = members[np.argsort(-expected[row, members])][:n]
            assert ids[row, category].tolist() == best.tolist()
            np.testing.assert_allclose(found[row, category], expected[row, best], atol=1e-5)
    assert (ids[:, 4] == -1).all()
    assert an_index().empty_categories.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(("kind", "width"), [("ivf", 8), ("ivf_pq", 8), ("ivf_pq", 16)])
def test_an_approximate_index_corrects_the_items_it_finds(kind: str, width: int) -> None:
    rng = np.random.default_rng(1)
    vectors, references = rng.normal(size=(600, width)).astype(np.float32), F.normalize(torch.randn(60, width), dim=-1)
    one = np.zeros(600, dtype=np.int64)
    both = [
        HubnessIndex(
            vectors, one, "cpu", references=references, num_categories=1, config=IndexConfig(kind=name, min_items=100)
        )
        for name in (kind, "flat")
    ]
    queries = rng.normal(size=(20, width)).astype(np.float32)
    (near, ids), (_, exact) = (index.search(queries, 5) for index in both)
    np.testing.assert_allclose(near[:, 0], np.take_along_axis(both[1].cosines(queries), ids[:, 0], 1), atol=1e-5)
    assert np.mean([np.isin(found, wanted).mean() for found, wanted in zip(ids[:, 0], exact[:, 0], strict=True)]) > 0.6


def test_a_correction_spreads_the_choice_over_more_items() -> None:
    queries = RNG.normal(size=(300, WIDTH)) + 1

    def distinct(weight: float) -> int:
        return len(np.unique(an_index(weight).search(queries.astype(np.float32), 1)[1][:, 0]))

    assert distinct(1.0) > distinct(1e-6)


def test_a_saved_generator_keeps_its_references(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(k_max=2, width=16, layers=1, retrieval_dim=WIDTH)
    generator, items = Generator(architecture, IMAGE_DIM, TEXT_DIM, CATEGORIES).eval(), a_catalogue()
    assert isinstance(index_catalogue(generator, items, "cpu", IndexConfig()), CategoryIndex)
    generator.keep_references(3 * REFERENCES)
    save_network(generator, tmp_path / "generator.safetensors", scorer_sha256="a")
    loaded = load_generator(tmp_path / "generator.safetensors", "a")
    torch.testing.assert_close(loaded.references, REFERENCES)
    assert isinstance(index_catalogue(loaded, items, "cpu", IndexConfig()), HubnessIndex)
    assert isinstance(index_catalogue(loaded, items, "cpu", IndexConfig(hubness=0)), CategoryIndex)
    assert isinstance(index_catalogue(loaded, items, "cpu"), CategoryIndex)
