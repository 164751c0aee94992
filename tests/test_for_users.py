"""Completion and recommendation for a user: the objective, the stylist, the command, the service and the page."""

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from outfits import Stylist, export, run_files
from outfits.completion.methods import complete
from outfits.config.load import load_complete, load_config
from outfits.config.schema.methods import METHODS
from outfits.config.schema.personal import PersonalConfig
from outfits.config.schema.serve import ServeConfig
from outfits.data.load import load_dataset
from outfits.data.outfits import Outfits
from outfits.data.users import UserOutfits
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.graphs.user_graph import user_graph
from outfits.models.hfgn import build_hfgn
from outfits.scoring.preferences import Preferences, UserPreference
from outfits.serving import requests
from outfits.serving import visit as visits
from outfits.serving.answering import Answering
from outfits.serving.requests import Call
from outfits.weights import save_network
from pipeline.embeddings import embed_dataset
from pipeline.run import reopen_run
from tests.tiny_run import added_ids, make_run
from tests.tiny_world import GIVEN, World, call, context_with, tasks_of


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def preferences(world: World) -> Preferences:
    """Two users with three outfits, and an HFGN of random weights over the world's items."""
    outfits = Outfits.from_lists(["a", "b", "c"], [[0, 1, 8], [2, 9, 16], [3, 10]], [0, 0, 0])
    users = UserOutfits(["u", "v"], np.array([0, 0, 1]), np.array([0, 1, 2]), np.zeros(3, np.int8), 3)
    torch.manual_seed(3)
    model = build_hfgn(user_graph(world.catalogue, outfits, users), PersonalConfig(dim=6, hidden=8, start="random"))
    return Preferences(model.eval().requires_grad_(False), world.catalogue, outfits, users)


def value(world: World, preferences: Preferences, items: list[int], user: int, beta: float) -> float:
    """The objective of a whole outfit."""
    liked = preferences.of_sets([np.array(items)])[0] @ preferences.user_vectors[user]
    return float(expit(world.logit(items)) + beta * liked)


def preferred(preferences: Preferences, rows: int, beta: float = 3.0) -> UserPreference:
    return UserPreference(preferences, preferences.user_vectors[np.arange(rows) % 2], beta)


@pytest.mark.parametrize("method", ["exhaustive", "beam:width=9999"])
def test_search_maximises_s_and_the_users_preference(world: World, preferences: Preferences, method: str) -> None:
    given = [[0, 7, 14], [1, 2]]
    tasks = replace(tasks_of(given, [[3, 4], [3, 5]]).asking_for(2), preference=preferred(preferences, 2))
    chosen = complete(call(method), tasks, context_with(world)).chosen
    for row, items in enumerate(given):
        completions = [
            pair
            for pair in combinations(world.allowed(items), 2)
            if world.categories[pair[0]] != world.categories[pair[1]]
        ]
        values = [value(world, preferences, [*items, *pair], row, 3.0) for pair in completions]
        assert set(chosen[row]) == set(completions[int(np.argmax(values))])


def test_greedy_adds_the_item_that_the_user_likes_most(world: World, preferences: Preferences) -> None:
    tasks = replace(tasks_of().asking_for(1), preference=preferred(preferences, len(GIVEN)))
    chosen = complete(call("greedy_k"), tasks, context_with(world)).chosen[:, 0]
    for row, items in enumerate(GIVEN):
        others = world.allowed(items)
        values = [value(world, preferences, [*items, other], row % 2, 3.0) for other in others]
        assert chosen[row] == others[int(np.argmax(values))]


@pytest.mark.parametrize("method", [name for name, spec in METHODS.items() if spec.follows_users])
def test_every_search_follows_users_and_beta_0_is_s_alone(world: World, preferences: Preferences, method: str) -> None:
    tasks, context = tasks_of().asking_for(2), context_with(world)
    plain = complete(call(method), tasks, context).chosen
    ignored = complete(call(method), replace(tasks, preference=preferred(preferences, 5, 0.0)), context).chosen
    followed = complete(call(method), replace(tasks, preference=preferred(preferences, 5, 50.0)), context).chosen
    assert np.array_equal(plain, ignored)
    assert not np.array_equal(plain, followed)


def test_a_method_that_does_not_look_at_users_says_so(world: World, preferences: Preferences) -> None:
    tasks = replace(tasks_of().asking_for(1), preference=preferred(preferences, 5))
    with pytest.raises(ConfigError, match="retrieval does not look at users; exhaustive, greedy_1"):
        complete(call("retrieval"), tasks, context_with(world))


def test_a_known_user_without_an_own_vector_is_what_folding_in_gives(world: World) -> None:
    outfits = Outfits.from_lists(["a", "b", "c"], [[0, 1, 8], [2, 9, 16], [3, 10]], [0, 0, 0])
    users = UserOutfits(["u", "v"], np.array([0, 0, 1]), np.array([0, 1, 2]), np.zeros(3, np.int8), 3)
    config = PersonalConfig(dim=6, hidden=8, user_ids=False, start="random")
    model = build_hfgn(user_graph(world.catalogue, outfits, users), config).eval().requires_grad_(False)
    found = Preferences(model, world.catalogue, outfits, users)
    assert found.folded_in(found.outfit_vectors[[0, 1]]) == pytest.approx(found.user_vectors[0], abs=1e-6)


# The stylist


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on drawn users with an HFGN of random weights; do not write into it."""
    root = tmp_path_factory.mktemp("users")
    folder = make_run(root, "data.synthetic.users=6")
    run = reopen_run(load_config([f"run={folder}", f"cache_dir={root / 'cache'}"], "evaluate"))
    dataset = embed_dataset(run, load_dataset(run.config.data))
    assert dataset.users is not None
    torch.manual_seed(4)
    graph = user_graph(dataset.catalogue, dataset.outfits, dataset.users)
    model = build_hfgn(graph, PersonalConfig(dim=8, hidden=8, item_ids=False, start="random"))
    save_network(model, run.folder / run_files.RECOMMENDER)
    return root


@pytest.fixture(scope="module")
def stylist(root: Path) -> Stylist:
    return Stylist.load(root / "run")


def test_an_exported_run_knows_no_users(root: Path, stylist: Stylist, tmp_path: Path) -> None:
    assert len(stylist.user_ids) == 6
    folder = export(root / "run", tmp_path / "out")
    kept = {run_files.STYLIST_USERS, run_files.RECOMMENDER}
    assert {path.name for path in (root / "run").rglob("*")} >= kept
    assert not {path.name for path in folder.rglob("*")} & kept
    exported = Stylist.load(folder)
    assert list(exported.user_ids) == []
    assert exported.complete([exported.item_ids[0]], k=1, method="greedy_k")
    with pytest.raises(ArtifactError, match="knows no users"):
        exported.recommend("u1")


def test_a_user_gets_other_outfits_by_the_objective(stylist: Stylist) -> None:
    given = stylist.item_ids[0]
    plain = stylist.complete([given], k=1, method="greedy_k", top=3)
    found = stylist.complete([given], k=1, method="greedy_k", top=3, user="u2", beta=20.0)
    assert plain[0].preference is None
    assert [added_ids(outfit) for outfit in found] != [added_ids(outfit) for outfit in plain]
    objectives = [outfit.objective for outfit in found]
    assert objectives == sorted(objectives, reverse=True)
    for outfit in found:
        assert outfit.preference is not None
        assert outfit.objective == pytest.approx(outfit.score + 20 * outfit.preference)
    assert "preference" in found[0].table()
    default = stylist.complete([given], k=1, method="greedy_k", user="u2")[0]
    assert default.preference is not None
    assert default.objective == pytest.approx(default.score + PersonalConfig().beta * default.preference)


def test_users_of_a_batch_are_each_served(stylist: Stylist) -> None:
    items = [[stylist.item_ids[0]], [stylist.item_ids[5]]]
    together = stylist.complete_many(items, k=1, method="greedy_k", users=["u1", "u3"], beta=9.0)
    alone = [
        stylist.complete(one, k=1, method="greedy_k", user=user, beta=9.0)
        for one, user in zip(items, ["u1", "u3"], strict=True)
    ]
    assert [added_ids(found[0]) for found in together] == [added_ids(found[0]) for found in alone]
    with pytest.raises(ConfigError, match="name one for every outfit, or none"):
        stylist.complete_many(items, k=1, users=["u1", None])


def test_recommended_outfits_are_new_and_best_first(stylist: Stylist) -> None:
    found = stylist.recommend("u1", top=5)
    liked = [stylist.outfit_ids[row] for row in stylist._people.liked("u1")]
    assert liked
    assert not {outfit.outfit_id for outfit in found} & set(liked)
    values = [outfit.preference for outfit in found]
    assert values == sorted(values, reverse=True)
    everything = stylist.recommend("u1", top=10_000)
    assert len(everything) == len(stylist.outfit_ids) - len(liked)
    new = stylist.recommend(liked[:2], top=3)
    assert len(new) == 3
    assert not {outfit.outfit_id for outfit in new} & set(liked[:2])
    assert stylist.complete([stylist.item_ids[0]], k=1, method="greedy_k", user=liked[:2])[0].preference is not None


def test_an_unknown_user_or_outfit_is_an_error_of_one_line(stylist: Stylist) -> None:
    with pytest.raises(DataError, match="no user 'u77'"):
        stylist.recommend("u77")
    with pytest.raises(DataError, match="no outfit 'o'"):
        stylist.recommend(["o"])
    with pytest.raises(ConfigError, match="at least one outfit"):
        stylist.recommend([])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": "u1", "beta": float("nan")}, "beta: must be at least 0, not nan"),
        ({"user": "u1", "beta": -1.0}, "beta: must be at least 0, not -1.0"),
        ({"beta": 2.0}, "beta: weighs the preference of a user"),
    ],
    ids=["no number", "negative", "of no user"],
)
def test_a_weight_that_cannot_be_one_is_refused(stylist: Stylist, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        stylist.complete(stylist.item_ids[:1], k=1, method="greedy_k", **given)


def test_a_run_without_users_says_so(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns(run_files.RECOMMENDER))
    stylist = Stylist.load(tmp_path / "run")
    assert stylist.user_ids == ()
    with pytest.raises(ArtifactError, match="knows no users; train one with stage personal"):
        stylist.recommend("u1")


def test_a_changed_catalogue_knows_no_users_and_says_so(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "run", tmp_path / "run")
    changed = Stylist.load(tmp_path / "run").remove(Stylist.load(tmp_path / "run").item_ids[-1])
    assert changed.user_ids == ()
    for refused in (
        lambda: changed.recommend("u1"),
        lambda: changed.complete(changed.item_ids[:1], k=1, method="greedy_k", user="u1"),
    ):
        with pytest.raises(ArtifactError, match="catalogue of run .* has changed since its users were learned"):
            refused()


def test_the_command_takes_a_user_or_outfits(root: Path) -> None:
    run = f"run={root / 'run'}"
    assert load_complete([run, "items=[a]", "user=u17"]).user == "u17"
    assert load_complete([run, "items=[a]", "user=[12,o2]"]).user == ["12", "o2"]
    assert load_complete([run, "items=[a]"]).user is None
    with pytest.raises(ConfigError, match="user"):
        load_complete([run, "items=[a]", "user=[]"])


def test_the_service_completes_and_recommends_for_a_user(stylist: Stylist) -> None:
    answering, given = Answering(stylist, ServeConfig()), stylist.item_ids[0]
    liked = list(stylist.outfit_ids[:2])
    asked = [
        requests.Complete(items=[given], k=1, method="greedy_k", user=user, beta=beta)
        for user, beta in (("u2", 20.0), (liked, 20.0), ("u2", None), (None, None))
    ]
    answers = answering.answer([Call("complete", one) for one in asked])
    for one, answer in zip(asked, answers, strict=True):
        found = stylist.complete([given], k=1, method="greedy_k", user=one.user, beta=one.beta)
        told = json.loads(answer.body)["outfits"]
        assert [outfit["objective"] for outfit in told] == [outfit.objective for outfit in found]
        assert [outfit["preference"] for outfit in told] == [outfit.preference for outfit in found]
    (answer,) = answering.answer([Call("recommend", requests.Recommend(user="u1", top=3))])
    recommended = json.loads(answer.body)["outfits"]
    assert [one["outfit_id"] for one in recommended] == [one.outfit_id for one in stylist.recommend("u1", top=3)]


@pytest.mark.parametrize(
    ("field", "asked", "said"),
    [
        ("user", {"user": "u77"}, "no user 'u77'"),
        ("user", {"user": ["o"]}, "no outfit 'o'"),
        ("beta", {"beta": 1.0}, "weighs the preference of a user"),
        ("method", {"user": "u1", "method": "generator"}, "does not look at users"),
    ],
)
def test_the_service_names_the_field_of_a_user_that_cannot_be(
    stylist: Stylist, field: str, asked: dict[str, Any], said: str
) -> None:
    request = requests.Complete(items=[stylist.item_ids[0]], k=1, **{"method": "greedy_k", **asked})
    (answer,) = Answering(stylist, ServeConfig()).answer([Call("complete", request)])
    (detail,) = json.loads(answer.body)["detail"]
    assert (answer.status, detail["field"]) == (422, field)
    assert said in detail["message"]


def test_a_visitor_completes_for_a_user(stylist: Stylist) -> None:
    visit = visits.add_item(visits.Visit(), stylist, stylist.item_ids[0])
    request = visits.CompletionRequest(k=2, method="greedy_k", user="u2", beta=20.0)
    completed = visits.complete(visit, stylist, request)
    found = stylist.complete(visit.pieces, k=2, method="greedy_k", user="u2", beta=20.0)
    assert added_ids(completed.proposals[0].outfit) == added_ids(found[0])
    assert completed.proposals[0].outfit.preference is not None
    swapped = visits.swap(visits.take(completed, 0), stylist, 2)
    pieces = [piece for place, piece in enumerate(swapped.pieces) if place != 2]
    category = stylist.item(added_ids(found[0])[1]).category
    liked = stylist.complete(pieces, k=1, categories=category, method="greedy_k", top=12, user="u2", beta=20.0)
    others = [one for outfit in liked if (one := added_ids(outfit)[0]) != added_ids(found[0])[1]]
    assert swapped.pieces[2] == others[0]
