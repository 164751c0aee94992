"""Inverted lists against the flat index, and stores outside the process."""

import faiss
import numpy as np
import pytest
import torch

from outfits.completion.methods import complete
from outfits.config.keys import may_change
from outfits.config.load import load_config, save_config
from outfits.config.schema import Config
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.model import GeneratorArchitecture
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.errors import ConfigError
from outfits.index import category_index, proposals
from outfits.index.catalogue_index import index_catalogue
from outfits.index.category_index import CategoryIndex
from outfits.index.proposals import on_grid
from outfits.models.generator import Generator
from tests.tiny_world import CATEGORIES, World, call, context_with, tasks_of

SIZES, WIDTH = (700, 400, 60), 16
KINDS = ("ivf", "ivf_pq")


def clustered(sizes=SIZES, seed=0):
    """Vectors in clusters, 20 of them per category, in a shuffled order of categories."""
    rng = np.random.default_rng(seed)
    categories = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = rng.normal(size=(len(sizes), 20, WIDTH))
    vectors = centres[categories, rng.integers(20, size=len(categories))]
    return (vectors + 0.4 * rng.normal(size=vectors.shape)).astype(np.float32), categories


def queries_near(vectors, number=40):
    rng = np.random.default_rng(1)
    return vectors[rng.integers(len(vectors), size=number)] + rng.normal(size=(number, WIDTH)).astype(np.float32) / 3


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def catalogue():
    return clustered()


@pytest.fixture(scope="module")
def flat(catalogue):
    return CategoryIndex(*catalogue)


@pytest.fixture(scope="module")
def inverted(catalogue):
    return {kind: CategoryIndex(*catalogue, config=IndexConfig(kind=kind, min_items=100)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 7, 90, 800])
def test_lists_answer_with_as_many_items_as_there_are_and_exact_cosines_in_order(catalogue, inverted, kind, n):
    vectors, categories = catalogue
    queries = queries_near(vectors)
    similarity, ids = inverted[kind].search(queries, n)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T
    for category, size in enumerate(SIZES):
        found, near = ids[:, category, : min(n, size)], similarity[:, category, : min(n, size)]
        assert (categories[found] == category).all()
        assert all(len(set(row)) == min(n, size) for row in found.tolist())
        np.testing.assert_allclose(near, np.take_along_axis(cosine, found, axis=1), atol=1e-6)
        assert (np.diff(near, axis=1) <= 0).all()
        assert (ids[:, category, size:] == -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_with_every_list_searched_the_answer_is_that_of_the_flat_index(catalogue, flat, kind):
    config = IndexConfig(kind=kind, min_items=100, lists=8, probes=8, refine=100)
    everything = CategoryIndex(*catalogue, config=config)
    queries = queries_near(catalogue[0])
    assert same(everything.search(queries, 5), flat.search(queries, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_find_most_but_not_all_of_what_is_near(catalogue, flat, kind):
    queries = queries_near(catalogue[0])
    index = CategoryIndex(*catalogue, config=IndexConfig(kind=kind, min_items=100, lists=40, probes=4))
    exact, found = flat.search(queries, 1)[1][:, :2], index.search(queries, 1)[1][:, :2]
    assert 0.6 < (exact == found).mean() < 1


@pytest.mark.parametrize("kind", KINDS)
def test_small_categories_stay_flat(catalogue, flat, kind):
    queries = queries_near(catalogue[0])
    index = CategoryIndex(*catalogue, config=IndexConfig(kind=kind, min_items=401, lists=40, probes=1))
    exact, found = flat.search(queries, 9)[1], index.search(queries, 9)[1]
    assert (exact[:, 1:] == found[:, 1:]).all()
    assert (exact[:, 0] != found[:, 0]).any()


def test_too_few_items_for_codes_stay_flat():
    vectors, categories = clustered((90, 80))
    index = CategoryIndex(vectors, categories, config=IndexConfig(kind="ivf_pq", min_items=1))
    assert same(index.search(vectors[:5], 3), CategoryIndex(vectors, categories).search(vectors[:5], 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 12])
def test_a_query_gives_the_same_bits_in_every_batch(catalogue, inverted, kind, n):
    queries = queries_near(catalogue[0], 70)
    similarity, ids = inverted[kind].search(queries, n)
    for row in range(70):
        assert same(inverted[kind].search(queries[row : row + 1], n), (similarity[row : row + 1], ids[row : row + 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_built_again_answers_the_same(catalogue, inverted, kind):
    again = CategoryIndex(*catalogue, config=IndexConfig(kind=kind, min_items=100))
    queries = queries_near(catalogue[0])
    assert same(again.search(queries, 5), inverted[kind].search(queries, 5))


@pytest.mark.parametrize("kind", ["flat", *KINDS])
def test_threads_change_nothing(catalogue, flat, inverted, kind, monkeypatch):
    index = {"flat": flat, **inverted}[kind]
    queries = queries_near(catalogue[0])
    before = index.search(queries, 6)
    monkeypatch.setattr(category_index, "PARALLEL_PRODUCTS", 1)
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(3)
        assert same(index.search(queries, 6), before)
        faiss.omp_set_num_threads(2)
        assert same(index.search(queries[:1], 6), (before[0][:1], before[1][:1]))
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(threads)


def test_cosines_compared_in_parts_are_the_same(catalogue, flat, monkeypatch):
    queries = queries_near(catalogue[0])
    before = flat.search(queries, 6)
    monkeypatch.setattr(category_index, "GATHERED", 1)
    assert same(flat.search(queries, 6), before)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_and_zero_vectors_can_be_indexed(kind):
    vectors = np.ones((600, WIDTH), dtype=np.float32)
    vectors[5] = 0
    config = IndexConfig(kind=kind, min_items=1, lists=10, probes=1)
    similarity, ids = CategoryIndex(vectors, np.zeros(600, dtype=np.int64), config=config).search(vectors[:2], 600)
    assert sorted(ids[0, 0].tolist()) == list(range(600))
    assert ids[0, 0, -1] == 5
    assert similarity[0, 0, -1] == 0


@pytest.mark.parametrize("width", [9, 128, 512])
def test_products_of_vectors_on_the_grid_are_exact(width):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, width))
    rounded = on_grid((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
    exact = rounded.astype(np.float64) @ rounded.T.astype(np.float64)
    assert (rounded @ rounded.T == exact).all()
    assert (rounded[:3] @ rounded.T == exact[:3]).all()
    assert np.abs(exact - (rounded[:, ::-1] @ rounded[:, ::-1].T)).max() == 0


def test_cosines_are_of_the_whole_catalogue_in_its_order(catalogue, flat, inverted):
    vectors, _ = catalogue
    queries = queries_near(vectors, 3)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T
    np.testing.assert_allclose(flat.cosines(queries), expected, atol=1e-6)
    np.testing.assert_array_equal(inverted["ivf_pq"].cosines(queries), flat.cosines(queries))
    np.testing.assert_allclose(flat.vectors.numpy(), unit, atol=1e-6)


@pytest.mark.parametrize("retrieval", ["map", "tower", "item"])
def test_a_catalogue_is_mapped_block_by_block(retrieval, monkeypatch):
    rng = np.random.default_rng(3)
    vectors, names = rng.normal(size=(50, 8)).astype(np.float32), ("a", "b", "c")
    features = ItemEmbeddings(vectors, np.ones((50, 2), dtype=np.bool_), 5, 3)
    ids, nothing = [str(item) for item in range(50)], [""] * 50
    items = Catalogue(ids, rng.integers(2, size=50).astype(np.int32), names, nothing, [None] * 50, features)
    torch.manual_seed(0)
    model = Generator(
        GeneratorArchitecture(k_max=2, width=16, layers=1, retrieval=retrieval, retrieval_dim=6), 5, 3, 3
    ).eval()
    monkeypatch.setattr(category_index, "BLOCK", 7)
    index = index_catalogue(model, items, "cpu")
    with torch.no_grad():
        expected = model.retrieval_vectors(torch.from_numpy(vectors), torch.from_numpy(features.present))
    torch.testing.assert_close(index.vectors, expected)
    assert index.num_categories == 3
    assert index.empty_categories.tolist() == [False, False, True]


def test_a_vector_that_is_not_finite_is_named_whatever_block_it_stands_in(monkeypatch):
    monkeypatch.setattr(category_index, "BLOCK", 4)
    vectors = np.ones((10, 3), dtype=np.float32)
    vectors[6, 1] = np.nan
    with pytest.raises(ValueError, match="vector 6 is not finite"):
        CategoryIndex(vectors, np.zeros(10, dtype=np.int64))


class Store:
    """A vector store outside the process, as far as a test has one: nothing but the members of the protocol."""

    def __init__(self, index):
        self._index = index
        self.categories, self.num_categories = index.categories, index.num_categories
        self.empty_categories = index.empty_categories

    def __len__(self):
        return len(self._index)

    def search(self, queries, n):
        return self._index.search(queries, n)

    def cosines(self, queries):
        return self._index.cosines(queries)


@pytest.mark.parametrize("method", ["generator", "generator_rerank", "generator_beam"])
def test_a_store_outside_the_process_can_stand_in_for_the_index(method):
    world = World()
    own = complete(call(method), tasks_of(), context_with(world))
    stored = complete(call(method), tasks_of(), context_with(world, index=Store(world.index)))
    assert np.array_equal(own.chosen, stored.chosen)
    assert np.array_equal(own.removed_ranks, stored.removed_ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_completions_from_inverted_lists_keep_the_rule(kind):
    world = World()
    config = IndexConfig(kind=kind, min_items=1, lists=4, probes=1)
    index = CategoryIndex(world.vectors, world.categories, num_categories=CATEGORIES, config=config)
    tasks = tasks_of()
    chosen = complete(call("generator"), tasks, context_with(world, index=index)).chosen
    for given, added in zip(tasks.given, chosen, strict=True):
        taken = set(world.categories[given])
        assert len({*world.categories[added]} - taken) == tasks.k


def test_a_code_width_that_does_not_divide_the_vectors_is_refused(catalogue):
    with pytest.raises(
        ConfigError, match=r"index.pq_bytes: 3 does not divide the latents' width 16; 1, 2, 4, 8, 16 do"
    ):
        CategoryIndex(*catalogue, config=IndexConfig(kind="ivf_pq", min_items=100, pq_bytes=3))
    CategoryIndex(*catalogue, config=IndexConfig(kind="ivf_pq", min_items=100, pq_bytes=8))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("index.kind=ivf index.lists=8 index.probes=9", "index.probes: 9 is more than index.lists=8; lower it"),
        (
            "index.kind=ivf_pq index.pq_bytes=12 model.retrieval_dim=64",
            "index.pq_bytes: 12 does not divide model.retrieval_dim=64; 1, 2, 4, 8, 16, 32, 64 do",
        ),
        ("index.kind=hnsw", "index.kind: 'hnsw' is not one of flat, ivf, ivf_pq"),
    ],
)
def test_conflicts_of_the_index_are_found(arguments, error):
    with pytest.raises(ConfigError) as caught:
        load_config(arguments.split())
    (line,) = caught.value.errors
    assert line.startswith(error)


def test_settings_of_another_index_are_no_conflict():
    assert load_config(["index.kind=flat", "index.lists=8", "index.probes=9"])


def test_the_kind_may_change_when_a_finished_run_is_evaluated(tmp_path):
    save_config(Config(), tmp_path / "config.yaml")
    assert load_config([f"run={tmp_path}", "index.kind=ivf", "index.probes=4"], "evaluate").index == IndexConfig(
        kind="ivf", probes=4
    )
    assert not may_change("index.kind", "train")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_lists_on_a_gpu_find_what_they_find_on_the_cpu(catalogue, inverted, kind):
    queries = queries_near(catalogue[0])
    on_gpu = CategoryIndex(*catalogue, "cuda", config=IndexConfig(kind=kind, min_items=100))
    found, expected = on_gpu.search(queries, 5)[1], inverted[kind].search(queries, 5)[1]
    assert (found == expected).mean() > 0.95
    assert proposals.gpu_resources() is proposals.gpu_resources()
