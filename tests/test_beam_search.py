"""Beam and exhaustive search, with conditions and external, against plain enumeration of a tiny catalogue."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.special import expit

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Conditions, conditions_of_items
from outfits.completion.search.beam import beam_search, extend
from outfits.completion.search.exhaustive import exhaustive_search
from outfits.completion.search.expansion import Expansions, Hypothesis, SearchQuery
from outfits.completion.search.greedy import greedy_k_step, greedy_one_step
from outfits.data.category_rule import feasible_categories, keeps_outfit
from outfits.errors import ConfigError, DataError
from tests.tiny_world import CATEGORIES, IMAGE, TEXT, World

OUTFITS = [[0, 7], [9, 4], [20, 27]]
WHOLE = 10**6


@pytest.fixture(scope="module")
def world():
    return World(30)


def conditions_for(world, k, kind, alpha=0.5):
    """Conditions that differ: categories in a chain that greedy choices can make impossible, and texts."""
    rng = np.random.default_rng(k)
    conditions = Conditions.none(len(OUTFITS), k, CATEGORIES, TEXT, alpha)
    if "categories" in kind:
        conditions.allowed[:] = False
        for slot in range(k):
            conditions.allowed[:, slot, 1 : 4 + slot] = True
    if "texts" in kind:
        texts = rng.normal(size=(len(OUTFITS), k, TEXT)).astype(np.float32)
        conditions.texts[:] = texts / np.linalg.norm(texts, axis=2, keepdims=True)
        conditions.texts[0, 0] = 0  # one empty text
    return conditions


def best_by_enumeration(world, outfit, k, conditions=None, row=0):
    """Value and items, in the order of the conditions, of the best completion among all."""
    best = (-np.inf, None)
    for items in combinations(world.allowed(outfit), k):
        if len(set(world.categories[list(items)])) < k:
            continue
        logit = world.logit([*outfit, *items])
        for order in permutations(items):
            value = logit
            if conditions is not None:
                if not conditions.allowed[row][np.arange(k), world.categories[list(order)]].all():
                    continue
                if conditions.has_text[row].any():
                    texts = sum(
                        float(conditions.texts[row, slot] @ world.vectors[item, IMAGE:]) * world.present[item, 1]
                        for slot, item in enumerate(order)
                    )
                    value = conditions.alpha * expit(logit) + (1 - conditions.alpha) * texts
            if value > best[0] + 1e-9:
                best = (value, order)
    return best


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("kind", [None, "categories", "texts", "categories_texts"])
def test_beam_of_width_one_is_k_step_greedy(world, k, kind):
    outfits = torch.tensor(OUTFITS)
    conditions = None if kind is None else conditions_for(world, k, kind)
    removed = np.array([[2, 3, 5]] * 3)[:, :k]
    arguments = {"conditions": conditions, "similarity": world.similarity, "rank_of": removed}
    greedy = greedy_k_step(world.query(outfits, k, candidates_kept=6, **arguments))
    beam = beam_search(world.query(outfits, k, candidates_kept=6, **arguments), 1)
    for name, value in vars(greedy).items():
        np.testing.assert_array_equal(getattr(beam, name), value, err_msg=name)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("kind", [None, "categories", "texts", "categories_texts"])
def test_beam_of_full_width_and_exhaustive_search_are_plain_enumeration(world, k, kind):
    outfits = torch.tensor(OUTFITS)
    conditions = None if kind is None else conditions_for(world, k, kind)
    arguments = {"conditions": conditions, "similarity": world.similarity}
    beam = beam_search(world.query(outfits, k, **arguments), WHOLE)
    exhaustive = exhaustive_search(world.query(outfits, k, **arguments), WHOLE)
    for row, outfit in enumerate(OUTFITS):
        _, best = best_by_enumeration(world, outfit, k, conditions, row)
        for trace in (beam, exhaustive):
            found = trace.by_condition[row]
            assert sorted(found.tolist()) == sorted(best)
            if kind is not None:
                assert conditions.allowed[row][np.arange(k), world.categories[found]].all()
            if kind is not None and "texts" in kind:  # without texts several orders of the same items are as good
                assert found.tolist() == list(best)
        assert beam.logits[row, -1] == pytest.approx(world.logit([*outfit, *best]), abs=1e-5)
        assert exhaustive.logits[row, -1] == pytest.approx(world.logit([*outfit, *best]), abs=1e-5)


def test_a_full_beam_of_three_items_is_exhaustive_search(world):
    outfits = torch.tensor(OUTFITS[:1])
    wide = beam_search(world.query(outfits, 3), WHOLE)
    exact = exhaustive_search(world.query(outfits, 3), WHOLE)
    assert sorted(wide.chosen[0].tolist()) == exact.chosen[0].tolist()


def test_every_search_reaches_at_most_the_exact_optimum_and_wider_beams_find_no_less_here(world):
    outfits = torch.tensor(OUTFITS)
    exact = exhaustive_search(world.query(outfits, 2), WHOLE).logits[:, -1]
    reached = [beam_search(world.query(outfits, 2), width).logits[:, -1] for width in (1, 2, 4, 16, WHOLE)]
    assert all((values <= exact + 1e-5).all() for values in reached)
    # for k = 2 the second step scores every partner of each partial outfit, and a wider beam keeps the narrower's
    assert all((wide >= narrow - 1e-5).all() for narrow, wide in zip(reached, reached[1:], strict=False))


def test_searches_count_exactly_the_sets_that_s_scored(world):
    outfits = torch.tensor(OUTFITS)
    for search in (
        lambda: beam_search(world.query(outfits, 3), 4),
        lambda: exhaustive_search(world.query(outfits, 2), WHOLE),
        lambda: greedy_k_step(world.query(outfits, 2, conditions=conditions_for(world, 2, "categories"))),
    ):
        before = world.scorer.calls
        assert search().calls.sum() == world.scorer.calls - before
    calls = beam_search(world.query(outfits, 3), 4).calls
    assert (calls <= (1 + 2 * 4) * len(world.categories)).all()


def test_an_item_that_answers_several_like_conditions_takes_one_place_of_the_beam():
    items, slots = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    values = np.repeat(np.array([4.0, 3.0, 2.0, 1.0]), 3)
    expansions = Expansions(items, slots, values, values.astype(np.float32), np.zeros(12, dtype=np.float32))
    kept = extend([Hypothesis()], [expansions], np.zeros(3, dtype=np.int64), 3)
    assert [partial.items for partial in kept] == [(0,), (1,), (2,)]
    apart = extend([Hypothesis()], [expansions], np.arange(3), 3)
    assert [partial.items for partial in apart] == [(0,), (0,), (0,)]


def test_alternatives_are_the_best_completions_best_first(world):
    outfits = torch.tensor(OUTFITS[:1])
    found = exhaustive_search(world.query(outfits, 2, alternatives=5), WHOLE).alternatives[0]
    logit = [world.logit([*OUTFITS[0], *items]) for items in found]
    assert sorted(logit, reverse=True) == logit
    every = sorted(
        (
            world.logit([*OUTFITS[0], *items])
            for items in combinations(world.allowed(OUTFITS[0]), 2)
            if len(set(world.categories[list(items)])) == 2
        ),
        reverse=True,
    )
    np.testing.assert_allclose(logit, every[:5], atol=1e-5)
    wide = beam_search(world.query(outfits, 2, alternatives=5), WHOLE).alternatives[0]
    assert [sorted(items) for items in wide.tolist()] == [sorted(items) for items in found.tolist()]
    greedy = greedy_k_step(world.query(outfits, 2, alternatives=3))
    assert greedy.alternatives[0, 0].tolist() == greedy.chosen[0].tolist()
    assert len({tuple(items) for items in greedy.alternatives[0].tolist()}) == 3


def test_exhaustive_search_refuses_to_start_and_says_how_many_calls_it_needs(world):
    needed = int(exhaustive_search(world.query(OUTFITS[:1], 2), WHOLE).calls[0])
    assert needed == sum(
        len(set(world.categories[list(items)])) == 2 for items in combinations(world.allowed(OUTFITS[0]), 2)
    )
    before = world.scorer.calls
    with pytest.raises(ConfigError, match=f"needs {needed:,} calls of S, more than {needed - 1:,}"):
        exhaustive_search(world.query(OUTFITS[:1], 2), needed - 1)
    assert world.scorer.calls == before


# Conditions


def test_conditioned_categories_are_kept_even_where_the_best_first_item_would_leave_none(world):
    conditions = Conditions.none(1, 2, CATEGORIES, TEXT)
    conditions.allowed[0, 0] = np.isin(np.arange(CATEGORIES), [2, 3])
    conditions.allowed[0, 1] = np.arange(CATEGORIES) == 2
    feasible = feasible_categories(conditions.allowed[0], np.ones(2, dtype=bool), np.ones(CATEGORIES, dtype=bool))
    assert np.flatnonzero(feasible[0]).tolist() == [3]
    for search in (greedy_k_step, greedy_one_step):
        chosen = search(world.query([[0, 7]], 2, conditions=conditions)).by_condition
        assert world.categories[chosen[0]].tolist() == [3, 2]


def test_conditions_that_no_completion_can_meet_are_named(world):
    conditions = Conditions.none(1, 2, CATEGORIES, TEXT)
    conditions.allowed[:] = np.arange(CATEGORIES) == 2
    taken = Conditions.none(1, 1, CATEGORIES, TEXT)
    taken.allowed[:] = np.arange(CATEGORIES) == 0  # the category of a given item
    for search in (
        lambda conditions: greedy_k_step(world.query([[0, 7]], conditions.k, conditions=conditions)),
        lambda conditions: greedy_one_step(world.query([[0, 7]], conditions.k, conditions=conditions)),
        lambda conditions: beam_search(world.query([[0, 7]], conditions.k, conditions=conditions), 3),
        lambda conditions: exhaustive_search(world.query([[0, 7]], conditions.k, conditions=conditions), WHOLE),
    ):
        for asked in (conditions, taken):
            with pytest.raises(DataError, match="allowed categories leave missing item 1 none"):
                search(asked)


@pytest.mark.parametrize("k", [1, 2])
def test_alpha_one_ignores_texts_and_alpha_zero_heeds_nothing_else(world, k):
    outfits = torch.tensor(OUTFITS)
    plain = greedy_k_step(world.query(outfits, k))
    only_s = greedy_k_step(
        world.query(outfits, k, conditions=conditions_for(world, k, "texts", alpha=1.0), similarity=world.similarity)
    )
    assert np.sort(only_s.chosen).tolist() == np.sort(plain.chosen).tolist()
    conditions = conditions_for(world, 1, "texts", alpha=0.0)
    conditions = conditions.take(slice(1, 3))
    only_text = greedy_k_step(world.query(outfits[1:], 1, conditions=conditions, similarity=world.similarity))
    for row, outfit in enumerate(OUTFITS[1:]):
        nearest = max(world.allowed(outfit), key=lambda item: world.similarity(conditions.texts[row])[0, item])
        assert only_text.chosen[row].tolist() == [nearest]


def test_without_a_text_the_alpha_does_not_matter(world):
    for alpha in (0.0, 1.0):
        conditions = Conditions.none(1, 2, CATEGORIES, TEXT, alpha)
        chosen = greedy_k_step(world.query([[0, 7]], 2, conditions=conditions)).chosen
        assert chosen.tolist() == greedy_k_step(world.query([[0, 7]], 2)).chosen.tolist()


def test_ranks_under_conditions_are_places_among_what_each_condition_allows(world):
    removed = np.array([[3, 8]])
    conditions = conditions_of_items("categories", removed, world.categories, CATEGORIES, world.features, 0.5)
    trace = greedy_k_step(world.query([[0, 7]], 2, rank_of=removed, conditions=conditions))
    for number, item in enumerate(removed[0]):
        same = [i for i in range(len(world.categories)) if world.categories[i] == world.categories[item]]
        ranking = sorted(same, key=lambda i: -world.logit([0, 7, i]))
        assert trace.ranks[0, number] == ranking.index(item)
    elsewhere = greedy_k_step(world.query([[0, 7]], 2, rank_of=removed[:, ::-1], conditions=conditions))
    assert elsewhere.ranks.tolist() == [[UNRANKED, UNRANKED]]
    assert world.categories[trace.by_condition[0]].tolist() == world.categories[removed[0]].tolist()


def test_conditions_of_items_describe_them(world):
    items = np.array([[3, 8], [1, 2]])
    conditions = conditions_of_items("categories_texts", items, world.categories, CATEGORIES, world.features, 0.3)
    assert (conditions.allowed.argmax(axis=2) == world.categories[items]).all()
    assert (conditions.allowed.sum(axis=2) == 1).all()
    np.testing.assert_allclose(np.linalg.norm(conditions.texts, axis=2), world.present[items][:, :, 1], atol=1e-5)
    assert conditions_of_items("texts", items, world.categories, CATEGORIES, world.features, 0.3).allowed.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.5}, "alpha must lie"),
        ({"allowed": np.zeros((1, 2, CATEGORIES), dtype=bool)}, "no category at all"),
        ({"texts": np.full((1, 2, TEXT), 2, dtype=np.float32)}, "unit length"),
        ({"texts": np.zeros((1, 3, TEXT), dtype=np.float32)}, "do not fit"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(change, message):
    fields = {
        "allowed": np.ones((1, 2, CATEGORIES), dtype=bool),
        "texts": np.zeros((1, 2, TEXT), dtype=np.float32),
        "alpha": 0.5,
    }
    with pytest.raises(ValueError, match=message):
        Conditions(**(fields | change))


# External items


def test_an_external_item_stands_in_outfits_and_is_never_chosen(world):
    external = slice(3, 5)  # two items of the catalogue, as if they were a person's own
    hosting = world.scorer.with_external(world.vectors[external], world.present[external], world.categories[external])
    size = len(world.scorer)
    as_external, as_items = torch.tensor([[0, size, size + 1]]), torch.tensor([[0, 3, 4]])
    assert torch.equal(
        hosting.addition_logits(as_external).isfinite(), world.scorer.addition_logits(as_items).isfinite()
    )
    torch.testing.assert_close(hosting.addition_logits(as_external), world.scorer.addition_logits(as_items))
    for search in (greedy_k_step, greedy_one_step):
        hosted = search(SearchQuery(hosting, as_external, 2))
        assert hosted.chosen.tolist() == search(world.query(as_items, 2)).chosen.tolist()
    exact = exhaustive_search(SearchQuery(hosting, as_external, 2), WHOLE)
    assert exact.chosen.tolist() == exhaustive_search(world.query(as_items, 2), WHOLE).chosen.tolist()
    assert keeps_outfit([np.array([0, 3, 4])], exact.chosen, world.categories).all()
    assert len(world.scorer.categories) == size  # the scorer without external is as it was
