"""The generator: laws of the joined graph and of message passing."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from outfits.config.schema.model import GRAPH_LAYERS, GeneratorArchitecture
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.graphs.completion_graph import complete_edges, completion_graph
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import load_generator
from outfits.models.generator import Generator, build_generator, canonical_order, join_query_nodes, latents_of
from outfits.weights import save_network

AGGREGATIONS = GeneratorArchitecture.__dataclass_fields__["aggregation"].metadata["choices"]
LAYERS: list[dict[str, str]] = [
    *({"aggregation": name} for name in AGGREGATIONS),
    *({"layer": name} for name in GRAPH_LAYERS if name != "message_passing"),
]
ITEMS, IMAGE_DIM, TEXT_DIM, CATEGORIES = 30, 5, 3, 6


def a_catalogue() -> Catalogue:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ITEMS, IMAGE_DIM + TEXT_DIM)).astype(np.float32)
    embeddings = ItemEmbeddings(vectors, rng.random((ITEMS, 2)) < 0.9, IMAGE_DIM, TEXT_DIM)
    return Catalogue(
        [f"item-{n}" for n in range(ITEMS)],
        (np.arange(ITEMS) % CATEGORIES).astype(np.int32),
        [f"category-{n}" for n in range(CATEGORIES)],
        ["text"] * ITEMS,
        [None] * ITEMS,
        embeddings,
    )


Condition = tuple[list[int], int | None]
"""Allowed categories, none for any, and the seed of a text, None for no text."""


def condition_arrays(conditions: list[Condition]) -> tuple[np.ndarray, np.ndarray]:
    allowed = np.ones((len(conditions), CATEGORIES), dtype=bool)
    texts = np.zeros((len(conditions), TEXT_DIM), dtype=np.float32)
    for row, (categories, seed) in enumerate(conditions):
        if categories:
            allowed[row] = np.isin(np.arange(CATEGORIES), categories)
        if seed is not None:
            text = np.random.default_rng(seed).normal(size=TEXT_DIM)
            texts[row] = text / np.linalg.norm(text)
    return allowed, texts


def a_batch(outfits: list[list[int]], conditions: list[list[Condition]] | None = None) -> Batch:
    catalogue = a_catalogue()
    graphs = []
    for number, outfit in enumerate(outfits):
        items = np.array(outfit)
        graphs.append(
            completion_graph(
                catalogue.require_embeddings.vectors[items],
                catalogue.require_embeddings.present[items],
                catalogue.categories[items],
                conditions=None if conditions is None else condition_arrays(conditions[number]),
                task_id=number,
            )
        )
    return Batch.from_data_list(graphs)


def a_generator(image_dim: int = IMAGE_DIM, text_dim: int = TEXT_DIM, **changes: Any) -> Generator:
    torch.manual_seed(0)
    small: dict[str, Any] = {"k_max": 3, "width": 16, "layers": 2, "dropout": 0.3, "retrieval_dim": 7}
    return Generator(GeneratorArchitecture(**{**small, **changes}), image_dim, text_dim, CATEGORIES).eval()


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_order_of_given_items_does_not_change_the_latents(layer: dict[str, str], readout: str) -> None:
    generator = a_generator(**layer, readout=readout)
    assert torch.equal(generator(a_batch([[3, 9, 14, 20], [5, 6]])), generator(a_batch([[20, 3, 14, 9], [6, 5]])))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_the_network_itself_does_not_heed_the_order_of_nodes(layer: dict[str, str], readout: str) -> None:
    generator = a_generator(**layer, readout=readout)
    batch = a_batch([[3, 9, 14, 20]])
    latents = generator(batch)
    for name in ("x", "present", "category"):
        batch[name] = batch[name][[2, 0, 3, 1]]
    torch.testing.assert_close(generator(batch), latents, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_graphs_of_a_batch_do_not_see_one_another(layer: dict[str, str]) -> None:
    generator = a_generator(**layer)
    outfits = [[3, 9, 14, 20], [5, 6], [1, 2, 10]]
    conditions: list[list[Condition]] = [[([2], 1), ([], None)], [([4], None), ([1], 3)], [([], None), ([], None)]]
    together = generator(a_batch(outfits, conditions))
    for row, items in enumerate(outfits):
        alone = generator(a_batch([items], [conditions[row]]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)


def test_every_given_item_reaches_the_latents() -> None:
    generator = a_generator()
    latents = generator(a_batch([[3, 9, 14]]))
    for changed in ([4, 9, 14], [3, 10, 14], [3, 9, 15]):
        assert not torch.allclose(latents, generator(a_batch([changed])), atol=1e-4)


def test_latents_of_one_outfit_differ() -> None:
    latents = a_generator()(a_batch([[3, 9, 14]]))
    assert not torch.allclose(latents[0, 0], latents[0, 1], atol=1e-3)


@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_latents_live_in_the_retrieval_space(readout: str) -> None:
    items = a_catalogue().require_embeddings
    vectors, present = torch.from_numpy(items.vectors), torch.from_numpy(items.present)
    for retrieval, width in (("map", 7), ("tower", 7), ("item", IMAGE_DIM + TEXT_DIM)):
        generator = a_generator(retrieval=retrieval, readout=readout)
        assert generator(a_batch([[3, 9, 14], [5, 6]])).shape == (2, 3, width)
        mapped = generator.retrieval_vectors(vectors, present)
        torch.testing.assert_close(mapped.norm(dim=-1), torch.ones(ITEMS))
        assert mapped.shape == (ITEMS, width)


def test_joined_graphs_are_complete_and_apart() -> None:
    sizes, k = [3, 2], 2
    edges = torch.cat([complete_edges(3), complete_edges(2) + 3], dim=1)
    graph_of_node = torch.tensor([0, 0, 0, 1, 1])
    joined, graph = join_query_nodes(edges, graph_of_node, len(sizes), k)
    assert graph.tolist() == [0, 0, 0, 1, 1, 0, 0, 1, 1]
    found = {(int(source), int(target)) for source, target in joined.T}
    nodes = range(len(graph))
    expected = {(a, b) for a in nodes for b in nodes if a != b and graph[a] == graph[b]}
    assert found == expected
    assert joined.shape[1] == len(expected)  # no edge twice


@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_each_kind_of_condition_changes_the_latents(readout: str) -> None:
    generator = a_generator(readout=readout)
    conditions: list[list[Condition]] = [
        [([], None), ([], None)],
        [([2], None), ([], None)],
        [([3], None), ([], None)],
        [([2, 3], None), ([], None)],
        [([], 1), ([], None)],
        [([], 2), ([], None)],
        [([2], 1), ([], None)],
        [([2], 1), ([3], None)],
    ]
    latents = generator(a_batch([[0, 7]] * len(conditions), conditions))
    for one in range(len(conditions)):
        for other in range(one):
            assert not torch.allclose(latents[one], latents[other], atol=1e-3), (conditions[one], conditions[other])


@pytest.mark.parametrize("readout", ["queries", "pool"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_any_category_and_an_empty_text_are_no_condition(readout: str, k: int) -> None:
    generator = a_generator(readout=readout)
    outfits = [[3, 9, 14], [5, 6]]
    assert torch.equal(generator(a_batch(outfits), k), generator(a_batch(outfits, [[([], None)] * k] * 2), k))


@pytest.mark.parametrize("readout", ["queries", "pool"])
@pytest.mark.parametrize("retrieval", ["map", "tower", "item"])
def test_one_generator_emits_any_number_of_latents(readout: str, retrieval: str) -> None:
    generator = a_generator(readout=readout, retrieval=retrieval)
    batch = a_batch([[3, 9, 14], [5, 6]])
    assert [generator(batch, k).shape[1] for k in (1, 2, 3)] == [1, 2, 3]
    assert torch.equal(generator(batch), generator(batch, 3))
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"1 to 3 latents, not {k}"):
            generator(batch, k)


@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_the_first_conditions_alone_count_where_fewer_items_are_missing(readout: str) -> None:
    generator = a_generator(readout=readout)
    three = a_batch([[3, 9, 14]], [[([5], 1), ([2], None), ([1], 4)]])
    assert torch.equal(generator(three, 2), generator(a_batch([[3, 9, 14]], [[([5], 1), ([2], None)]])))
    with pytest.raises(ValueError, match="conditions for 1 missing items, not for 2"):
        generator(a_batch([[3, 9, 14]], [[([5], 1)]]), 2)


@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_latent_i_answers_condition_i_in_whatever_order_the_conditions_come(readout: str) -> None:
    generator = a_generator(readout=readout)
    conditions: list[Condition] = [([4], 1), ([], None), ([4], 2)]
    latents = generator(a_batch([[3, 9, 14]], [conditions]))
    for order in permutations(range(3)):
        again = generator(a_batch([[3, 9, 14]], [[conditions[place] for place in order]]))
        assert torch.equal(again, latents[:, list(order)]), order


def test_canonical_order_is_lexicographic_and_stable() -> None:
    rng = np.random.default_rng(0)
    allowed = rng.random((20, 5, 3)) < 0.5
    texts = rng.integers(3, size=(20, 5, 2)).astype(np.float32)
    order = canonical_order(torch.from_numpy(allowed), torch.from_numpy(texts)).numpy()
    for row in range(20):
        rows = [(*allowed[row, condition].tolist(), *texts[row, condition].tolist()) for condition in range(5)]
        assert order[row].tolist() == sorted(range(5), key=rows.__getitem__)


def test_latents_of_graphs_are_those_of_their_batch() -> None:
    generator = a_generator()
    batch = a_batch([[3, 9, 14], [5, 6]])
    latents = latents_of(generator, batch.to_data_list(), 2, "cpu")
    torch.testing.assert_close(latents, generator(batch, 2))
    assert not latents.requires_grad
    with pytest.raises(ArtifactError, match="at most 3 missing items, not 4.*model.k_max=4"):
        latents_of(generator, batch.to_data_list(), 4, "cpu")


def test_without_a_text_encoder_categories_are_conditioned_for_all_the_same() -> None:
    generator = a_generator(image_dim=IMAGE_DIM + TEXT_DIM, text_dim=0)
    batch = a_batch([[3, 9, 14]], [[([4], None), ([], None)]])
    batch.condition_texts = batch.condition_texts[..., :0]
    assert generator(batch).shape == (1, 2, 7)
    assert not torch.allclose(generator(batch), generator(a_batch([[3, 9, 14]]), 2), atol=1e-3)


def test_a_generator_belongs_to_the_scorer_that_taught_it(tmp_path: Path) -> None:
    generator = a_generator()
    path = tmp_path / "generator.safetensors"
    save_network(generator, path, scorer_sha256="a" * 64)
    batch = a_batch([[3, 9, 14]])
    assert torch.equal(load_generator(path, "a" * 64)(batch), generator(batch))
    with pytest.raises(ArtifactError, match="another scorer"):
        load_generator(path, "b" * 64)


def a_scorer(**changes: Any) -> OutfitTransformer:
    torch.manual_seed(1)
    config = ScorerArchitecture(width=8, layers=1, heads=2, feedforward=8, **changes)
    return OutfitTransformer(config, IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)


def a_generator_of(scorer: OutfitTransformer, **changes: Any) -> Generator:
    config = GeneratorArchitecture(**{"k_max": 2, "width": 16, "layers": 1, "retrieval_dim": 7, **changes})
    return build_generator(config, a_catalogue().require_embeddings, CATEGORIES, scorer)


@pytest.mark.parametrize("retrieval", ["map", "tower"])
def test_items_enter_as_tokens_of_the_scorer(retrieval: str) -> None:
    scorer, items = a_scorer(), a_catalogue().require_embeddings
    generator = a_generator_of(scorer, retrieval=retrieval).eval()
    vectors, present = torch.from_numpy(items.vectors), torch.from_numpy(items.present)
    unseen = torch.linalg.svd(scorer.item_tokens.image.weight)[2][-1]  # the scorer maps this direction to zero
    moved = vectors.clone()
    moved[:, :IMAGE_DIM] += 3 * unseen
    torch.testing.assert_close(
        generator.retrieval_vectors(moved, present), generator.retrieval_vectors(vectors, present)
    )
    batch = a_batch([[3, 9, 14], [5, 6]])
    latents = generator(batch, 2)
    batch.x = batch.x.clone()
    batch.x[:, :IMAGE_DIM] += 3 * unseen
    torch.testing.assert_close(generator(batch, 2), latents)


def test_training_leaves_tokens_of_the_scorer_as_they_are() -> None:
    scorer = a_scorer()
    generator = a_generator_of(scorer)
    generator(a_batch([[3, 9, 14]]), 2).square().sum().backward()
    trained = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith("scorer_tokens.projection") for name in trained)
    assert {"scorer_tokens.norm.weight", "item_tokens.weight"} <= trained
    with torch.no_grad():
        generator.scorer_tokens.projection.image.weight.add_(1)  # a copy: S itself does not change
    assert not torch.equal(generator.scorer_tokens.projection.image.weight, scorer.item_tokens.image.weight)


def test_a_saved_generator_keeps_tokens_of_its_scorer(tmp_path: Path) -> None:
    generator = a_generator_of(a_scorer()).eval()
    save_network(generator, tmp_path / "generator.safetensors", scorer_sha256="a")
    loaded = load_generator(tmp_path / "generator.safetensors", "a")
    assert torch.equal(loaded(a_batch([[3, 9]]), 2), generator(a_batch([[3, 9]]), 2))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_an_outfit_of_one_item_has_latents(layer: dict[str, str], readout: str) -> None:
    generator = a_generator(**layer, readout=readout)
    alone, beside = generator(a_batch([[3]])), generator(a_batch([[3], [1, 2, 8]]))
    assert alone.isfinite().all()
    torch.testing.assert_close(beside[:1], alone, atol=1e-5, rtol=1e-5)
