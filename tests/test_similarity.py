"""Similarities of items and outfits: the ranges and identities that the spec asks for."""

from itertools import permutations

import numpy as np
import pytest
import torch

from outfits.data.catalogue import ItemEmbeddings
from outfits.models.similarity import TextSimilarity, item_similarity, outfit_embeddings
from tests.tiny_world import IMAGE, TEXT, World

MODALITIES = ["image", "text", "joint"]


@pytest.fixture(scope="module")
def world():
    world = World(24)
    vectors, present = world.vectors.copy(), world.present.copy()
    present[:4] = [[True, True], [True, False], [False, True], [False, False]]
    vectors[:, :IMAGE] *= present[:, :1]
    vectors[:, IMAGE:] *= present[:, 1:]
    world.features = ItemEmbeddings(vectors, present, IMAGE, TEXT)
    return world


@pytest.mark.parametrize("modality", MODALITIES)
def test_similarity_of_items_is_symmetric_and_within_its_range(world, modality):
    similarity = item_similarity(world.features, world.features, modality)
    assert similarity.shape == (24, 24)
    assert similarity.min() < -0.3
    assert np.abs(similarity).max() <= 1 + 1e-6
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_item_is_as_similar_to_itself_as_can_be_unless_there_is_nothing_to_compare(world, modality):
    own = np.diag(item_similarity(world.features, world.features, modality))
    image, text = world.features.present.T
    has_part = {"image": image, "text": text, "joint": image | text}[modality]
    assert not has_part.all()
    np.testing.assert_allclose(own, has_part.astype(float), atol=1e-6)


def test_joint_similarity_is_the_mean_over_the_parts_that_both_have(world):
    features = world.features
    joint = item_similarity(features, features)
    for one in range(8):
        for other in range(8):
            cosines = [
                float(getattr(features, part)[one] @ getattr(features, part)[other])
                for number, part in enumerate(("image", "text"))
                if features.present[one, number] and features.present[other, number]
            ]
            assert joint[one, other] == pytest.approx(np.mean(cosines) if cosines else 0, abs=1e-6)


def test_a_part_that_only_one_of_two_items_has_is_not_compared(world):
    image_only, text_only = world.features.take(np.array([1])), world.features.take(np.array([2]))
    assert item_similarity(image_only, text_only).tolist() == [[0]]


def test_items_of_other_encoders_and_unknown_modalities_are_refused(world):
    narrow = ItemEmbeddings(np.zeros((1, 4), np.float32), np.ones((1, 2), bool), 2, 2)
    with pytest.raises(ValueError, match="different encoders"):
        item_similarity(world.features, narrow)
    with pytest.raises(ValueError, match="modality"):
        item_similarity(world.features, world.features, "smell")


def unit(rows, seed=3):
    texts = np.random.default_rng(seed).normal(size=(rows, TEXT)).astype(np.float32)
    return texts / np.linalg.norm(texts, axis=1, keepdims=True)


def test_a_text_is_compared_with_the_text_part(world):
    texts = unit(3)
    similarity = TextSimilarity(world.features)(texts)
    expected = np.where(world.features.present[:, 1], texts @ world.features.text.T, 0)
    np.testing.assert_allclose(similarity, expected, atol=1e-6)


def test_the_own_text_of_an_item_is_most_similar_to_it_and_an_empty_one_to_none(world):
    row = int(np.flatnonzero(world.features.present[:, 1])[0])
    texts = np.stack([world.features.text[row], np.zeros(TEXT, np.float32)])
    similarity = TextSimilarity(world.features)(texts)
    assert similarity[0, row] == pytest.approx(1, abs=1e-6)
    assert similarity[0].argmax() == row
    assert not similarity[1].any()


def test_in_a_shared_space_a_text_is_compared_with_pictures_too():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(6, 2 * TEXT)).astype(np.float32)
    for part in (slice(TEXT), slice(TEXT, None)):
        vectors[:, part] /= np.linalg.norm(vectors[:, part], axis=1, keepdims=True)
    present = np.array([[True, True], [True, False], [False, True]] * 2)
    items = ItemEmbeddings(vectors, present, TEXT, TEXT, shared_space=True)
    text = unit(1)
    cosines = np.stack([vectors[:, :TEXT] @ text[0], vectors[:, TEXT:] @ text[0]], axis=1)
    expected = np.array([row[has].mean() for row, has in zip(cosines, present, strict=True)])
    np.testing.assert_allclose(TextSimilarity(items)(text)[0], expected, atol=1e-6)


def test_similarity_to_a_text_does_not_depend_on_the_texts_beside_it(world):
    texts, similarity = unit(5), TextSimilarity(world.features)
    together = similarity(texts)
    for row in range(5):
        np.testing.assert_array_equal(similarity(texts[row : row + 1])[0], together[row])


def outfits_of(world, sets):
    return [world.features.take(np.array(items)) for items in sets]


def test_similarity_of_outfits_is_symmetric_within_its_range_and_1_on_equal_ones(world):
    outfits = outfits_of(world, [[0, 7, 14], [1, 2], [9, 4, 11, 20], [5]])
    embedded = outfit_embeddings(world.module, outfits)
    similarity = (embedded @ embedded.T).numpy()
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-6)
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)
    assert np.abs(similarity).max() <= 1 + 1e-6
    assert similarity[~np.eye(4, dtype=bool)].max() < 0.9999


def test_an_outfit_is_a_set_to_its_similarity(world):
    first, *others = (outfit_embeddings(world.module, outfits_of(world, [o])) for o in permutations([3, 9, 16, 20]))
    assert all(torch.equal(first, other) for other in others)


def test_outfits_of_all_sizes_are_embedded_together_as_alone(world):
    outfits = outfits_of(world, [[0, 7], [5], [1, 2], [9, 4, 11], [3, 8], [6]])
    alone = torch.cat([outfit_embeddings(world.module, [outfit]) for outfit in outfits])
    assert torch.equal(outfit_embeddings(world.module, outfits), alone)
    for block in (2, 100):
        torch.testing.assert_close(outfit_embeddings(world.module, outfits, block), alone)


def test_an_empty_outfit_is_refused(world):
    with pytest.raises(ValueError, match="not empty"):
        outfit_embeddings(world.module, [world.features.take(np.array([], int))])
