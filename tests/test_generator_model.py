"""The generator: laws of the joined graph and of message passing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from outfits.config.schema import ModelConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.graphs.completion_graph import complete_edges, completion_graph
from outfits.models.frozen import load_generator, save_generator
from outfits.models.generator import Generator, join_query_nodes

AGGREGATIONS = ModelConfig.__dataclass_fields__["aggregation"].metadata["choices"]
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


def a_batch(outfits: list[list[int]]) -> Batch:
    catalogue = a_catalogue()
    removed = np.array([0, 1], dtype=np.int32)
    return Batch.from_data_list(
        [completion_graph(catalogue, np.array(items, dtype=np.int32), removed, n) for n, items in enumerate(outfits)]
    )


def a_generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    settings = {"k": 2, "width": 16, "layers": 2, "dropout": 0.3, "retrieval_dim": 7, **changes}
    return Generator(IMAGE_DIM, TEXT_DIM, CATEGORIES, **settings).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_order_of_given_items_does_not_change_the_latents(aggregation: str, readout: str) -> None:
    generator = a_generator(aggregation=aggregation, readout=readout)
    torch.testing.assert_close(
        generator(a_batch([[3, 9, 14, 20], [5, 6]])), generator(a_batch([[20, 3, 14, 9], [6, 5]])), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_graphs_of_a_batch_do_not_see_one_another(aggregation: str) -> None:
    generator = a_generator(aggregation=aggregation)
    together = generator(a_batch([[3, 9, 14, 20], [5, 6], [1, 2, 10]]))
    for row, items in enumerate([[3, 9, 14, 20], [5, 6], [1, 2, 10]]):
        torch.testing.assert_close(together[row : row + 1], generator(a_batch([items])), atol=1e-5, rtol=1e-4)


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
    vectors = torch.from_numpy(a_catalogue().features.vectors)
    for retrieval, width in (("map", 7), ("item", IMAGE_DIM + TEXT_DIM)):
        generator = a_generator(retrieval=retrieval, readout=readout)
        assert generator(a_batch([[3, 9, 14], [5, 6]])).shape == (2, 2, width)
        mapped = generator.retrieval_vectors(vectors)
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


def test_a_generator_belongs_to_the_scorer_that_taught_it(tmp_path: Path) -> None:
    generator = a_generator()
    path = tmp_path / "generator.safetensors"
    save_generator(generator, path, "a" * 64)
    batch = a_batch([[3, 9, 14]])
    assert torch.equal(load_generator(path, "a" * 64)(batch), generator(batch))
    with pytest.raises(ArtifactError, match="another scorer"):
        load_generator(path, "b" * 64)
