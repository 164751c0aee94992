"""Generation from a text, against plain enumeration of all outfits of a tiny catalogue."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import expit

from outfits.completion.context import MethodContext
from outfits.completion.generation import generate, generate_with_generator
from outfits.config.schema.model import GeneratorArchitecture
from outfits.data.category_rule import is_outfit
from outfits.errors import ArtifactError, DataError
from outfits.models.generator import Generator
from tests.tiny_world import CATEGORIES, IMAGE, TEXT, World, call

WHOLE = 10**6
ITEMS = 24


@pytest.fixture(scope="module")
def world():
    return World(ITEMS)


@pytest.fixture(scope="module")
def text():
    vector = np.random.default_rng(4).normal(size=TEXT).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def similarity(world, text):
    return world.similarity(text[None])[0]


def enumerated(world, similarity, sizes, alpha):
    """Objective and items of every outfit of these sizes, best first."""
    found = []
    for size in sizes:
        for items in combinations(range(ITEMS), size):
            if is_outfit(world.categories[list(items)]):
                score = 1.0 if size == 1 else float(expit(world.logit(items)))
                found.append((alpha * score + (1 - alpha) * float(similarity[list(items)].sum()), items))
    return sorted(found, key=lambda pair: -pair[0])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("size", [None, 2, 3])
def test_a_beam_of_full_width_is_plain_enumeration(world, similarity, size, alpha):
    generation = generate(world.scorer, similarity, 3, size=size, alpha=alpha, width=WHOLE, top=5)
    expected = enumerated(world, similarity, [size] if size else [1, 2, 3], alpha)
    found = [outfit.objective for outfit in generation.outfits]
    np.testing.assert_allclose(found, [value for value, _ in expected[:5]], atol=1e-5)
    if expected[0][0] > expected[1][0] + 1e-4:
        assert sorted(generation.outfits[0].items) == list(expected[0][1])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_an_outfit_of_size_1_is_the_item_most_similar_to_the_text(world, similarity, alpha):
    nearest = np.argsort(-similarity, kind="stable")[:7].tolist()
    generation = generate(world.scorer, similarity, 5, size=1, alpha=alpha, width=2, top=7)
    assert [list(outfit.items) for outfit in generation.outfits] == [[item] for item in nearest]
    assert generation.calls == 0


def test_with_the_text_alone_the_most_similar_items_of_different_categories_come_together(world, similarity):
    ((best,), _) = vars(generate(world.scorer, similarity, CATEGORIES, alpha=0, width=1)).values()
    favourites = [similarity[world.categories == category].max() for category in range(CATEGORIES)]
    positive = [value for value in favourites if value > 0]
    assert best.similarity == pytest.approx(sum(positive), abs=1e-5)
    assert best.objective == pytest.approx(best.similarity)
    assert len(best.items) == len(positive)


def test_with_s_alone_no_outfit_beats_a_single_item(world, similarity):
    assert [len(o.items) for o in generate(world.scorer, similarity, 4, alpha=1, width=3).outfits] == [1]


def test_a_wider_beam_finds_nothing_worse_at_its_start_and_everything_at_its_end(world, similarity):
    narrow, wide = (
        generate(world.scorer, similarity, 3, size=3, alpha=0.8, width=width).outfits[0].objective
        for width in (1, WHOLE)
    )
    assert narrow <= wide


def test_every_generated_outfit_keeps_the_rule_and_says_what_it_is_worth(world, similarity):
    generation = generate(world.scorer, similarity, 10, alpha=0.6, width=3, top=12)
    assert len(generation.outfits) == 12
    assert {len(outfit.items) for outfit in generation.outfits} <= set(range(1, CATEGORIES + 1))
    assert len({frozenset(outfit.items) for outfit in generation.outfits}) == 12
    for outfit in generation.outfits:
        assert is_outfit(world.categories[list(outfit.items)])
        score = 1.0 if len(outfit.items) == 1 else expit(world.logit(outfit.items))
        assert outfit.score == pytest.approx(score, abs=1e-5)
        assert outfit.similarity == pytest.approx(similarity[list(outfit.items)].sum(), abs=1e-5)
        assert outfit.objective == pytest.approx(0.6 * outfit.score + 0.4 * outfit.similarity, abs=1e-6)
    objectives = [outfit.objective for outfit in generation.outfits]
    assert objectives == sorted(objectives, reverse=True)


def test_calls_are_counted(world, similarity):
    before = world.scorer.calls
    generation = generate(world.scorer, similarity, 3, width=2)
    assert generation.calls == world.scorer.calls - before
    assert 0 < generation.calls <= 2 * 2 * ITEMS


def test_more_items_than_categories_are_refused_with_the_way_out(world, similarity):
    with pytest.raises(DataError, match=f"at most {CATEGORIES}"):
        generate(world.scorer, similarity, 3, size=CATEGORIES + 1)
    with pytest.raises(ValueError, match="at least 1"):
        generate(world.scorer, similarity, 0)


@pytest.fixture
def context(world):
    """A generator of random weights, which heeds conditions and emits at most two items at once."""
    torch.manual_seed(1)
    model = Generator(
        GeneratorArchitecture(k_max=2, width=16, layers=1, retrieval="item"), IMAGE, TEXT, CATEGORIES
    ).eval()
    context = world.context_of(scorer_module=world.module, generator=model)
    context.scorer = world.scorer
    return context


@pytest.mark.parametrize("method", ["generator", "generator_rerank", "generator_beam"])
@pytest.mark.parametrize("size", [None, 1, 2, 3, 5])
def test_the_generator_starts_from_the_best_matching_item(world, context, text, similarity, method, size):
    generation = generate_with_generator(call(method), context, text, 6, size=size, alpha=0.5, top=10)
    assert sorted(len(outfit.items) for outfit in generation.outfits) == ([size] if size else [1, 2, 3, 4, 5, 6])
    for outfit in generation.outfits:
        assert outfit.items[0] == similarity.argmax()
        assert is_outfit(world.categories[list(outfit.items)])
        score = 1.0 if len(outfit.items) == 1 else expit(world.logit(outfit.items))
        total = 0.5 * score + 0.5 * similarity[list(outfit.items)].sum()
        assert outfit.objective == pytest.approx(total, abs=1e-5)
    objectives = [outfit.objective for outfit in generation.outfits]
    assert objectives == sorted(objectives, reverse=True)


def test_the_generators_size_is_the_best_of_those_it_can_make(context, text):
    every = [generate_with_generator(call("generator"), context, text, 6, size=size).outfits[0] for size in range(1, 7)]
    (best,) = generate_with_generator(call("generator"), context, text, 6).outfits
    assert best.objective == max(outfit.objective for outfit in every)
    assert best in every


def test_the_text_is_the_condition_for_every_missing_item(context, text):
    seen = []

    def latents(tasks):
        seen.append((len(tasks.given[0]), tasks.conditions.texts.copy()))
        return MethodContext.latents(context, tasks)

    context.latents = latents
    generate_with_generator(call("generator"), context, text, 4, size=4)
    assert [given for given, _ in seen] == [1, 3]  # one full pass, and the rest from the outfit that it made
    for _, texts in seen:
        assert (texts == text).all()


def test_generation_without_a_generator_says_what_is_missing(world, text):
    with pytest.raises(ArtifactError, match="generator"):
        generate_with_generator(call("generator"), world.context_of(scorer_module=world.module), text, 3)
