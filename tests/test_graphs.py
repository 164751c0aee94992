"""Outfit graphs and the order in which samples are seen."""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler
from torch_geometric.data import Batch

from outfits.graphs.completion_graph import (
    CompletionGraphs,
    GraphTargets,
    TrainingGraphs,
    complete_edges,
    completion_graph,
)
from outfits.graphs.sampling import FixedBatches, SeededShuffle
from tests.test_generator_model import CATEGORIES, TEXT_DIM, a_catalogue


def some_graphs(steps: int = 2, conditions: bool = False) -> CompletionGraphs:
    rng = np.random.default_rng(0)
    targets = GraphTargets(
        chosen=rng.integers(30, size=(3, steps)).astype(np.int32),
        candidates=rng.integers(30, size=(3, steps, 4)).astype(np.int32),
        candidate_scores=rng.random((3, steps, 4)).astype(np.float32),
        scores=rng.random(3),
    )
    given = [np.array(items, dtype=np.int32) for items in ([1, 2, 3], [4, 5], [6, 7, 8, 9])]
    removed = np.array([[10, 11], [12, 13], [14, 15]], dtype=np.int32)
    arrays = (rng.random((3, steps, CATEGORIES)) < 0.5, rng.normal(size=(3, steps, TEXT_DIM)).astype(np.float32))
    return CompletionGraphs(a_catalogue(), given, removed, targets, arrays if conditions else None)


def test_an_outfit_graph_is_complete_directed_and_without_loops() -> None:
    edges = complete_edges(4)
    assert {tuple(edge) for edge in edges.T.tolist()} == {(a, b) for a in range(4) for b in range(4) if a != b}


def test_catalogue_ids_survive_batching() -> None:
    graphs = some_graphs()
    batch = Batch.from_data_list([graphs[0], graphs[1], graphs[2]])
    assert [sorted(graph.item_id.tolist()) for graph in batch.to_data_list()] == [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
    assert batch.removed_id.tolist() == [[10, 11], [12, 13], [14, 15]]
    assert batch.task_id.tolist() == [0, 1, 2]
    assert graphs.targets is not None
    assert np.array_equal(batch.target_id.numpy(), graphs.targets.chosen)
    assert np.array_equal(batch.candidate_id.numpy(), graphs.targets.candidates)
    assert batch.candidate_score.shape == (3, 2, 4)
    torch.testing.assert_close(
        batch.x, torch.from_numpy(a_catalogue().require_embeddings.vectors[batch.item_id.numpy()])
    )


def test_the_order_of_given_items_does_not_change_a_bit_of_their_graph() -> None:
    catalogue = a_catalogue()
    vectors, present = catalogue.require_embeddings.vectors.copy(), catalogue.require_embeddings.present
    vectors[4] = vectors[11]  # equal but for the category
    graphs = []
    for order in ([3, 11, 4, 20], [20, 4, 3, 11], [4, 20, 11, 3]):
        given = np.array(order)
        graph = completion_graph(vectors[given], present[given], catalogue.categories[given], item_ids=given)
        graphs.append(graph)
    for graph in graphs[1:]:
        for name in ("x", "present", "category", "item_id"):
            assert torch.equal(graph[name], graphs[0][name]), name


def test_conditions_and_targets_survive_batching() -> None:
    graphs = some_graphs(conditions=True)
    batch = Batch.from_data_list([graphs[task] for task in range(3)])
    assert graphs.conditions is not None
    assert np.array_equal(batch.condition_categories.numpy(), graphs.conditions[0])
    assert np.array_equal(batch.condition_texts.numpy(), graphs.conditions[1])


def test_tasks_with_and_without_conditions_make_one_batch() -> None:
    free, conditions = some_graphs(steps=3), some_graphs(conditions=True)
    graphs = TrainingGraphs([free, conditions], 3)
    assert len(graphs) == 6
    batch = Batch.from_data_list([graphs[0, task] for task in range(6)])
    assert batch.task_id.tolist() == [0, 1, 2, 0, 1, 2]
    assert free.targets is not None
    assert conditions.targets is not None
    assert conditions.conditions is not None
    assert np.array_equal(batch.target_id[:3].numpy(), free.targets.chosen)
    assert np.array_equal(batch.target_id[3:, :2].numpy(), conditions.targets.chosen)
    assert np.array_equal(batch.candidate_id[3:, :2].numpy(), conditions.targets.candidates)
    assert (batch.target_id[3:, 2] == -1).all()
    assert (batch.candidate_id[3:, 2] == -1).all()
    assert batch.candidate_score.shape == (6, 3, 4)
    for task in range(3):
        assert batch.condition_categories[task].all()
        assert not batch.condition_texts[task].any()
        assert np.array_equal(batch.condition_categories[3 + task, :2].numpy(), conditions.conditions[0][task])
        assert np.array_equal(batch.condition_texts[3 + task, :2].numpy(), conditions.conditions[1][task])
    assert batch.condition_categories[3:, 2].all()
    assert not batch.condition_texts[3:, 2].any()


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
def test_evaluation_batches_are_the_same_on_any_number_of_ranks(world_size: int) -> None:
    shares = [FixedBatches(11, 3, rank, world_size) for rank in range(world_size)]
    batches = [tuple(batch) for share in shares for batch in BatchSampler(share, 3, drop_last=False)]
    assert sorted(batches) == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10)]


def test_prefixes_give_first_targets_and_ask_for_the_others() -> None:
    tasks = some_graphs(steps=3, conditions=True)
    assert tasks.targets is not None
    chosen = tasks.targets.chosen
    graphs, seen = TrainingGraphs([tasks], 3, prefix_share=1.0, seed=5), set()
    for epoch in range(20):
        for task in range(len(tasks)):
            plain, data = tasks.graph(task), graphs[epoch, task]
            prefix = len(data.item_id) - len(plain.item_id)
            seen.add(prefix)
            assert sorted(data.item_id.tolist()) == sorted([*plain.item_id.tolist(), *chosen[task, :prefix].tolist()])
            assert data.target_id[0].tolist() == [*chosen[task, prefix:].tolist(), *[-1] * prefix]
            for name in ("candidate_id", "candidate_score", "condition_categories", "condition_texts"):
                assert torch.equal(data[name][0, : 3 - prefix], plain[name][0, prefix:]), name
    assert seen == {1, 2}


def test_prefixes_depend_on_seed_epoch_and_task_alone() -> None:
    def sizes(share: float, seed: int, epoch: int) -> list[int]:
        graphs = TrainingGraphs([some_graphs(steps=3)] * 20, 3, share, seed)
        return [len(graphs[epoch, task].item_id) for task in reversed(range(len(graphs)))]

    assert sizes(0.5, 0, 0) == sizes(0.5, 0, 0)
    assert sizes(0.5, 0, 0) != sizes(0.5, 0, 1)
    assert sizes(0.5, 0, 0) != sizes(0.5, 1, 0)
    given = np.array(sizes(0.0, 0, 0))
    assert np.mean(np.array(sizes(0.5, 0, 0)) > given) == pytest.approx(0.5, abs=0.2)
