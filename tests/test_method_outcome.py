"""What a method did: its invariants, and its way through the shards of an evaluation."""

import numpy as np
import pytest
import torch

from outfits.completion.completion import concatenated
from outfits.completion.conditions import Conditions
from outfits.errors import ArtifactError
from outfits.metrics.method_evaluation import collected, evaluation_store, evaluation_work
from tests.outcomes import an_outcome, some_tasks
from tests.tiny_world import CATEGORIES, REMOVED, TEXT, World, call, context_with, tasks_of


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chosen": np.array([[0, 1], [2, 2], [1, 3]])}, "completion 1 chooses an item twice"),
        ({"chosen": np.array([[0, 1], [2, 12], [1, 3]])}, "completion 1 chooses a given item"),
        ({"chosen": np.array([[0, 1], [2, -1], [1, 3]])}, "completion 1 holds no catalogue position"),
        ({"chosen": np.array([0, 1, 2])}, r"chosen must have shape \[3, 2\]"),
        ({"scores": np.array([0.2, np.nan, 0.9])}, "scores of completion 1 is not finite"),
        ({"scores": np.array([0.2, np.inf, 0.9])}, "scores of completion 1 is not finite"),
        ({"judge": np.array([0.2, 1.1, 0.9])}, r"judge must lie in \[0, 1\]"),
        ({"scores": np.array([0.2, 0.9])}, r"scores must have shape \[3\], not \[2\]"),
        ({"removed_ranks": np.zeros((3, 1), int)}, r"removed_ranks must have shape \[3, 2\]"),
        ({"alternatives": np.zeros((3, 4, 1), int)}, r"alternatives must have shape \[3, 4, 2\]"),
        ({"valid": np.ones(4, bool)}, "valid must have shape"),
        ({"seconds": np.array([1.0, np.nan, 1.0])}, "seconds of completion 1 is not finite"),
        ({"calls": np.array([0, -1, 0])}, "calls must not be negative"),
        ({"outfit_ids": np.array(["a", "b", "a"])}, "recorded twice"),
        ({"gradients": np.array([0, -1, 0])}, "gradients must not be negative"),
        ({"similarity": np.array([0, np.nan, 0])}, "similarity of completion 1 is not finite"),
        ({"relaxed": np.ones(3)}, "relaxed and moved belong together"),
        ({"lipschitz": np.ones(3)}, "lipschitz to them"),
        ({"relaxed": 2 * np.ones(3), "moved": np.ones(3)}, "relaxed must lie"),
        ({"relaxed": np.ones(3), "moved": -np.ones(3)}, "moved must not be negative"),
        ({"tasks": some_tasks(np.empty((0, 2)))}, "no outfit was completed"),
    ],
)
def test_an_outcome_refuses_what_is_no_completion(changes, message):
    with pytest.raises(ValueError, match=message):
        an_outcome(**changes)


def test_rows_are_taken_of_every_field():
    outcome = an_outcome(tasks=some_tasks(np.array([[0, 1], [4, 5], [8, 2]])))
    taken = outcome.take(np.array([2, 0]))
    assert taken.tasks.removed.tolist() == [[8, 2], [0, 1]]
    assert taken.arrays().keys() == outcome.arrays().keys()
    for name, array in outcome.arrays().items():
        assert taken.arrays()[name].tolist() == array[[2, 0]].tolist()


def test_parts_that_differ_in_their_fields_are_not_joined():
    parts = [an_outcome().arrays(), an_outcome(judge=None).arrays()]
    assert concatenated(parts[:1]).keys() == parts[0].keys()
    with pytest.raises(ValueError, match="some parts have judge and some have not"):
        concatenated(parts)
    with pytest.raises(ValueError, match="nothing to concatenate"):
        concatenated([])


@pytest.fixture(scope="module")
def world():
    return World()


def evaluated(world, folder, name="greedy_k", tasks=None, shard_size=2):
    """The outcome of a method, with what is pending of it computed."""
    tasks = tasks or tasks_of()
    store = evaluation_store(folder, call(name), tasks, shard_size)
    evaluate = evaluation_work(store, call(name), tasks, context_with(world, judge=world.scorer))(torch.device("cpu"))
    for shard in store.pending():
        evaluate(shard)
    return collected(store, tasks)


def test_scores_are_s_of_the_completed_outfits(world, tmp_path):
    outcome = evaluated(world, tmp_path)
    expected = [1 / (1 + np.exp(-world.logit(items))) for items in outcome.sets()]
    np.testing.assert_allclose(outcome.scores, expected, atol=1e-5)
    np.testing.assert_allclose(outcome.judge, expected, atol=1e-5)
    assert outcome.valid.all()
    assert outcome.similarity is None


@pytest.mark.parametrize("name", ["greedy_k", "gradient", "original"])
def test_shards_join_to_the_whole(name, world, tmp_path):
    parts = evaluated(world, tmp_path / "parts", name).arrays()
    whole = evaluated(world, tmp_path / "whole", name, shard_size=5).arrays()
    assert len(list((tmp_path / "parts").iterdir())) == 3
    assert parts.keys() == whole.keys()
    for field in parts.keys() - {"seconds"}:
        # S of a set differs in its last bits between batches of different shape
        np.testing.assert_allclose(parts[field], whole[field], rtol=1e-5, atol=1e-6, err_msg=field)


def test_a_damaged_shard_is_done_again(world, tmp_path):
    whole, store = evaluated(world, tmp_path), evaluation_store(tmp_path, call("greedy_k"), tasks_of(), 2)
    (tmp_path / "shard-000001.npz").write_bytes(b"cut short")
    assert store.pending() == [1]
    with pytest.raises(ArtifactError, match="greedy_k in .*: 1 of 3 shards are missing or damaged"):
        collected(store, tasks_of())
    assert evaluated(world, tmp_path).chosen.tolist() == whole.chosen.tolist()


def test_an_item_that_the_conditions_forbid_is_refused(world, tmp_path):
    tasks = tasks_of()
    allowed = np.zeros((len(tasks), tasks.k, CATEGORIES), dtype=np.bool_)
    np.put_along_axis(allowed, world.categories[tasks.removed][..., None], True, axis=2)
    conditions = Conditions(allowed, np.zeros((len(tasks), tasks.k, TEXT), dtype=np.float32), 0.5)
    outcome = evaluated(world, tmp_path / "kept", "original", tasks.conditioned(conditions))
    assert outcome.chosen.tolist() == REMOVED
    elsewhere = Conditions(np.roll(allowed, 1, axis=2), conditions.texts, 0.5)
    with pytest.raises(ValueError, match="original chooses an item of a category that its condition does not allow"):
        evaluated(world, tmp_path / "broken", "original", tasks.conditioned(elsewhere))
