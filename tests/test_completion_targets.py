"""Completion tasks and the store of greedy targets."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import expit

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import Conditions
from outfits.completion.tasks import make_tasks
from outfits.data.outfits import Outfits
from outfits.errors import ArtifactError, DataError
from outfits.mining.targets import TargetStore
from outfits.storage import read_arrays, write_arrays

KEPT = 6


@pytest.fixture(scope="module")
def outfits():
    rng = np.random.default_rng(0)
    lists = [rng.choice(200, size=size, replace=False).tolist() for size in rng.integers(2, 8, size=60)]
    return Outfits.from_lists([f"o{i}" for i in range(60)], lists, [0] * 60)


def table(tasks):
    """Tasks as a mapping from outfit and removal number to given and removed items."""
    rows = zip(tasks.outfits.tolist(), tasks.removals.tolist(), tasks.given, tasks.removed, strict=True)
    return {(o, r): (given.tolist(), removed.tolist()) for o, r, given, removed in rows}


# Tasks


def test_given_and_removed_items_are_the_outfit(outfits):
    tasks = make_tasks(outfits, 2, 1, None, seed=3)
    assert len(tasks) == (outfits.sizes >= 4).sum()
    assert tasks.left_out == (outfits.sizes < 4).sum() > 0
    for row in range(len(tasks)):
        outfit = outfits[tasks.outfits[row]].tolist()
        assert sorted([*tasks.given[row], *tasks.removed[row]]) == sorted(outfit)
        assert tasks.k == 2
        assert len(tasks.given[row]) >= 2


def test_limit_and_removals_do_not_change_the_tasks_they_keep(outfits):
    everything = table(make_tasks(outfits, 2, 3, None, seed=3))
    some = table(make_tasks(outfits, 2, 1, 12, seed=3))
    fewer = table(make_tasks(outfits, 2, 2, 5, seed=3))
    assert len(some) == 12
    assert some.items() <= everything.items()
    assert fewer.items() <= everything.items()
    assert {outfit for outfit, _ in fewer} <= {outfit for outfit, _ in some}
    assert table(make_tasks(outfits, 2, 1, 12, seed=4)) != some
    assert table(make_tasks(outfits, 2, 1, 12, seed=3)) == some


def test_removals_of_an_outfit_differ_and_end_with_its_subsets(outfits):
    tasks = make_tasks(outfits, 2, 50, None, seed=0)
    for outfit in np.unique(tasks.outfits):
        removed = {tuple(sorted(items)) for items in tasks.removed[tasks.outfits == outfit].tolist()}
        size = outfits.sizes[outfit]
        assert len(removed) == (tasks.outfits == outfit).sum() == min(50, size * (size - 1) // 2)


def test_outfits_of_one_size_lose_different_places():
    alike = Outfits.from_lists([str(i) for i in range(30)], [range(5 * i, 5 * i + 5) for i in range(30)], [0] * 30)
    places = {tuple(items % 5) for items in make_tasks(alike, 2, 1, None, seed=0).removed}
    assert len(places) >= 8  # of 10 pairs


def test_no_outfit_large_enough_is_an_error(outfits):
    with pytest.raises(DataError, match="set model.k smaller"):
        make_tasks(outfits, 7, 1, None, seed=0)


def test_tasks_by_size_cover_every_task_once(outfits):
    tasks = make_tasks(outfits, 2, 2, None, seed=0)
    rows = []
    for some, given in tasks.by_size():
        assert [items.tolist() for items in given] == [tasks.given[row].tolist() for row in some]
        rows.extend(some.tolist())
    assert sorted(rows) == list(range(len(tasks)))


# The store


def trace_of(tasks):
    """A trace that depends on the tasks alone, as a search's does."""
    parts = []
    for row in range(len(tasks)):
        rng = np.random.default_rng([int(tasks.outfits[row]), int(tasks.removals[row])])
        candidates = rng.choice(200, size=(1, tasks.k, KEPT)).astype(np.int32)
        logits = np.sort(rng.normal(size=(1, tasks.k, KEPT)).astype(np.float32))[..., ::-1]
        trace = SearchTrace(candidates[..., 0], logits[..., 0], candidates, logits, np.array([int(rng.integers(100))]))
        if tasks.conditions is not None:
            slots = rng.permutation(tasks.k)[None]
            similarity = rng.random((1, tasks.k, KEPT)).astype(np.float32)
            trace = replace(trace, slots=slots, candidate_similarity=similarity)
        parts.append(trace)
    return SearchTrace.concatenate(parts)


@pytest.fixture(scope="module")
def tasks(outfits):
    return make_tasks(outfits, 2, 2, 9, seed=1)  # 18 tasks, 5 shards of 4


def store_at(folder, tasks, **changes):
    options = {"manifest": {"scorer": "abc", "seed": 1}, "shard_size": 4, "candidates_kept": KEPT} | changes
    return TargetStore(folder, tasks=tasks, **options)


def fill(store, shards=None):
    for shard in store.pending() if shards is None else shards:
        store.write_trace(shard, trace_of(store.shard_tasks(shard)))
    return store


def assert_same(one, other):
    for field in fields(SearchTrace):
        np.testing.assert_array_equal(getattr(one.trace, field.name), getattr(other.trace, field.name), field.name)


def conditions_for(tasks, seed=0):
    """Conditions of one to three categories of 7 for each item, with a text for half of the tasks."""
    rng = np.random.default_rng(seed)
    allowed = rng.random((len(tasks), tasks.k, 7)).argsort(axis=2) < rng.integers(1, 4, size=(len(tasks), tasks.k, 1))
    texts = rng.normal(size=(len(tasks), tasks.k, 5)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=2, keepdims=True)
    texts[::2] = 0
    return Conditions(allowed, texts, alpha=0.3)


@pytest.fixture
def undisturbed(tmp_path, tasks):
    return fill(store_at(tmp_path / "undisturbed", tasks)).load()


def test_targets_come_back_in_the_order_of_the_tasks(undisturbed, tasks):
    expected = trace_of(tasks)
    np.testing.assert_array_equal(undisturbed.trace.chosen, expected.chosen)
    np.testing.assert_array_equal(undisturbed.trace.candidate_logits, expected.candidate_logits)
    assert undisturbed.trace.chosen.dtype == undisturbed.trace.candidates.dtype == np.int32
    graphs = undisturbed.graph_targets()
    assert undisturbed.graph_conditions() is None
    np.testing.assert_array_equal(graphs.scores, expected.logits[:, -1])
    np.testing.assert_array_equal(graphs.candidate_scores, expit(expected.candidate_logits))
    counts = undisturbed.selected_counts(200)
    assert counts.sum() == expected.chosen.size
    assert counts[expected.chosen[0, 0]] == (expected.chosen == expected.chosen[0, 0]).sum()


def test_targets_under_conditions_carry_the_objective_and_the_condition_that_each_answers(tmp_path, tasks):
    tasks = tasks.conditioned(conditions_for(tasks))
    targets = fill(store_at(tmp_path, tasks)).load()
    expected = trace_of(tasks)
    assert_same(targets, replace(targets, trace=expected))
    scores = targets.graph_targets().candidate_scores
    compatibility = expit(expected.candidate_logits)
    np.testing.assert_allclose(scores[::2], compatibility[::2], rtol=1e-6)
    np.testing.assert_allclose(
        scores[1::2], 0.3 * compatibility[1::2] + 0.7 * expected.candidate_similarity[1::2], rtol=1e-5
    )
    allowed, texts = targets.graph_conditions()
    for row in range(len(tasks)):
        for step, slot in enumerate(expected.slots[row]):
            np.testing.assert_array_equal(allowed[row, step], tasks.conditions.allowed[row, slot])
            np.testing.assert_array_equal(texts[row, step], tasks.conditions.texts[row, slot])


def test_counts_are_those_of_as_many_selections_as_items_were_removed(tmp_path, tasks):
    more = tasks.asking_for(3)
    store = store_at(tmp_path, more)
    for shard in store.pending():
        trace = trace_of(store.shard_tasks(shard))
        trace.chosen[:, 2] = -1
        trace.chosen[0, 1] = -1
        store.write_trace(shard, trace)
    targets = store.load()
    counts = targets.selected_counts(200)
    assert counts.sum() == 2 * len(tasks) - len(store)
    np.testing.assert_array_equal(
        targets.graph_targets().scores,
        [
            logits[1 if chosen[1] >= 0 else 0]
            for chosen, logits in zip(targets.trace.chosen, targets.trace.logits, strict=True)
        ],
    )


def test_a_killed_run_continues_with_the_missing_shards(tmp_path, tasks, undisturbed):
    fill(store_at(tmp_path / "killed", tasks), shards=[3, 0])
    (tmp_path / "killed" / "shard-000001.123.tmp").write_bytes(b"half a shard")
    again = store_at(tmp_path / "killed", tasks)
    assert again.pending() == [1, 2, 4]
    assert_same(fill(again).load(), undisturbed)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign", "not_zip"])
def test_a_damaged_shard_is_mined_again(tmp_path, tasks, undisturbed, damage):
    store = fill(store_at(tmp_path / "damaged", tasks))
    path = tmp_path / "damaged" / "shard-000002.npz"
    content = path.read_bytes()
    middle = content.index(trace_of(store.shard_tasks(2)).candidates.tobytes())
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "foreign": (tmp_path / "damaged" / "shard-000001.npz").read_bytes(),
            "not_zip": b"\x93NUMPY nonsense",
        }[damage]
    )
    again = store_at(tmp_path / "damaged", tasks)
    assert again.pending() == [2]
    with pytest.raises(ArtifactError, match="1 of 5 shards are missing or damaged"):
        again.load()
    assert_same(fill(again).load(), undisturbed)


@pytest.mark.parametrize("damage", ["cut", "of_other_conditions", "without_slots"])
def test_a_damaged_shard_under_conditions_is_mined_again(tmp_path, tasks, damage):
    conditions = tasks.conditioned(conditions_for(tasks))
    undisturbed = fill(store_at(tmp_path / "undisturbed", conditions)).load()
    fill(store_at(tmp_path / "damaged", conditions))
    fill(store_at(tmp_path / "other", tasks.conditioned(conditions_for(tasks, seed=1))))
    path = tmp_path / "damaged" / "shard-000002.npz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "of_other_conditions":
        path.write_bytes((tmp_path / "other" / path.name).read_bytes())
    else:
        stored = read_arrays(path)
        write_arrays(path, {name: array for name, array in stored.items() if name != "slots"})
    again = store_at(tmp_path / "damaged", conditions)
    assert again.pending() == [2]
    assert_same(fill(again).load(), undisturbed)


def test_a_trace_has_slots_if_and_only_if_its_tasks_have_conditions(tmp_path, tasks):
    conditions = tasks.conditioned(conditions_for(tasks))
    free_store, condition_store = store_at(tmp_path / "free", tasks), store_at(tmp_path / "conditions", conditions)
    for store, trace in ((condition_store, trace_of(tasks)), (free_store, trace_of(conditions))):
        with pytest.raises(ValueError, match="slots and similarities if its tasks have conditions"):
            store.write_trace(0, trace.take(np.arange(4)))


def test_targets_of_something_else_are_refused(tmp_path, outfits, tasks):
    fill(store_at(tmp_path, tasks))
    with pytest.raises(ArtifactError, match="differ from this run in scorer; delete"):
        store_at(tmp_path, tasks, manifest={"scorer": "xyz", "seed": 1})
    with pytest.raises(ArtifactError, match="differ from this run in tasks"):
        store_at(tmp_path, make_tasks(outfits, 2, 2, 9, seed=2))
    with pytest.raises(ArtifactError, match="in shard_size"):
        store_at(tmp_path, tasks, shard_size=5)
    assert store_at(tmp_path, tasks).pending() == []


def test_a_broken_manifest_is_refused(tmp_path, tasks):
    store_at(tmp_path, tasks)
    (tmp_path / "manifest.json").write_text('{"scorer": ')
    with pytest.raises(ArtifactError, match="is not JSON"):
        store_at(tmp_path, tasks)


def test_the_manifest_says_what_the_targets_depend_on(tmp_path, tasks):
    store_at(tmp_path, tasks)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["scorer"] == "abc"
    assert manifest["tasks"] == tasks.digest()


def test_a_trace_that_does_not_fit_its_shard_is_refused(tmp_path, tasks):
    store = store_at(tmp_path, tasks)
    with pytest.raises(ValueError, match="shard 4 needs candidates"):
        store.write_trace(4, trace_of(store.shard_tasks(0)))
    with pytest.raises(ValueError, match="shard 5 is not one of 5"):
        store.shard_tasks(5)
