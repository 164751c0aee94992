"""Compatibility and completion metrics against values by hand, plain loops and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from outfits.completion.completion import UNRANKED
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.dataset import FillInTheBlank, LabelledOutfit
from outfits.data.outfits import Outfits
from outfits.errors import DataError
from outfits.metrics.compatibility import (
    auc,
    fill_in_the_blank_accuracy,
    frequency_control,
    question_logits,
    set_logits,
)
from outfits.metrics.completion import by_category, distinct_share, recall_at
from outfits.metrics.questions import (
    LabelledSets,
    Questions,
    fill_in_the_blank_questions,
    official_labels,
    official_questions,
    replacement_negatives,
)
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer

ITEMS = 60


@pytest.fixture(scope="module")
def categories():
    categories = np.arange(ITEMS) % 5
    categories[-1] = 5  # a category with a single item
    categories[-3:-1] = 6  # one with two
    return categories


@pytest.fixture(scope="module")
def outfits():
    rng = np.random.default_rng(0)
    lists = [rng.choice(ITEMS, size=size, replace=False).tolist() for size in rng.integers(2, 7, size=150)]
    return Outfits.from_lists([str(i) for i in range(150)], lists, [2] * 150)


# AUC and accuracy


@pytest.mark.parametrize("scale", [0.5, 80.0])  # with 80, a sigmoid would make most logits equal
def test_auc_is_that_of_sklearn(scale):
    rng = np.random.default_rng(1)
    positive, negative = np.round(rng.normal(1, 1, 80), 1) * scale, np.round(rng.normal(0, 1, 50), 1) * scale
    expected = roc_auc_score(np.repeat([1, 0], [80, 50]), np.concatenate([positive, negative]))
    assert auc(positive, negative) == pytest.approx(expected, abs=1e-6)


def test_auc_by_hand():
    assert auc(np.array([3.0, 1.0]), np.array([2.0, 1.0])) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


@pytest.mark.parametrize(("positive", "negative"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0])])
def test_auc_of_nothing_or_nan_is_refused(positive, negative):
    with pytest.raises(ValueError, match=r"needs|finite"):
        auc(np.array(positive), np.array(negative))


def test_accuracy_counts_ties_against_the_model():
    logits = np.array([[3, 1, 2], [1, 3, 2], [2, 2, 1], [0, 1, 5], [4, -np.inf, 1]], dtype=np.float32)
    assert fill_in_the_blank_accuracy(logits, np.array([0, 0, 0, 2, 0])) == pytest.approx(3 / 5)
    assert fill_in_the_blank_accuracy(np.zeros((2, 4)), np.array([0, 3])) == 0
    with pytest.raises(ValueError, match="NaN"):
        fill_in_the_blank_accuracy(np.array([[np.nan, 1]]), np.array([0]))


def test_the_frequency_control_settles_ties_by_chance():
    occurrences = np.array([5, 2, 2, 0, 0, 7])
    answers = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 4, 3], [1, 5, 0, 2], [2, 3, -1, -1]])
    answers[2] = [3, 4, -1, -1]  # counts 0 and 0 with two answers missing
    questions = Questions([np.array([9])] * 5, answers, np.array([0, 0, 0, 0, 1]))
    assert frequency_control(questions, occurrences) == pytest.approx((1 + 1 / 2 + 1 / 2 + 0 + 0) / 5)


# Questions


@pytest.mark.parametrize("same_category", [False, True])
def test_a_negative_is_its_outfit_with_one_item_replaced(outfits, categories, same_category):
    sets = replacement_negatives(outfits, categories, 3, same_category=same_category)
    assert len(sets.positives) == len(sets.negatives) == len(outfits) - sets.left_out
    originals = [items.tolist() for items in outfits]
    for positive, negative in zip(sets.positives, sets.negatives, strict=True):
        assert positive.tolist() in originals
        changed = np.flatnonzero(positive != negative)
        assert len(changed) == 1
        assert negative[changed[0]] not in positive
        if same_category:
            assert categories[negative[changed[0]]] == categories[positive[changed[0]]]


def test_both_kinds_of_negative_replace_the_same_item(outfits, categories):
    random = replacement_negatives(outfits, categories, 3, same_category=False)
    same = replacement_negatives(outfits, categories, 3, same_category=True)
    assert random.left_out == 0 < same.left_out
    places = {tuple(p): np.flatnonzero(p != n)[0] for p, n in zip(random.positives, random.negatives, strict=True)}
    assert all(
        places[tuple(p)] == np.flatnonzero(p != n)[0] for p, n in zip(same.positives, same.negatives, strict=True)
    )


@pytest.mark.parametrize("same_category", [False, True])
def test_distractors_are_wrong_and_not_of_the_outfit(outfits, categories, same_category):
    questions = fill_in_the_blank_questions(outfits, categories, 3, 5, same_category=same_category)
    originals = [set(items.tolist()) for items in outfits]
    assert questions.answers.shape == (len(outfits) - questions.left_out, 4)
    for given, answers, correct in zip(questions.given, questions.answers, questions.correct, strict=True):
        outfit = {*given.tolist(), int(answers[correct])}
        assert outfit in originals
        assert len(set(answers)) == 4
        assert set(answers) & outfit == {answers[correct]}
        if same_category:
            assert len(set(categories[answers])) == 1


def test_answers_without_enough_distractors_are_left_out_and_counted():
    categories = np.array([0, 1, 2, 2])
    outfits = Outfits.from_lists(["a", "b", "c"], [[0, 1], [2, 3], [0]], [2] * 3)
    assert fill_in_the_blank_questions(outfits, categories, 1, 0, same_category=True).left_out == 3
    random = fill_in_the_blank_questions(outfits, categories, 1, 0, same_category=False)
    assert random.left_out == 1  # the single item has nothing to be asked beside
    assert fill_in_the_blank_questions(outfits, categories, 3, 0, same_category=False).answers.shape == (0, 4)


def test_questions_depend_on_seed_and_outfit_only(outfits, categories):
    questions = fill_in_the_blank_questions(outfits, categories, 3, 5, same_category=False)
    fewer = fill_in_the_blank_questions(outfits.take(range(20)), categories, 3, 5, same_category=False)
    other = fill_in_the_blank_questions(outfits, categories, 3, 6, same_category=False)
    assert fewer.answers.tolist() == questions.answers[:20].tolist() != other.answers[:20].tolist()


def test_official_questions_are_looked_up():
    positions = {"a": 0, "b": 1, "c": 2, "d": 3}
    fitb = [FillInTheBlank(("a", "b"), ("c", "d"), 1), FillInTheBlank(("d",), ("a", "b", "c"), 0)]
    questions = official_questions(fitb, positions)
    assert questions.answers.tolist() == [[2, 3, -1], [0, 1, 2]]
    assert questions.correct.tolist() == [1, 0]
    assert [items.tolist() for items in questions.given] == [[0, 1], [3]]
    fitb.append(FillInTheBlank(("a",), ("x", "b"), 0))
    with pytest.raises(DataError, match="official question 2: item 'x' is not in the catalogue"):
        official_questions(fitb, positions)


def test_official_labels_are_looked_up():
    positions = {"a": 0, "b": 1}
    labelled = [LabelledOutfit(("a", "b"), True), LabelledOutfit(("b",), False)]
    sets = official_labels(labelled, positions)
    assert [items.tolist() for items in sets.positives] == [[0, 1]]
    assert [items.tolist() for items in sets.negatives] == [[1]]
    with pytest.raises(DataError, match="official compatibility row 2"):
        official_labels([*labelled, LabelledOutfit(("x",), False)], positions)


def test_logits_of_questions_and_sets_are_those_of_the_plain_module(categories):
    torch.manual_seed(0)
    module = OutfitTransformer(ScorerArchitecture(width=8, layers=1, heads=2, feedforward=8), 4, 4).eval()
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    present = np.ones((ITEMS, 2), dtype=bool)
    scorer = CandidateScorer(module, vectors, present, categories, block=3)

    def logit(items):
        with torch.no_grad():
            return module(torch.from_numpy(vectors[items])[None], torch.from_numpy(present[items])[None]).item()

    questions = Questions([np.array([1, 2]), np.array([3])], np.array([[4, 5], [6, -1]]), np.array([0, 0]))
    expected = [[logit([1, 2, 4]), logit([1, 2, 5])], [logit([3, 6]), -np.inf]]
    np.testing.assert_allclose(question_logits(questions, scorer), expected, atol=1e-5)
    sets = LabelledSets([np.array([1, 2]), np.array([7])], [np.array([4, 5, 6])])
    positive, negative = set_logits(sets, scorer)
    np.testing.assert_allclose(positive, [logit([1, 2]), logit([7])], atol=1e-5)
    np.testing.assert_allclose(negative, [logit([4, 5, 6])], atol=1e-5)


# Completions


def test_recall_counts_unranked_items_as_missed():
    ranks = np.array([[0, 9], [10, UNRANKED], [49, 1]])
    assert [recall_at(ranks, n) for n in (1, 10, 50)] == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_recall_counts_negative_ranks_as_missed():
    assert recall_at(np.array([[0, -1], [-1, 3]]), 10) == 0.5


def test_figures_by_category_by_hand():
    categories = np.array([0, 0, 1, 2, 2])
    removed, chosen = np.array([[0, 2], [1, 2], [0, 1]]), np.array([[3, 0], [4, 3], [1, 2]])
    ranks = np.array([[0, 10], [9, -1], [50, 3]])
    found = by_category(categories, ["tops", "bags", "hats"], removed, chosen, np.array([0.2, 0.4, 0.9]), ranks)
    assert list(found) == ["tops", "bags", "hats"]
    # the third outfit lost two tops: its score counts once, its removals twice
    assert found["tops"] == {
        "removed": 4,
        "chosen": 2,
        "score_mean": pytest.approx((0.2 + 0.4 + 0.9) / 3),
        "recall_at_10": 3 / 4,
    }
    assert found["bags"] == {"removed": 2, "chosen": 1, "score_mean": pytest.approx(0.3), "recall_at_10": 0}
    assert found["hats"] == {"removed": 0, "chosen": 3, "score_mean": None, "recall_at_10": None}
    unranked = by_category(categories, ["tops", "bags", "hats"], removed, chosen, np.zeros(3), None)
    assert unranked["tops"]["recall_at_10"] is None


def test_distinct_share_by_hand():
    assert distinct_share(np.array([[1, 2], [1, 3]])) == 3 / 4
    assert distinct_share(np.array([[5, 6]] * 10)) == 2 / 20
    with pytest.raises(ValueError, match="at least one"):
        distinct_share(np.empty((0, 2)))
