"""Every method with conditions and external items: results answer the conditions, in their order."""

from dataclasses import replace

import numpy as np
import pytest

from outfits.completion.completion import UNRANKED
from outfits.completion.conditions import Conditions, conditions_of_items
from outfits.completion.from_latents.completion import complete_from_latents_and_texts, latent_shortlists
from outfits.completion.methods import complete
from outfits.completion.search.expansion import Hypothesis, OutfitConditions
from outfits.config.schema.methods import METHODS
from outfits.data.category_rule import keeps_outfit
from outfits.errors import DataError
from tests.tiny_world import (
    CATEGORIES,
    GIVEN,
    IMAGE,
    REMOVED,
    TEXT,
    World,
    call,
    context_with,
    latents_by_seed,
    tasks_of,
)

REGENERATED = "generator_beam:regenerate=true"
CHOOSING = [*(name for name in METHODS if name not in ("original", "most_similar")), REGENERATED]
SEEING_TEXTS = [
    "most_similar",
    "exhaustive", "greedy_1", "greedy_k", "beam", "gradient", "generator", "generator_rerank", "generator_beam",
    REGENERATED,
]  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return World()


def conditions(world, kind, alpha=0.5):
    tasks = tasks_of()
    return tasks.conditioned(
        conditions_of_items(kind, tasks.removed, world.categories, CATEGORIES, world.features, alpha)
    )


@pytest.mark.parametrize("name", CHOOSING)
def test_conditioned_categories_come_in_the_order_of_the_conditions(world, name):
    completions = complete(call(name), conditions(world, "categories"), context_with(world))
    assert world.categories[completions.chosen].tolist() == world.categories[np.array(REMOVED)].tolist()
    assert keeps_outfit(completions.tasks.given, completions.chosen, world.categories).all()


@pytest.mark.parametrize("name", [*CHOOSING, "most_similar"])
def test_neither_the_batch_nor_the_order_of_given_items_changes_a_completion_with_conditions(world, name):
    tasks, context = conditions(world, "categories_texts"), context_with(world)
    together = complete(call(name), tasks, context)
    turned = replace(tasks, given=[given[::-1] for given in tasks.given])
    assert complete(call(name), turned, context).chosen.tolist() == together.chosen.tolist()
    for row in range(len(tasks)):
        alone = complete(call(name), tasks.take([row]), context)
        assert alone.chosen[0].tolist() == together.chosen[row].tolist()


@pytest.mark.parametrize("name", SEEING_TEXTS)
def test_with_alpha_zero_the_described_items_come(world, name):
    """Each removed item's own text, and nothing else counts: no other item is as similar to it as itself."""
    given, removed = [[6, 13], [0, 8]], [[3, 4], [3, 5]]
    assert world.present[removed, 1].all()
    tasks = tasks_of(given, removed)
    conditions = conditions_of_items(
        "categories_texts", tasks.removed, world.categories, CATEGORIES, world.features, 0.0
    )
    completions = complete(call(name), tasks.conditioned(conditions), context_with(world))
    if name == "gradient":  # which moves the whole embedding, so the image part of its latents may decide
        assert world.categories[completions.chosen].tolist() == world.categories[np.array(removed)].tolist()
    else:
        assert completions.chosen.tolist() == removed
        assert name == "exhaustive" or completions.removed_ranks.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("name", CHOOSING)
def test_with_alpha_one_texts_change_nothing(world, name):
    with_texts, without = conditions(world, "categories_texts", alpha=1.0), conditions(world, "categories", alpha=1.0)
    chosen = [complete(call(name), tasks, context_with(world)).chosen.tolist() for tasks in (with_texts, without)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_texts_count_for_most_similar_whatever_their_weight_and_may_be_empty(world, alpha):
    tasks = conditions(world, "categories_texts", alpha)
    texts = tasks.conditions.texts.copy()
    texts[1] = 0  # as of removed items without a text
    bare = tasks.conditioned(replace(tasks.conditions, texts=texts)).take([1])
    expected, found, of_bare = (
        complete(call("most_similar"), some, context_with(world)).chosen
        for some in (conditions(world, "categories_texts"), tasks, bare)
    )
    assert found.tolist() == expected.tolist()
    assert world.categories[of_bare[0]].tolist() == [3, 5]


@pytest.mark.parametrize("name", CHOOSING)
def test_the_outfit_that_cannot_be_completed_is_named(world, name):
    given, removed = [[0, 7, 14], [0, 8], [1, 2, 3], [0, 7, 14, 21, 10]], [[3, 4], [3, 5], [4, 5], [5, 5]]
    with pytest.raises(DataError, match=r"^data error: outfit 3 of the batch: 2 items are missing, but only 1 categ"):
        complete(call(name), tasks_of(given, removed), context_with(world))


def test_a_condition_of_another_category_leaves_the_removed_item_unranked(world):
    tasks = conditions(world, "categories")
    turned = replace(tasks, conditions=Conditions(tasks.conditions.allowed[:, ::-1], tasks.conditions.texts))
    for name in ("random", "most_frequent", "greedy_k", "generator", "generator_rerank"):
        assert (complete(call(name), turned, context_with(world)).removed_ranks == UNRANKED).all()


@pytest.mark.parametrize("name", CHOOSING)
def test_impossible_conditions_are_named(world, name):
    tasks = tasks_of([[0, 7]], [[2, 3]])
    conditions = Conditions.none(1, 2, CATEGORIES, TEXT)
    conditions.allowed[:] = np.arange(CATEGORIES) == 2
    with pytest.raises(DataError, match="allowed categories leave missing item"):
        complete(call(name), tasks.conditioned(conditions), context_with(world))


@pytest.mark.parametrize("name", CHOOSING)
@pytest.mark.parametrize("kind", [None, "categories_texts"])
def test_items_of_ones_own_stand_in_the_outfit_and_are_never_chosen(world, name, kind):
    size, external = len(world.categories), [5, 3]
    tasks = tasks_of([[0, 7, size], [1, size + 1]], [[2, 4], [4, 2]])
    if kind is not None:
        conditions = conditions_of_items(kind, tasks.removed, world.categories, CATEGORIES, world.features, 0.5)
        tasks = tasks.conditioned(conditions)
    own = world.features.take(np.array(external))
    context = context_with(world).with_external(own, world.categories[external])
    completions = complete(call(name), tasks, context)
    assert (completions.chosen < size).all()
    assert keeps_outfit(tasks.given, completions.chosen, context.categories).all()


def test_nothing_removed_is_nothing_ranked(world):
    tasks = tasks_of(GIVEN, np.zeros((len(GIVEN), 0), dtype=np.int32))
    tasks = replace(tasks, missing=2, alternatives=3)
    for name in CHOOSING:
        completions = complete(call(name), tasks, context_with(world))
        assert completions.chosen.shape == (len(GIVEN), 2)
        if completions.alternatives is not None:
            assert completions.alternatives[:, 0].tolist() == completions.chosen.tolist()


def test_the_generators_choice_with_texts_is_the_best_of_all_pairs(world):
    tasks = conditions(world, "texts", alpha=0.4)
    latents = latents_by_seed(tasks)
    forbidden = np.stack([np.isin(np.arange(CATEGORIES), world.categories[given]) for given in tasks.given])
    chosen, ranks = complete_from_latents_and_texts(
        latents, world.index, forbidden, tasks.conditions, world.similarity, tasks.removed
    )
    cosine = (latents / latents.norm(dim=-1, keepdim=True)).numpy() @ world.index.vectors.numpy().T
    for row in range(len(tasks)):
        text = world.similarity(tasks.conditions.texts[row])
        value = np.where(tasks.conditions.has_text[row][:, None], 0.4 * cosine[row] + 0.6 * text, cosine[row])
        allowed = [item for item in range(len(world.categories)) if not forbidden[row, world.categories[item]]]
        pairs = [(a, b) for a in allowed for b in allowed if world.categories[a] != world.categories[b]]
        assert tuple(chosen[row]) == max(pairs, key=lambda pair: value[0, pair[0]] + value[1, pair[1]])
        for slot, item in enumerate(tasks.removed[row]):
            assert ranks[row, slot] == sum(value[slot, other] > value[slot, item] for other in allowed)


def test_shortlists_hold_what_is_near_the_latent_and_what_is_near_the_text(world):
    tasks = conditions(world, "texts").take([0])
    latents = latents_by_seed(tasks)
    feasible = np.broadcast_to(~np.isin(np.arange(CATEGORIES), world.categories[GIVEN[0]]), (2, CATEGORIES))
    conditions_of_first = OutfitConditions.of(tasks.conditions, 0, world.similarity)
    items, mask = latent_shortlists(latents, world.index, 4)(0, conditions_of_first, Hypothesis(), feasible)
    allowed = np.flatnonzero(feasible[0][world.categories])
    for slot in range(2):
        near_text = sorted(allowed, key=lambda i: -world.similarity(tasks.conditions.texts[0])[slot, i])[:2]
        cosine = world.index.vectors.numpy() @ latents[0, slot].numpy()
        near_latent = sorted(allowed, key=lambda i: -cosine[i])[:2]
        assert set(items[mask[slot]]) == {*near_text, *near_latent}


def test_texts_are_compared_with_pictures_where_the_encoder_has_one_space_for_both(world):
    from outfits.data.catalogue import ItemEmbeddings
    from outfits.models.similarity import TextSimilarity

    text = np.array([[1, 0]], dtype=np.float32)
    vectors = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=np.float32)
    present = np.array([[True, True], [True, True], [True, False]])
    apart = TextSimilarity(ItemEmbeddings(vectors, present, 2, 2))
    shared = TextSimilarity(ItemEmbeddings(vectors, present, 2, 2, shared_space=True))
    np.testing.assert_allclose(apart(text), [[1, 1, 0]])
    np.testing.assert_allclose(shared(text), [[0.5, 1, 1]])
    assert IMAGE != TEXT  # so that the worlds above could not mix the two up


def test_a_shortlist_of_everything_ranks_as_greedy_search_does(world):
    tasks = conditions(world, "texts", alpha=0.4)
    ranks = [
        complete(call(text), tasks, context_with(world)).removed_ranks.tolist()
        for text in ("greedy_k", f"generator_rerank:candidates={2 * len(world.categories)}")
    ]
    assert ranks[0] == ranks[1]
