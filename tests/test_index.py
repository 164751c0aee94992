"""The category index against brute force."""

import numpy as np
import pytest
import torch

from outfits.index.category_index import CategoryIndex, unit_rows

ITEMS, WIDTH, CATEGORIES = 120, 12, 7


def unit(rows):
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def brute_force(vectors, categories, query, allowed, n):
    """Nearest positions by cosine in float64 among allowed categories, ties by position."""
    cosine = unit(vectors.astype(np.float64)) @ unit(query.astype(np.float64))
    inside = [item for item in range(len(vectors)) if categories[item] in allowed]
    return sorted(inside, key=lambda item: (-np.round(cosine[item], 9), item))[:n], cosine


@pytest.fixture
def catalogue():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    categories = rng.integers(CATEGORIES - 1, size=ITEMS)  # the last category stays empty
    categories[:3] = CATEGORIES - 2
    return vectors, categories


@pytest.fixture
def index(catalogue):
    return CategoryIndex(*catalogue, num_categories=CATEGORIES)


def test_search_finds_the_nearest_of_every_category(catalogue, index):
    vectors, categories = catalogue
    queries = np.random.default_rng(4).normal(size=(9, WIDTH)).astype(np.float32)
    similarity, ids = index.search(queries, 5)
    for row, query in enumerate(queries):
        for category in range(CATEGORIES):
            expected, cosine = brute_force(vectors, categories, query, {category}, 5)
            found = ids[row, category]
            assert found[: len(expected)].tolist() == expected
            np.testing.assert_allclose(similarity[row, category, : len(expected)], cosine[expected], atol=1e-6)


def test_a_category_with_fewer_items_than_asked_for_is_padded(catalogue, index):
    _, categories = catalogue
    similarity, ids = index.search(np.ones((2, WIDTH), dtype=np.float32), 60)
    for category in range(CATEGORIES):
        size = (categories == category).sum()
        assert sorted(ids[0, category, :size]) == np.flatnonzero(categories == category).tolist()
        assert (ids[:, category, size:] == -1).all()
        assert np.isneginf(similarity[:, category, size:]).all()
    assert index.empty_categories.tolist() == [False] * (CATEGORIES - 1) + [True]


def test_nearest_merges_the_allowed_categories(catalogue, index):
    vectors, categories = catalogue
    rng = np.random.default_rng(5)
    queries = rng.normal(size=(11, WIDTH)).astype(np.float32)
    forbidden = rng.random((11, CATEGORIES)) < 0.4
    _, ids = index.nearest(queries, 8, forbidden)
    for row, query in enumerate(queries):
        expected, _ = brute_force(vectors, categories, query, set(np.flatnonzero(~forbidden[row])), 8)
        assert ids[row].tolist() == expected + [-1] * (8 - len(expected))


def test_nearest_pads_when_everything_is_forbidden(index):
    similarity, ids = index.nearest(np.ones((1, WIDTH)), 3, np.ones((1, CATEGORIES), dtype=bool))
    assert ids.tolist() == [[-1, -1, -1]]
    assert np.isneginf(similarity).all()


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_ties_go_to_the_smaller_position_even_across_the_cut(n):
    rng = np.random.default_rng(6)
    kinds = np.eye(4, dtype=np.float32)
    vectors = kinds[rng.integers(4, size=200)]
    categories = rng.integers(2, size=200)
    index = CategoryIndex(vectors, categories)
    queries = np.array([[3, 2, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=np.float32)
    _, ids = index.search(queries, n)
    _, merged = index.nearest(queries, n)
    for row, query in enumerate(queries):
        for category in range(2):
            assert ids[row, category].tolist() == brute_force(vectors, categories, query, {category}, n)[0]
        assert merged[row].tolist() == brute_force(vectors, categories, query, {0, 1}, n)[0]


def test_a_query_gives_the_same_bits_in_every_batch(index):
    queries = np.random.default_rng(7).normal(size=(70, WIDTH)).astype(np.float32)
    similarity, ids = index.search(queries, 4)
    alone = [index.search(queries[row : row + 1], 4) for row in range(70)]
    assert all((alone[row][0][0] == similarity[row]).all() for row in range(70))
    assert all((alone[row][1][0] == ids[row]).all() for row in range(70))


def test_rounding_of_faiss_does_not_decide_who_is_found():
    """Cosines nearer to each other than FAISS can tell: what counts is their value computed pair by pair."""
    rng = np.random.default_rng(11)
    vectors = (rng.normal(size=64) + 2e-7 * rng.normal(size=(500, 64))).astype(np.float32)
    queries = np.random.default_rng(12).normal(size=(50, 64)).astype(np.float32)
    _, ids = CategoryIndex(vectors, np.zeros(500, dtype=np.int64)).search(queries, 3)
    pairs = np.broadcast_to(unit_rows(vectors), (50, 500, 64)).copy()
    cosine = np.einsum("qr,qpr->qp", unit_rows(queries), pairs)
    assert ids[:, 0].tolist() == np.argsort(-cosine, axis=1, kind="stable")[:, :3].tolist()


@pytest.mark.parametrize("chunk", [1, 5, 64, 200])
def test_the_chunk_does_not_change_what_is_found(catalogue, index, chunk):
    queries = np.random.default_rng(8).normal(size=(33, WIDTH)).astype(np.float32)
    other = CategoryIndex(*catalogue, num_categories=CATEGORIES, chunk=chunk)
    assert (other.search(queries, 4)[1] == index.search(queries, 4)[1]).all()


def test_vectors_and_queries_are_normalised_and_the_callers_stay_as_they_are(catalogue):
    vectors, categories = catalogue
    scale = np.random.default_rng(9).uniform(0.1, 9, size=(ITEMS, 1)).astype(np.float32)
    before = (vectors * scale).copy()
    scaled = CategoryIndex(before, categories)
    queries = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))
    assert (scaled.search(queries * 7, 3)[1] == CategoryIndex(vectors, categories).search(queries, 3)[1]).all()
    np.testing.assert_array_equal(before, vectors * scale)


def test_a_zero_vector_has_similarity_zero(catalogue):
    vectors, categories = catalogue
    vectors = vectors.copy()
    vectors[0] = 0
    similarity, ids = CategoryIndex(vectors, categories).search(np.ones((1, WIDTH)), ITEMS)
    assert similarity[ids == 0].tolist() == [0.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(index, bad):
    queries = np.ones((3, WIDTH), dtype=np.float32)
    queries[1, 2] = bad
    with pytest.raises(ValueError, match="vector 1 is not finite"):
        index.search(queries, 1)


def test_wrong_shapes_are_refused(catalogue, index):
    vectors, categories = catalogue
    with pytest.raises(ValueError, match="width"):
        index.search(np.ones((1, WIDTH + 1)), 1)
    with pytest.raises(ValueError, match="as many categories"):
        CategoryIndex(vectors, categories[:-1])
    with pytest.raises(ValueError, match="categories must lie"):
        CategoryIndex(vectors, categories, num_categories=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("n", [1, 5, 60])
def test_the_gpu_finds_what_the_cpu_finds(catalogue, index, n):
    queries = np.random.default_rng(10).normal(size=(70, WIDTH)).astype(np.float32)
    on_gpu = CategoryIndex(*catalogue, "cuda", num_categories=CATEGORIES)
    for gpu, cpu in zip(on_gpu.search(queries, n), index.search(queries, n), strict=True):
        np.testing.assert_allclose(gpu, cpu, atol=1e-5)
