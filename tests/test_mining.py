"""Mined targets against plain loops over a tiny catalogue."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from outfits.config.schema.targets import TargetsConfig
from outfits.errors import DataError
from outfits.mining.search import condition_tasks, mining_work
from outfits.mining.targets import TargetStore
from outfits.models.similarity import item_similarity
from tests.tiny_world import GIVEN, REMOVED, World, tasks_of

KEPT, ALPHA = 5, 0.3


@pytest.fixture(scope="module")
def world():
    return World()


def mined(world, catalogue, tasks, folder):
    config = TargetsConfig(candidates=KEPT, candidate_block=11)
    store = TargetStore(folder, {}, tasks, shard_size=3, candidates_kept=KEPT)
    mine = mining_work(store, world.module, catalogue, config)(torch.device("cpu"))
    for shard in store.pending():
        mine(shard)
    return store.load()


def greedy_by_hand(world, given, conditions, text_of, k):
    """Selections ``(item, condition)`` and the ranked candidates of each step, by scoring everything one by one."""
    selected, steps = [], []
    for _ in range(k):
        outfit = [*given, *(item for item, _ in selected)]
        found = []
        for condition in set(range(k)) - {condition for _, condition in selected}:
            for item in world.allowed(outfit):
                if conditions is None or world.categories[item] == conditions[condition]:
                    value = float(expit(world.logit([*outfit, item])))
                    if text_of is not None:
                        value = ALPHA * value + (1 - ALPHA) * text_of(item, condition)
                    found.append((value, item, condition))
        found.sort(key=lambda row: (-row[0], row[1], row[2]))
        _, item, condition = found[0]
        steps.append([(item, value) for value, item, other in found if other == condition][:KEPT])
        selected.append((item, condition))
    return selected, steps


@pytest.mark.parametrize("kind", ["free", "categories", "categories_texts"])
def test_mined_targets_are_those_of_a_plain_loop(world, tmp_path, kind):
    catalogue = world.catalogue
    tasks = tasks_of(GIVEN[:4], REMOVED[:4])
    tasks = tasks.asking_for(3) if kind == "free" else condition_tasks(tasks, kind, catalogue, ALPHA)
    k = 3 if kind == "free" else 2
    targets = mined(world, catalogue, tasks, tmp_path)
    graphs, conditions = targets.graph_targets(), targets.graph_conditions()
    similarity = item_similarity(world.features, world.features, "text")
    for row, given in enumerate(tasks.given):
        removed = tasks.removed[row]
        wanted = None if kind == "free" else world.categories[removed]

        def text_of(item, condition, removed=removed):
            return similarity[removed[condition], item] if world.present[removed[condition], 1] else 0.0

        has_text = kind == "categories_texts" and world.present[removed, 1].any()
        selected, steps = greedy_by_hand(world, given, wanted, text_of if has_text else None, k)
        assert graphs.chosen[row].tolist() == [item for item, _ in selected]
        for step, candidates in enumerate(steps):
            kept = len(candidates)
            assert graphs.candidates[row, step, :kept].tolist() == [item for item, _ in candidates]
            np.testing.assert_allclose(
                graphs.candidate_scores[row, step, :kept], [value for _, value in candidates], atol=1e-5
            )
            assert (graphs.candidates[row, step, kept:] == -1).all()
        assert graphs.scores[row] == pytest.approx(world.logit([*given, *graphs.chosen[row]]), abs=1e-4)
        if conditions is not None:
            assert conditions[0][row].argmax(axis=1).tolist() == [wanted[condition] for _, condition in selected]
            for step, (_, condition) in enumerate(selected):
                np.testing.assert_array_equal(conditions[1][row, step], tasks.conditions.texts[row, condition])


def test_fewer_steps_are_the_first_of_more(world, tmp_path):
    catalogue, tasks = world.catalogue, tasks_of(GIVEN[:4], REMOVED[:4])
    three = mined(world, catalogue, tasks.asking_for(3), tmp_path / "three")
    two = mined(world, catalogue, tasks, tmp_path / "two")
    np.testing.assert_array_equal(three.trace.chosen[:, :2], two.trace.chosen)
    np.testing.assert_array_equal(three.selected_counts(48), two.selected_counts(48))


def test_an_outfit_with_room_for_fewer_items_has_fewer_targets(world, tmp_path):
    catalogue = world.catalogue
    crowded, spacious = [0, 1, 2, 3], [0, 1]
    tasks = tasks_of([spacious, crowded, spacious], [[4, 5], [4, 5], [8, 9]]).asking_for(4)
    targets = mined(world, catalogue, tasks, tmp_path)
    assert ((targets.trace.chosen >= 0).sum(axis=1) == [4, 2, 4]).all()
    assert (targets.trace.candidates[1, 2:] == -1).all()
    alone = mined(world, catalogue, tasks_of([crowded], [[4, 5]]), tmp_path / "alone")
    np.testing.assert_array_equal(targets.trace.chosen[1, :2], alone.trace.chosen[0])
    np.testing.assert_array_equal(targets.trace.candidates[1, :2], alone.trace.candidates[0])
    assert targets.graph_targets().scores[1] == alone.graph_targets().scores[0]
    assert targets.selected_counts(48).sum() == 6


def test_an_outfit_without_room_for_the_removed_items_is_an_error(world, tmp_path):
    tasks = tasks_of([[0, 1, 2, 3, 4]], [[5, 11]]).asking_for(3)
    with pytest.raises(DataError, match="2 items are missing, but only 1 .* ask for at most 1"):
        mined(world, world.catalogue, tasks, tmp_path)


def test_conditions_that_the_category_rule_bars_are_left_out(world):
    given = [[0, 7], [0, 7], [1, 2], [1, 2]]
    removed = [[6, 3], [2, 8], [3, 9], [3, 4]]  # a given item's category; one category twice, twice; two free ones
    found = condition_tasks(tasks_of(given, removed), "categories", world.catalogue, ALPHA)
    assert found.outfits.tolist() == [3]
    np.testing.assert_array_equal(found.conditions.allowed[0].argmax(axis=1), [3, 4])
    assert found.conditions.alpha == ALPHA


def test_removed_items_without_texts_are_no_condition_for_texts(world):
    tasks = tasks_of(GIVEN, REMOVED)
    found = condition_tasks(tasks, "texts", world.catalogue, ALPHA)
    with_text = world.present[np.array(REMOVED), 1].any(axis=1)
    assert found.outfits.tolist() == np.flatnonzero(with_text).tolist()
    assert found.conditions.allowed.all()
