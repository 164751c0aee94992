"""Data and metrics of the multi-task model: refinements, splits, batches of one task, recalls, captions."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.multitask import BatchMaker, FixedTaskBatches, MultitaskDataModule, MultitaskItems, Steps, TaskBatches
from lightning_modules.multitask import MultitaskModule
from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT, RETRIEVAL, SMALL, TASKS
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.refinements import (
    AttributeRefinements,
    GivenRefinements,
    Refinement,
    RefinementQuestion,
    attribute_texts,
    parse_differences,
)
from outfits.encoders.multitask.items import image_numbers, split_items
from outfits.encoders.packed import PackedImages
from outfits.errors import ConfigError, DataError
from outfits.metrics.captions import caption_measures, words_of
from outfits.metrics.multitask import Gallery, first_right, measure, recalls, refinement_ranks
from outfits.report.multitask.report import examples
from pipeline.multitask import Trainings, _trained_backbone
from tests.multitask_models import CONFIG, TEXTS, a_network, small_backbone, spoilt, stored

DIFFERENCES = {"colour": ["in {value}", "{value} instead of {reference}"], "pattern": ["with {value}"]}


def a_catalogue() -> Catalogue:
    """Two categories; item by item a colour and a pattern, the last one's unknown."""
    rows = [("red", "plain"), ("navy", "plain"), ("navy", "dots"), ("red", "dots"), ("red", "plain"), ("red", "")]
    categories = np.array([0, 0, 0, 1, 0, 0], dtype=np.int32)
    colours, patterns = zip(*rows, strict=True)
    texts = ["a red shirt", "navy wool trousers with dots", "", "in red", "a red shirt", "more casual"]
    attributes = {"colour": colours, "pattern": patterns}
    ids = [f"i{item}" for item in range(6)]
    return Catalogue(ids, categories, ["Shirts", "Bags"], texts, [None] * 6, attributes=attributes)


# Refinements


def test_refinements_differ_in_one_attribute_and_say_it() -> None:
    catalogue = a_catalogue()
    refinements = AttributeRefinements(catalogue, np.arange(6), DIFFERENCES)
    # item 3 is alone in its category, item 5 has an unknown pattern
    assert refinements.references == [0, 1, 2, 4]
    seen = set()
    for row, draw in np.ndindex(len(refinements), 40):
        reference, target, text = refinements.draw(row, np.random.default_rng([row, draw]))
        differing = [
            name for name in DIFFERENCES if catalogue.attributes[name][reference] != catalogue.attributes[name][target]
        ]
        (name,) = differing
        value, before = catalogue.attributes[name][target], catalogue.attributes[name][reference]
        assert text in [one.format(value=value, reference=before) for one in DIFFERENCES[name]]
        assert catalogue.categories[reference] == catalogue.categories[target]
        seen.add((reference, target))
    assert seen == {(0, 1), (1, 0), (1, 4), (1, 2), (2, 1), (4, 1)}


def test_every_item_with_the_wanted_attributes_is_right() -> None:
    questions = AttributeRefinements(a_catalogue(), np.arange(6), DIFFERENCES).questions(0)
    right = {(one.reference, tuple(sorted(one.right.tolist()))) for one in questions}
    assert right == {(0, (1,)), (1, (0, 4)), (1, (2,)), (2, (1,)), (4, (1,))}


@pytest.mark.parametrize(("captions", "texts"), [("joined", ["is red, has dots"]), ("single", ["is red", "has dots"])])
def test_given_captions_are_joined_or_asked_one_by_one(captions: str, texts: list[str]) -> None:
    given = GivenRefinements([Refinement(3, 1, ("is red", "has dots"))], captions)
    assert [one.text for one in given.questions(0)] == texts
    drawn = {given.draw(0, np.random.default_rng(seed))[2] for seed in range(20)}
    assert drawn == ({"is red, has dots", "has dots, is red"} if captions == "joined" else set(texts))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour", "is not 'ATTRIBUTE: text with {value}'"),
        ("colour: in red", "is not 'ATTRIBUTE: text with {value}'"),
        ("color: in {value}", "no attribute 'color'; did you mean colour"),
    ],
)
def test_differences_that_cannot_be_read_are_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_differences([line], a_catalogue())
    assert message.lower() in str(error.value).lower()


def test_a_vocabulary_has_every_word_of_a_refinement() -> None:
    words = " ".join(attribute_texts(DIFFERENCES, a_catalogue(), np.arange(6))).split()
    assert set(words) == {"in", "instead", "of", "with", "red", "navy", "plain", "dots"}
    learned = " ".join(attribute_texts(DIFFERENCES, a_catalogue(), np.array([0, 1]))).split()
    assert set(words) - set(learned) == {"dots"}, "of no training item"


# Splits of items


def test_an_image_is_in_one_split_alone() -> None:
    digests = [b"a", b"b", b"a", b"", b"", b"c\0"]
    numbers = image_numbers(digests)
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 5
    outfits = Outfits.from_lists(["o", "p", "q"], [[0, 1], [2, 3], [1, 4, 5]], [0, 1, 2])
    dataset = OutfitDataset("drawn", a_catalogue(), outfits, {}, {}, {}, {})
    usable = np.array([True, True, True, True, False, True])
    split = {name: items.tolist() for name, items in split_items(dataset, numbers, usable).items()}
    assert split == {"train": [0, 1], "valid": [3], "test": [5]}
    own = replace(dataset, item_splits={"train": np.array([4, 5]), "valid": np.array([0]), "test": np.array([1])})
    assert split_items(own, numbers, usable)["train"].tolist() == [5]


# Batches


def some_items(split: str = "train") -> MultitaskItems:
    catalogue = a_catalogue()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)
    images = PackedImages(pixels, np.ones(6, dtype=np.bool_))
    items = np.arange(6)
    refinements = AttributeRefinements(catalogue, items, DIFFERENCES)
    return MultitaskItems(
        images,
        np.array([0, 1, 2, 3, 0, 5]),
        catalogue.texts,
        catalogue.categories,
        {split: items},
        {split: refinements},
    )


def test_a_batch_has_one_task_by_data_size() -> None:
    batches = TaskBatches(BatchMaker(some_items(), small_backbone().tokens, "train", 0.5), TASKS, 2, seed=0)
    assert batches.sizes.tolist() == [5, 4, 6, 5]  # retrieval and captioning need a text
    assert len(batches) == 10
    counts = Counter(batches[(0, step, step)].task for step in range(600))
    for task, size in zip(TASKS, batches.sizes.tolist(), strict=True):
        assert counts[task] / 600 == pytest.approx(size / 20, abs=0.06)


def test_ranks_have_the_same_task_and_other_samples() -> None:
    batches = TaskBatches(BatchMaker(some_items(), small_backbone().tokens, "train", 0.5), TASKS, 2, seed=0)
    ranks = [list(Steps(len(batches), 0, rank, 2)) for rank in (0, 1)]
    assert sorted(number for rank in ranks for _, _, number in rank) == list(range(10))
    pairs = [(batches[first], batches[second]) for first, second in zip(*ranks, strict=True)]
    assert all(first.task == second.task for first, second in pairs)
    assert any(not torch.equal(first.images, second.images) for first, second in pairs)
    again, other = batches[ranks[0][0]], batches[(1, *ranks[0][0][1:])]
    assert torch.equal(again.images, pairs[0][0].images)
    assert again.task != other.task or not torch.equal(again.images, other.images)


def test_batches_hold_what_their_task_needs() -> None:
    items, tokens = some_items(), small_backbone().tokens
    make = BatchMaker(items, tokens, "train", 0.0)
    rng = np.random.default_rng(0)
    pixels = items.images.pixels
    retrieval = make(RETRIEVAL, [0, 2, 3], rng)
    assert (retrieval.images.numpy() == pixels[[0, 3, 4]]).all()
    assert retrieval.ids.tolist() == [0, 3, 0]
    assert retrieval.text_ids[0] == retrieval.text_ids[2]
    refinement = make(REFINEMENT, [0], rng)
    assert (refinement.images.numpy() == pixels[[0]]).all()
    assert (refinement.targets.numpy() == pixels[[1]]).all()
    recognition = make(RECOGNITION, [2, 3], rng)
    assert recognition.labels.tolist() == [0, 1]
    captioning = make(CAPTIONING, [0, 1], rng)
    assert captioning.labels.shape == (2, captioning.tokens.shape[1] - 1)
    without = BatchMaker(items, tokens, "train", 1.0)(RECOGNITION, [0, 1], rng)
    assert torch.equal(without.tokens, tokens(["", ""]))


def test_evaluation_has_every_sample_once() -> None:
    make = BatchMaker(some_items("valid"), small_backbone().tokens, "valid", 0.0)
    batches = FixedTaskBatches(make, TASKS, 4, seed=0)
    assert Counter(batches[place].task for place in range(len(batches))) == {
        RETRIEVAL: 2, REFINEMENT: 1, RECOGNITION: 2, CAPTIONING: 2,
    }  # fmt: skip
    assert sum(len(batches[place]) for place in range(len(batches))) == 20
    assert torch.equal(batches[2].tokens, batches[2].tokens)


def test_a_task_without_samples_is_named() -> None:
    items = some_items()
    nothing = replace(items, texts=[""] * 6)
    with pytest.raises(DataError, match="0 samples of the task retrieval; leave it out"):
        MultitaskDataModule(nothing, small_backbone().tokens, CONFIG).make_samples("train")


# Training module


@pytest.mark.parametrize(("backbone", "trained"), [("frozen", False), ("trained", True)])
def test_the_backbone_is_frozen_or_trained_slowly(backbone: str, trained: bool) -> None:
    config = replace(CONFIG, backbone=backbone)
    module = MultitaskModule(a_network, config)
    assert module.model.clip.visual.proj.requires_grad is trained
    assert module.model.log_scales[RETRIEVAL].requires_grad
    assert not module.model.clip.logit_scale.requires_grad


def test_teachers_are_in_no_checkpoint() -> None:
    teacher = spoilt(a_network(), seed=5)
    module = MultitaskModule(a_network, replace(CONFIG, distil=1.0), teachers={RETRIEVAL: teacher})
    assert not any(
        torch.equal(value, teacher.adapters["retrieval_image"][0].up.weight) for value in module.state_dict().values()
    )
    make = BatchMaker(some_items(), small_backbone().tokens, "train", 0.0)
    batch = make(RETRIEVAL, [0, 1, 2], np.random.default_rng(0))
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    torch.manual_seed(0)
    taught = module.training_step(batch, 0)
    module.teachers = ({},)
    torch.manual_seed(0)
    alone = module.training_step(batch, 0)
    assert taught > alone
    taught.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


# Metrics


def test_first_right_by_hand() -> None:
    scores = np.array([[0.9, 0.5, 0.7], [0.2, 0.2, 0.1], [0.1, 0.2, 0.3]])
    right = np.array([[False, True, False], [False, True, False], [True, False, True]])
    ranks = first_right(scores, right)
    assert ranks.tolist() == [2, 1, 0]
    assert recalls(ranks, (1, 2, 3), "x") == {"x_r@1": pytest.approx(1 / 3), "x_r@2": pytest.approx(2 / 3), "x_r@3": 1}


def test_galleries_of_refinements() -> None:
    """Five images; the question is about items 0 and 1, of category 0; item 4 is another image of item 3."""
    queries, targets = np.eye(5, dtype=np.float32)[[2]], np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]
    queries[0, [1, 3]] = 0.5, 0.7
    images = np.arange(4)
    gallery = Gallery(
        np.zeros((5, 1, 1, 3), np.uint8), np.array([0, 1, 2, 3, 3]), [""] * 5, np.array([0, 0, 0, 1, 1]), np.arange(5)
    )
    question = [RefinementQuestion(0, "in red", np.array([1]))]
    assert refinement_ranks(queries, targets, images, question, gallery, "split").tolist() == [2]
    assert refinement_ranks(queries, targets, images, question, gallery, "val").tolist() == [0]
    own = replace(gallery, by_category=True)
    assert refinement_ranks(queries, targets, images, question, own, "split").tolist() == [1]
    several = [RefinementQuestion(0, "in red", np.array([1, 4]))]
    assert refinement_ranks(queries, targets, images, several, gallery, "split").tolist() == [1]


@pytest.mark.parametrize(("categories", "found"), [([0, 0, 1, 0], 0.0), ([0, 0, 1, 1], 1.0)], ids=["both", "other"])
def test_an_image_of_two_categories_is_a_candidate_in_both(
    categories: list[int], found: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items 2 and 3 are one image, which is as near to the reference, item 0, as itself."""
    monkeypatch.setattr("outfits.metrics.multitask.REFINED_AT", (2,))
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    pixels[2:] = pixels[0]
    given = GivenRefinements([Refinement(0, 1, ("in red",))])
    gallery = Gallery(
        pixels, np.array([0, 1, 2, 2]), [""] * 4, np.array(categories), np.arange(4), given, by_category=True
    )
    assert measure(stored(a_network()), gallery, [REFINEMENT], 1, 0).values["image_alone_split_r@2"] == found


def test_all_tasks_are_measured() -> None:
    pytest.importorskip("pycocoevalcap")
    data = some_items("test")
    gallery = Gallery(
        data.images.pixels, data.image_ids, data.texts, data.categories, np.arange(6), data.refinements["test"]
    )
    found = measure(stored(spoilt(a_network())), gallery, TASKS, 2, 0)
    assert found.counts["image_to_text_r@1"] == 4  # items 0 and 4 are one image, item 2 has no text
    assert found.counts["text_to_image_r@1"] == 4
    assert found.counts["refined_split_r@10"] == 5
    assert found.values["image_to_text_r@10"] == found.values["refined_split_r@50"] == 1
    assert 0 <= found.values["image_alone_macro_f1"] <= 1
    assert found.counts["cider"] == 4
    untrained = measure(stored(a_network()), gallery, [REFINEMENT], 1, 0)
    for depth in (1, 10, 50):
        assert untrained.values[f"refined_split_r@{depth}"] == untrained.values[f"sum_split_r@{depth}"]


@pytest.mark.parametrize("by_category", [False, True])
def test_examples_search_what_is_measured_without_the_reference(by_category: bool) -> None:
    data, catalogue = some_items("test"), a_catalogue()
    given = GivenRefinements([Refinement(3, 2, ("in red",)), Refinement(0, 1, ("in red",))])
    gallery = Gallery(
        data.images.pixels, data.image_ids, data.texts, data.categories, np.arange(6), given, by_category=by_category
    )
    shown = examples(stored(spoilt(a_network())), gallery, catalogue, 1, 0).refinements
    assert [one.reference.item_id for one in shown] == ["i3", "i0"]
    found = [{item.item_id for item, _ in one.found} for one in shown]
    # item 4 has the image of item 0, item 3 is alone in its category
    assert found == (
        [set(), {"i1", "i2", "i5"}] if by_category else [{"i0", "i1", "i2", "i5"}, {"i1", "i2", "i3", "i5"}]
    )


# Places in the cache


def test_a_training_depends_on_the_content_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that differ as before, but are others."""
    folders: list[str] = []
    monkeypatch.setattr("pipeline.multitask.fit_into_cache", lambda run, folder, *_: folders.append(folder.name))
    config: Any = SimpleNamespace(seed=0, data=SimpleNamespace(num_workers=0))
    run: Any = SimpleNamespace(cache=tmp_path, config=config, training_facts=list, log=lambda *_: None)
    items, backbone = some_items(), small_backbone()
    items = replace(items, items={"train": np.arange(4), "valid": np.arange(4, 6)})
    for key in ("one", "other", "one"):
        images = replace(items.images, key=key)
        trainings = Trainings(run, replace(items, images=images), ["Shirts", "Bags"], backbone)
        trainings.file("multitask", CONFIG)
    assert folders[0] == folders[2] != folders[1]


def test_a_small_clip_cannot_learn_from_items_without_texts() -> None:
    items = replace(some_items(), texts=[""] * 6)
    run: Any = SimpleNamespace(config=SimpleNamespace(multitask=replace(CONFIG, model=SMALL)))
    with pytest.raises(ConfigError, match=r"multitask\.model: is small, .* the training split have none; name a pre"):
        _trained_backbone(run, small_backbone(), items, ["Shirts"], None)


def test_captions_equal_to_a_reference_are_best() -> None:
    pytest.importorskip("pycocoevalcap")
    references = [[text, "something else entirely"] for text in TEXTS]
    best = caption_measures(TEXTS, references)
    worse = caption_measures(TEXTS[1:] + TEXTS[:1], references)
    assert all(best[name] > worse[name] for name in best)
    assert best["rouge_l"] == pytest.approx(1)
    stems = caption_measures(["red shirts"], [["red shirt"]])
    assert stems["meteor"] > 0.5
    assert stems["bleu4"] < 0.1


def test_words_are_lower_case_without_signs() -> None:
    assert words_of("Alder & Finch T-shirt, women's!") == ["alder", "finch", "t-shirt", "women's"]
