"""Outfit graphs and the order in which samples are seen."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from datamodules.base import FixedBatches
from outfits.graphs.completion_graph import CompletionGraphs, GraphTargets, complete_edges
from outfits.graphs.sampling import RankShare, SeededShuffle
from tests.test_generator_model import a_catalogue


def some_graphs() -> CompletionGraphs:
    rng = np.random.default_rng(0)
    targets = GraphTargets(
        chosen=rng.integers(30, size=(3, 2)).astype(np.int32),
        candidates=rng.integers(30, size=(3, 2, 4)).astype(np.int32),
        candidate_scores=rng.random((3, 2, 4)).astype(np.float32),
        scores=rng.random(3),
    )
    given = [np.array(items, dtype=np.int32) for items in ([1, 2, 3], [4, 5], [6, 7, 8, 9])]
    return CompletionGraphs(a_catalogue(), given, np.array([[10, 11], [12, 13], [14, 15]], dtype=np.int32), targets)


def test_an_outfit_graph_is_complete_directed_and_without_loops() -> None:
    edges = complete_edges(4)
    assert {tuple(edge) for edge in edges.T.tolist()} == {(a, b) for a in range(4) for b in range(4) if a != b}


def test_catalogue_ids_survive_batching() -> None:
    graphs = some_graphs()
    batch = Batch.from_data_list([graphs[0], graphs[1], graphs[2]])
    assert batch.item_id.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert batch.removed_id.tolist() == [[10, 11], [12, 13], [14, 15]]
    assert batch.task_id.tolist() == [0, 1, 2]
    assert graphs.targets is not None
    assert np.array_equal(batch.target_id.numpy(), graphs.targets.chosen)
    assert np.array_equal(batch.candidate_id.numpy(), graphs.targets.candidates)
    assert batch.candidate_score.shape == (3, 2, 4)
    torch.testing.assert_close(batch.x, torch.from_numpy(a_catalogue().features.vectors[batch.item_id.numpy()]))


def test_a_shuffled_epoch_is_a_permutation_that_seed_and_epoch_decide() -> None:
    sampler = SeededShuffle(10, seed=3)
    first = list(sampler)
    assert sorted(position for _, position in first) == list(range(10))
    assert first == list(SeededShuffle(10, seed=3))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in second} == {1}
    assert [position for _, position in second] != [position for _, position in first]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_an_epoch_without_overlap_and_in_equal_parts(world_size: int) -> None:
    shares = [[position for _, position in SeededShuffle(11, 0, rank, world_size)] for rank in range(world_size)]
    assert {len(share) for share in shares} == {11 // world_size}
    seen = [position for share in shares for position in share]
    assert len(seen) == len(set(seen)) == 11 - 11 % world_size


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_neither_repeats_nor_loses_a_sample(world_size: int) -> None:
    seen = [position for rank in range(world_size) for position in RankShare(11, rank, world_size)]
    assert sorted(seen) == list(range(11))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_batches_are_the_same_on_any_number_of_ranks(world_size: int) -> None:
    batches = [tuple(batch) for rank in range(world_size) for batch in FixedBatches(11, 3, rank, world_size)]
    assert sorted(batches) == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10)]
