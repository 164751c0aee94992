"""Completion methods against plain loops over a tiny catalogue."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch

from outfits.completion.completion import UNRANKED
from outfits.completion.from_latents.completion import (
    complete_from_latents,
    latent_ranks,
    latent_shortlists,
    regenerated_shortlists,
)
from outfits.completion.methods import complete
from outfits.completion.search.beam import beam_search
from outfits.completion.search.expansion import Hypothesis, OutfitConditions, SearchQuery
from outfits.completion.search.greedy import greedy_k_step, greedy_one_step
from outfits.config.schema.methods import METHODS
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.category_rule import forbidden_categories, is_outfit, keeps_outfit
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer
from tests.tiny_world import CATEGORIES, GIVEN, IMAGE, ITEMS, REMOVED, TEXT, World, call, context_with, tasks_of


@pytest.fixture(scope="module")
def world():
    return World()


# most_similar needs texts of conditions.
UNCONDITIONED = [*(name for name in METHODS if name != "most_similar"), "generator_beam:regenerate=true"]


def rerank(latents, index, scorer, outfits, r, joint=True):
    k, propose = latents.shape[1], latent_shortlists(latents, index, r, joint=joint)
    return beam_search(SearchQuery(scorer, outfits, k, propose=propose, candidates_kept=r * k), 1)


# The scorer


def test_logits_are_those_of_the_plain_module(world):
    sets = [np.array(items) for items in ([3], [1, 2], [9, 4, 11], [2, 1], [5, 0, 3])]
    expected = [world.logit(items) for items in sets]
    np.testing.assert_allclose(world.scorer.ragged_logits(sets).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(
        world.scorer.set_logits(torch.tensor([[1, 2], [4, 9]])).numpy(),
        [world.logit([1, 2]), world.logit([9, 4])],
        atol=1e-5,
    )


@pytest.mark.parametrize("block", [1, 5, 31, 4096])
def test_additions_of_a_whole_catalogue_are_those_of_a_plain_loop(block):
    world = World(block=block)
    outfits = torch.tensor([[0, 7, 14], [9, 4, 11]])
    logits = world.scorer.addition_logits(outfits).numpy()
    for row, outfit in enumerate(outfits.tolist()):
        allowed = world.allowed(outfit)
        expected = [world.logit([*outfit, item]) for item in allowed]
        np.testing.assert_allclose(logits[row, allowed], expected, atol=1e-5)
        assert np.isneginf(np.delete(logits[row], allowed)).all()
    assert world.scorer.calls == np.isfinite(logits).sum()


def test_each_outfit_has_candidates_of_its_own(world):
    outfits = torch.tensor([[0, 7], [9, 4]])
    candidates = torch.tensor([[2, -1, 3, 6], [2, 5, -1, 8]])
    logits = world.scorer.addition_logits(outfits, candidates).numpy()
    scored = [[True, False, True, False], [True, True, False, True]]
    np.testing.assert_array_equal(np.isfinite(logits), scored)
    assert logits[1, 3] == pytest.approx(world.logit([9, 4, 8]), abs=1e-5)


def test_the_order_of_given_items_does_not_change_a_bit(world):
    for order in permutations([9, 4, 11]):
        outfit = torch.tensor([order])
        assert torch.equal(
            world.scorer.addition_logits(outfit), world.scorer.addition_logits(torch.tensor([[4, 9, 11]]))
        )
        assert torch.equal(world.scorer.set_logits(outfit), world.scorer.set_logits(torch.tensor([[4, 9, 11]])))


def test_bf16_scores_are_near_those_of_fp32(world):
    half = World(precision="bf16").scorer.set_logits(torch.tensor([[0, 7, 14], [9, 4, 11]])).numpy()
    full = world.scorer.set_logits(torch.tensor([[0, 7, 14], [9, 4, 11]])).numpy()
    assert not np.array_equal(half, full)
    np.testing.assert_allclose(half, full, rtol=0.05, atol=0.2)


def test_a_scorer_in_training_mode_is_refused(world):
    module = OutfitTransformer(ScorerArchitecture(width=16, layers=1, heads=2, feedforward=8), IMAGE, TEXT)
    with pytest.raises(ValueError, match="training mode"):
        CandidateScorer(module, world.vectors, world.present, world.categories)


# The rule


def test_the_rule_says_what_an_outfit_is():
    assert is_outfit([0, 3, 1])
    assert not is_outfit([0, 3, 0])
    assert not is_outfit([])


def test_the_rule_binds_chosen_items_only():
    categories = np.array([0, 0, 1, 2, 2])
    given = [np.array([0, 1]), np.array([0]), np.array([0]), np.array([2])]
    chosen = np.array([[2, 3], [1, 2], [3, 4], [0, 1]])
    assert keeps_outfit(given, chosen, categories).tolist() == [True, False, False, False]
    assert forbidden_categories(given, categories, 4)[0].tolist() == [True, False, False, False]
    assert forbidden_categories(given, categories, 4)[3][categories].tolist() == [False, False, True, False, False]


# Greedy search


@pytest.mark.parametrize("k", [1, 2, 3])
def test_greedy_k_step_is_a_plain_loop(world, k):
    outfits = torch.tensor([[0, 7, 14], [9, 4, 11]])
    trace = greedy_k_step(world.query(outfits, k, candidates_kept=5))
    for row, outfit in enumerate(outfits.tolist()):
        for step in range(k):
            ranking = sorted(world.allowed(outfit), key=lambda item: (-world.logit([*outfit, item]), item))
            assert trace.candidates[row, step].tolist() == ranking[:5]
            assert trace.chosen[row, step] == ranking[0]
            outfit = [*outfit, ranking[0]]
            assert trace.logits[row, step] == pytest.approx(world.logit(outfit), abs=1e-5)
        assert trace.calls[row] == sum(8 * (3 - step) for step in range(k))


def test_greedy_one_step_takes_the_best_additions_of_different_categories(world):
    trace = greedy_one_step(world.query([[0, 7]], 3, candidates_kept=60))
    ranking = sorted(world.allowed([0, 7]), key=lambda item: (-world.logit([0, 7, item]), item))
    expected = []
    for item in ranking:
        if world.categories[item] not in {world.categories[other] for other in expected}:
            expected.append(item)
    assert trace.chosen[0].tolist() == expected[:3]
    assert trace.candidates[0, 0].tolist() == ranking + [-1] * (60 - len(ranking))
    assert np.isneginf(trace.candidate_logits[0, 0, len(ranking) :]).all()
    assert trace.calls.tolist() == [len(ranking)]


def test_equal_scores_go_to_the_smaller_position(world):
    module = OutfitTransformer(ScorerArchitecture(width=16, layers=1, heads=2, feedforward=8), IMAGE, TEXT).eval()
    torch.nn.init.zeros_(module.head[-1].weight)
    scorer = CandidateScorer(module, world.vectors, world.present, world.categories, block=3)
    two, three = (SearchQuery(scorer, torch.tensor([[6, 1]]), k, candidates_kept=4) for k in (2, 3))
    assert greedy_k_step(two).candidates[0].tolist() == [[2, 3, 4, 5], [3, 4, 5, 9]]
    assert greedy_one_step(three).chosen[0].tolist() == [2, 3, 4]
    latents = torch.ones(1, 2, IMAGE + TEXT)
    shortlist = world.index.nearest(latents[0, :1], 5, forbidden_categories([[6, 1]], world.categories, CATEGORIES))[1]
    assert rerank(latents, world.index, scorer, torch.tensor([[6, 1]]), 5).chosen[0, 0] == shortlist.min()


def test_more_candidates_never_lower_the_first_steps_maximum():
    best = [
        greedy_k_step(SearchQuery(World(items).scorer, torch.tensor([[0, 7], [1, 2]]), 1)).logits[:, 0]
        for items in range(12, ITEMS + 1, 6)
    ]
    assert (np.diff(np.stack(best), axis=0) >= -1e-5).all()
    assert (best[-1] > best[0]).any()


def test_ranks_are_places_among_the_first_additions(world):
    rank_of = np.array([[3, 6], [5, 20]])  # 6 has the category of the given 0
    trace = greedy_k_step(world.query([[0, 7], [0, 7]], 2, candidates_kept=60, rank_of=rank_of))
    first = trace.candidates[0, 0].tolist()
    assert trace.ranks.tolist() == [[first.index(3), UNRANKED], [first.index(5), first.index(20)]]


def test_too_few_categories_are_named(world):
    with pytest.raises(DataError, match="only 3 categories with items are not taken yet; ask for at most 3"):
        greedy_k_step(world.query([[0, 7, 14]], 4))
    with pytest.raises(DataError, match="at most 3"):
        greedy_one_step(world.query([[0, 7, 14]], 4))
    with pytest.raises(DataError, match="at most 3"):
        rerank(torch.randn(1, 4, 9), world.index, world.scorer, torch.tensor([[0, 7, 14]]), 3)


def test_a_score_that_is_not_finite_is_refused(world):
    vectors = world.vectors.copy()
    vectors[17] = np.nan
    scorer = CandidateScorer(world.module, vectors, np.ones((ITEMS, 2), dtype=bool), world.categories)
    with pytest.raises(ValueError, match="not finite"):
        greedy_k_step(SearchQuery(scorer, torch.tensor([[0, 7]]), 1))


# Latents


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_assignment_is_the_best_of_all_tuples(world, k):
    rng = np.random.default_rng(2)
    rows = 12 if k < 3 else 3
    base = rng.normal(size=(rows, 1, 9))
    latents = torch.from_numpy(base + 0.3 * rng.normal(size=(rows, k, 9))).float()  # near each other: categories clash
    forbidden = rng.random((rows, CATEGORIES)) < 0.3
    forbidden[:, :3] = False
    chosen = complete_from_latents(latents, world.index, forbidden)
    cosine = torch.nn.functional.normalize(latents, dim=-1).numpy() @ world.index.vectors.numpy().T
    clashes = 0
    for row in range(rows):
        inside = [item for item in range(ITEMS) if not forbidden[row, world.categories[item]]]
        total = np.full([len(inside)] * k, -np.inf)  # of every tuple of allowed items
        for places in product(range(len(inside)), repeat=k):
            items = [inside[place] for place in places]
            if len(set(world.categories[items].tolist())) == k:
                total[places] = sum(cosine[row, j, item] for j, item in enumerate(items))
        best = [inside[place] for place in np.unravel_index(total.argmax(), total.shape)]
        assert chosen[row].tolist() == best
        favourites = [max(inside, key=lambda item: cosine[row, j, item]) for j in range(k)]
        clashes += not is_outfit(world.categories[favourites])
    assert k == 1 or clashes  # both ways to the answer were taken


def test_latent_ranks_count_the_allowed_items_that_are_nearer(world):
    latents = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 2, 9))).float()
    forbidden = np.zeros((1, CATEGORIES), dtype=bool)
    forbidden[0, 1] = True
    items = np.array([[0, 7, 20, 33]])  # 7 is of the forbidden category 1
    near = (torch.nn.functional.normalize(latents[0], dim=-1) @ world.index.vectors.T).amax(0).numpy()
    ranking = sorted((i for i in range(ITEMS) if world.categories[i] != 1), key=lambda i: -near[i])
    ranks = latent_ranks(latents, world.index, forbidden, items)
    assert ranks.tolist() == [[ranking.index(0), UNRANKED, ranking.index(20), ranking.index(33)]]
    scored = np.array([[33, 2, -1]], dtype=np.int32)
    rest = [item for item in ranking if item not in (33, 2)]
    expected = [[2 + rest.index(0), UNRANKED, 2 + rest.index(20), 0]]
    assert latent_ranks(latents, world.index, forbidden, items, scored).tolist() == expected


@pytest.mark.parametrize("joint", [True, False])
def test_rerank_calls_s_as_often_as_it_says(world, joint):
    latents = torch.from_numpy(np.random.default_rng(4).normal(size=(2, 3, 9))).float()
    before = world.scorer.calls
    trace = rerank(latents, world.index, world.scorer, torch.tensor([[0, 7], [9, 4]]), 4, joint=joint)
    assert trace.calls.sum() == world.scorer.calls - before
    assert (trace.calls == np.isfinite(trace.candidate_logits).sum(axis=(1, 2))).all()
    assert (trace.calls <= (4 * (3 + 2 + 1) if joint else 4 * 3)).all()
    assert joint or trace.calls.tolist() == [12, 12]


def test_rerank_counts_an_item_on_two_shortlists_once(world):
    latents = torch.from_numpy(np.random.default_rng(4).normal(size=(1, 1, 9))).float().repeat(1, 2, 1)
    trace = rerank(latents, world.index, world.scorer, torch.tensor([[0, 7]]), 4)
    assert trace.calls.tolist() == [8]


def test_joint_rerank_is_a_plain_loop(world):
    r, k, retired = 4, 3, []
    outfits = [[0, 7], [9, 4], [20, 33]]
    latents = torch.from_numpy(np.random.default_rng(6).normal(size=(3, k, 9))).float()
    trace = rerank(latents, world.index, world.scorer, torch.tensor(outfits), r)
    for row, outfit in enumerate(outfits):
        cosine = (torch.nn.functional.normalize(latents[row], dim=-1) @ world.index.vectors.T).numpy()
        unused = set(range(k))
        for step in range(k):
            allowed = world.allowed(outfit)
            lists = {j: sorted(allowed, key=lambda i: -cosine[j, i])[:r] for j in unused}
            best = max(set().union(*lists.values()), key=lambda i: world.logit([*outfit, i]))
            assert trace.chosen[row, step] == best
            retired.append(max((j for j in unused if best in lists[j]), key=lambda j: cosine[j, best]))
            unused.remove(retired[-1])
            outfit = [*outfit, best]
    assert retired != list(range(k)) * 3  # the order of the latents is not that of the steps


def test_rerank_of_the_whole_catalogue_is_greedy(world):
    outfits = torch.tensor([[0, 7], [9, 4]])
    latents = torch.from_numpy(np.random.default_rng(7).normal(size=(2, 2, 9))).float()
    trace = rerank(latents, world.index, world.scorer, outfits, ITEMS)
    np.testing.assert_array_equal(trace.chosen, greedy_k_step(world.query(outfits, 2)).chosen)


# All methods


@pytest.mark.parametrize("name", [name for name in UNCONDITIONED if name != "original"])
def test_every_method_returns_outfits_in_the_order_of_the_tasks(world, name):
    tasks, context = tasks_of(), context_with(world)
    completions = complete(call(name), tasks, context)
    assert keeps_outfit(tasks.given, completions.chosen, world.categories).all()
    for row in range(len(tasks)):  # alone or in a batch of other sizes: the same answer
        alone = complete(call(name), tasks.take([row]), context)
        assert alone.chosen.tolist() == completions.chosen[row : row + 1].tolist()
        if name == "gradient":
            assert completions.removed_ranks is None
        else:
            assert alone.removed_ranks.tolist() == completions.removed_ranks[row : row + 1].tolist()


@pytest.mark.parametrize("name", UNCONDITIONED)
def test_the_order_of_given_items_changes_no_method(world, name):
    context = context_with(world)
    turned = tasks_of([items[::-1] for items in GIVEN])
    completions = [complete(call(name), tasks, context) for tasks in (tasks_of(), turned)]
    assert completions[0].chosen.tolist() == completions[1].chosen.tolist()


def test_methods_count_their_calls(world):
    tasks, context = tasks_of(), context_with(world)
    for name in UNCONDITIONED:
        before = world.scorer.calls
        completions = complete(call(name), tasks, context)
        if name != "exhaustive":  # which ranks the removed items by further calls
            assert completions.calls.sum() == world.scorer.calls - before
        searching = ("exhaustive", "greedy_1", "greedy_k", "beam", "generator_rerank", "generator_beam")
        assert (completions.calls > 0).all() == (name.partition(":")[0] in searching or name.endswith("two_stage"))


def test_regenerated_candidates_are_near_latents_of_the_partial_outfit(world):
    tasks, context = tasks_of(), context_with(world)
    first = latent_shortlists(context.latents(tasks), context.index, 3)
    propose = regenerated_shortlists(first, tasks, context, 3)
    none, row, everything = OutfitConditions.none(2, CATEGORIES), 1, np.ones((2, CATEGORIES), dtype=np.bool_)
    at_first = [proposer(row, none, Hypothesis(), everything)[0].tolist() for proposer in (propose, first)]
    assert at_first[0] == at_first[1]
    chosen = Hypothesis(items=(20,), slots=(0,))
    items, mask = propose(row, none, chosen, everything & chosen.free(2)[:, None])
    latent = context.latents(replace(tasks.take([row]), given=[np.array([*GIVEN[row], 20])], missing=1))[0]
    nearest = np.argsort(-context.index.cosines(latent)[0], kind="stable")[:3]
    assert sorted(nearest.tolist()) == items.tolist()
    assert mask.tolist() == [[False] * 3, [True] * 3]


def test_original_returns_the_removed_items(world):
    completions = complete(call("original"), tasks_of(), context_with(world))
    assert completions.chosen.tolist() == REMOVED
    assert completions.removed_ranks is None


def test_scores_are_s_of_the_completed_outfits(world):
    completions = complete(call("greedy_k"), tasks_of(), context_with(world))
    expected = [1 / (1 + np.exp(-world.logit(items))) for items in completions.sets()]
    np.testing.assert_allclose(completions.step_scores[:, -1], expected, atol=1e-5)


def test_most_selected_is_the_same_for_all_as_far_as_the_rule_allows(world):
    selected = np.zeros(ITEMS, dtype=np.int64)
    selected[[8, 3, 15, 5]] = [9, 7, 7, 2]  # categories 2, 3, 3, 5
    context = world.context_of(selected=selected)
    tasks = tasks_of([[0, 1], [2, 0], [3, 0]], [[3, 15], [4, 1], [8, 6]])
    completions = complete(call("most_selected"), tasks, context)
    assert completions.chosen.tolist() == [[8, 3], [3, 5], [8, 5]]
    assert completions.removed_ranks[0].tolist() == [1, 2]
    assert completions.removed_ranks[2].tolist() == [0, UNRANKED]


def test_random_depends_on_seed_and_outfit_only(world):
    tasks = tasks_of([[0, 7]] * 40, [[2, 3]] * 40)
    first, again = (complete(call("random"), tasks, world.context_of(seed=3)) for _ in range(2))
    other = complete(call("random"), tasks, world.context_of(seed=4))
    assert first.chosen.tolist() == again.chosen.tolist() != other.chosen.tolist()
    assert len(np.unique(first.chosen)) > 20
    assert set(world.categories[first.chosen].ravel()) == {2, 3, 4, 5}


def test_what_a_method_lacks_is_named_with_the_way_out(world):
    bare = world.context_of()
    stages = {"greedy_k": "compatibility", "generator": "generator", "most_selected": "targets"}
    for name, stage in stages.items():
        with pytest.raises(ArtifactError, match=rf"stages=\[{stage}\]"):
            complete(call(name), tasks_of(), bare)
    with pytest.raises(ConfigError, match="most_similar needs texts of conditions"):
        complete(call("most_similar"), tasks_of(), context_with(world))
    with pytest.raises(ValueError, match="'best' is not one of original"):
        call("best")
