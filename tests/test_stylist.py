"""The stylist on a run of untrained models: every answer against enumeration, and errors in one line."""

import doctest
import importlib
import pkgutil
import shutil
import subprocess
import sys
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import outfits.stylist
from outfits import Garment, Stylist, run_files
from outfits.config.load import load_config
from outfits.config.schema.encoder import EncoderConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.load import load_dataset
from outfits.encoders import EncoderSource
from outfits.encoders.images import item_image
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.naming import near
from outfits.stylist import export
from outfits.stylist.results import outfits_table
from pipeline.embeddings import embed_dataset
from pipeline.run import reopen_run
from tests.tiny_run import added_ids, make_run

METHODS = [
    "random",
    "most_frequent",
    "most_selected",
    "greedy_1",
    "greedy_k",
    "beam",
    "greedy_two_stage",
    "beam_two_stage",
    "retrieval",
    "gradient",
    "generator",
    "generator_rerank",
    "generator_beam",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run with its data and its cache; do not write into it."""
    root = tmp_path_factory.mktemp("stylist")
    make_run(root)
    return root


@pytest.fixture(scope="module")
def stylist(root):
    return Stylist.load(root / "run")


@pytest.fixture(scope="module")
def ids(stylist):
    """One item of each of five categories."""
    found = {}
    for item_id in stylist.item_ids:
        found.setdefault(stylist.item(item_id).category, item_id)
    return list(found.values())[:5]


@pytest.fixture(scope="module")
def own(stylist, ids):
    """A garment with the photo and the text of a catalogue item, and one with a text alone."""
    item = stylist.item(ids[1])
    return [
        Garment(item.category, item.text, item.image_path),
        Garment(stylist.item(ids[2]).category, "red cotton"),
    ]


def facts(outfits):
    return [(added_ids(outfit), outfit.score, outfit.objective, outfit.similarity) for outfit in outfits]


# Completing.


def test_the_best_addition_is_that_of_scoring_every_one(stylist, ids):
    given = ids[:3]
    taken = {stylist.item(item_id).category for item_id in given}
    others = [item_id for item_id in stylist.item_ids if stylist.item(item_id).category not in taken]
    scores = dict(zip(others, stylist.score_many([[*given, other] for other in others]), strict=True))
    best = sorted(scores, key=lambda item_id: -scores[item_id])
    completed = stylist.complete(given, k=1, method="greedy_k", top=4)
    assert [added_ids(outfit) for outfit in completed] == [[item_id] for item_id in best[:4]]
    for outfit in completed:
        assert outfit.score == outfit.objective == pytest.approx(scores[added_ids(outfit)[0]], abs=1e-6)
        assert [item.id for item in outfit.items] == [*given, *added_ids(outfit)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 3])
def test_every_method_completes_and_the_order_of_the_given_items_does_not_matter(stylist, ids, own, method, k):
    expected = None
    for given in permutations([ids[0], *own]):
        completed = stylist.complete(given, k, texts="black leather", categories=None, method=method, top=3)
        assert completed
        for outfit in completed:
            assert len(outfit.added) == k
            assert outfit.rule_kept
            assert outfit.given[0].category == (given[0].category if isinstance(given[0], Garment) else "Jackets")
            assert None not in [item.id for item in outfit.added]
        expected = facts(completed) if expected is None else expected
        assert facts(completed) == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_completes_every_outfit_as_it_would_alone(stylist, ids, own, method):
    outfits = [[ids[0]], [ids[1], own[1]], [ids[2], ids[3]], [ids[0], ids[3]]]
    texts = ["blue", None, ["", "wool"], None]
    together = stylist.complete_many(outfits, 2, texts=texts, method=method, top=2)
    for outfit, text, found in zip(outfits, texts, together, strict=True):
        alone = stylist.complete(outfit, 2, texts=text, method=method, top=2)
        assert [added_ids(o) for o in found] == [added_ids(o) for o in alone]
        np.testing.assert_allclose([o.objective for o in found], [o.objective for o in alone], atol=1e-6)


def test_conditioned_categories_are_those_of_the_added_items_in_their_order(stylist, ids):
    names = [stylist.item(item_id).category for item_id in ids[2:5]]
    for method in ("greedy_k", "beam", "generator", "generator_beam"):
        each = stylist.complete(ids[:2], 3, categories=[[names[1]], [names[0]], None], method=method)[0]
        assert [item.category for item in each.added[:2]] == [names[1], names[0]]
        one = stylist.complete(ids[:2], 2, categories=names, method=method)[0]
        assert {item.category for item in one.added} < set(names)


def test_the_objective_weighs_s_against_the_similarity_to_the_conditioned_texts(stylist, ids):
    texts = ["red wool", "black leather"]
    (outfit, *_) = stylist.complete(ids[:2], 2, texts=texts, alpha=0.3, method="beam")
    near = {text: {m.item.id: m.similarity for m in stylist.search(text, top=len(stylist))} for text in texts}
    similarity = sum(near[text][item_id] for text, item_id in zip(texts, added_ids(outfit), strict=True))
    assert outfit.similarity == pytest.approx(similarity, abs=1e-5)
    assert outfit.objective == pytest.approx(0.3 * outfit.score + 0.7 * similarity, abs=1e-5)
    assert outfit.score == pytest.approx(stylist.score([*ids[:2], *added_ids(outfit)]), abs=1e-6)


def test_with_alpha_0_the_conditioned_text_alone_decides_and_with_1_it_does_not_matter(stylist, ids):
    taken = [stylist.item(item_id).category for item_id in ids[:2]]
    open_to_all = [name for name in stylist.categories if name not in taken]
    nearest = stylist.search("red wool", top=1, categories=open_to_all)[0].item.id
    assert added_ids(stylist.complete(ids[:2], 1, texts="red wool", alpha=0, method="greedy_k")[0]) == [nearest]
    with_text = stylist.complete(ids[:2], 1, texts="red wool", alpha=1, method="greedy_k")[0]
    assert added_ids(with_text) == added_ids(stylist.complete(ids[:2], 1, method="greedy_k")[0])


def test_empty_texts_and_lists_are_no_condition(stylist, ids):
    plain = stylist.complete(ids[:2], 2, method="beam")
    assert facts(stylist.complete(ids[:2], 2, texts=["", " "], categories=[], method="beam")) == facts(plain)
    assert plain[0].similarity is None


def test_answers_differ_and_stand_best_first(stylist, ids):
    completed = stylist.complete(ids[:2], 2, method="beam:width=6", top=6)
    assert len({frozenset(added_ids(outfit)) for outfit in completed}) == 6
    assert [outfit.score for outfit in completed] == sorted((outfit.score for outfit in completed), reverse=True)


# Garments of one's own.


def test_a_garment_like_a_catalogue_item_is_embedded_like_it(stylist, ids, own):
    partial_outfit = stylist._parser.read([own[0]])
    position = stylist._parser.position(ids[1])
    features = stylist._run.catalogue.require_embeddings
    np.testing.assert_allclose(partial_outfit.external.vectors[0], features.vectors[position], atol=1e-5)
    assert partial_outfit.external.present[0].tolist() == features.present[position].tolist()
    assert stylist.score([ids[0], own[0]]) == pytest.approx(stylist.score(ids[:2]), abs=1e-5)
    assert stylist.similar(own[0], top=1)[0].similarity == pytest.approx(1, abs=1e-4)


def test_a_picture_in_memory_does_as_well_as_its_file(stylist, ids, tmp_path):
    category = stylist.item(ids[1]).category
    image = Image.new("RGBA", (20, 30), (200, 30, 30, 128))
    image.save(tmp_path / "own.png")
    from_file, in_memory = (
        stylist.score([ids[0], Garment(category, image=given)]) for given in (tmp_path / "own.png", image)
    )
    assert from_file == in_memory != stylist.score([ids[0], Garment(category, image=image.convert("RGB"))])


def test_a_large_photo_is_decoded_as_those_of_the_catalogue_are(stylist, ids, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, size=(900, 700, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.jpg", quality=95)
    category, encoder = stylist.item(ids[0]).category, stylist.encoder
    image = item_image(tmp_path / "large.jpg", "item", draft_size=encoder.image.draft_size)
    vectors, _ = encoder.encode([image], [""])
    partial_outfit = stylist._parser.read([Garment(category, image=str(tmp_path / "large.jpg"))])
    np.testing.assert_array_equal(partial_outfit.external.vectors, vectors)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_an_open_image_is_a_garment_as_its_file_is(stylist, ids, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(orientation).integers(0, 255, size=(60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((800, 600)).save(tmp_path / "turned.jpg", exif=exif)
    category, path = stylist.item(ids[0]).category, tmp_path / "turned.jpg"
    expected = stylist._parser.read([Garment(category, image=path)]).external.vectors
    with path.open("rb") as file, Image.open(path) as opened:
        for image in (str(path), path.read_bytes(), file, opened):
            vectors = stylist._parser.read([Garment(category, image=image)]).external.vectors
            np.testing.assert_array_equal(vectors, expected)


def test_names_are_found_in_whatever_form_they_are_typed(stylist, ids):
    item = stylist.item(ids[0])
    assert stylist.item(f"\u00a0{ids[0]} ") == item
    assert stylist._parser.category(f"{item.category}\u200b ") == stylist._parser.category(item.category)
    with pytest.raises(DataError, match="stands twice"):
        stylist.score([ids[0], f" {ids[0]}"])


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), 7, ["a.jpg"]], ids=["array", "number", "list"])
def test_a_garment_says_what_its_image_may_be(image):
    with pytest.raises(TypeError, match=r"is a path, bytes, a file .* or a Pillow image, not \w+$"):
        Garment("Hats", image=image)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"text": None}, "text is a text, not NoneType"),
        ({"text": b"red"}, "text is a text, not bytes"),
        ({"category": 3, "text": "red"}, "category is a text, not int"),
        ({"category": None, "text": "red"}, "category is a text, not NoneType"),
    ],
)
def test_a_garment_says_which_part_is_no_text(parts, said):
    with pytest.raises(TypeError, match=said):
        Garment(**{"category": "Hats", **parts})


@pytest.mark.parametrize("sequence", [tuple, np.array, pd.Series, iter, lambda ids: dict.fromkeys(ids).keys()])
def test_items_may_come_in_any_sequence(stylist, ids, sequence):
    assert stylist.score(sequence(ids[:3])) == stylist.score(ids[:3])
    assert added_ids(stylist.complete(sequence(ids[:2]), k=np.int64(1))[0])


@pytest.mark.parametrize("name", ["k", "top"])
@pytest.mark.parametrize("value", [2.0, "2", None, True, np.float32(1)])
def test_numbers_that_are_none_are_one_line(stylist, ids, name, value):
    with pytest.raises(TypeError, match=f"^{name} is a whole number, not "):
        stylist.complete(ids[:2], **{name: value})
    if name == "top":
        for call in (stylist.search, stylist.generate):
            with pytest.raises(TypeError, match="^top is a whole number, not "):
                call("red", top=value)
        for call in (stylist.similar, lambda item, top: stylist.similar_outfits([item], top)):
            with pytest.raises(TypeError, match="^top is a whole number, not "):
                call(ids[0], top=value)


@pytest.mark.parametrize("items", [7, None, [7], [None], [["a"]], [np.zeros((2, 2))]])
def test_items_that_are_none_are_one_line(stylist, items):
    with pytest.raises(
        TypeError, match="^(an outfit is a list of items|an item is the id of a catalogue item)"
    ) as caught:
        stylist.score(items)
    assert "\n" not in str(caught.value)


def test_texts_and_categories_that_are_none_are_one_line(stylist, ids):
    with pytest.raises(TypeError, match="^a text is expected, not int"):
        stylist.complete(ids[:2], 1, texts=[7])
    with pytest.raises(TypeError, match="^a text is expected, not float"):
        stylist.search(1.5)
    with pytest.raises(TypeError, match="^a category is the name of one, a text, not 7"):
        stylist.complete(ids[:2], 1, categories=[[7]])


def test_several_garments_stand_beside_the_given_items(stylist, ids, own):
    (outfit, *_) = stylist.complete([own[1], ids[0], own[0]], 2)
    assert [item.id for item in outfit.given] == [None, ids[0], None]
    assert outfit.given[0].text == "red cotton"
    assert outfit.given[2].image_path == own[0].image


def test_garments_that_cannot_be_used_are_one_line(stylist, ids, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    Image.effect_noise((90, 90), 50).save(tmp_path / "whole.jpg")
    (tmp_path / "whole.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    opened = Image.open(tmp_path / "whole.jpg")
    category = stylist.item(ids[0]).category
    errors = {
        "broken.jpg cannot be opened": Garment(category, image=tmp_path / "broken.jpg"),
        "there is no image": Garment(category, image=tmp_path / "none.jpg"),
        "whole.jpg cannot be opened .*truncated": Garment(category, image=opened),
        "in memory cannot be opened": Garment(category, image=b"no image"),
        "in memory cannot be opened .*floats": Garment(category, image=Image.new("F", (9, 9))),
        f"did you mean {category}": Garment(category[:-1], "red"),
        "words that it knows": Garment(category, "qwertyuiop"),
    }
    for text, garment in errors.items():
        with pytest.raises(DataError, match=text) as caught:
            stylist.complete([garment])
        assert "\n" not in str(caught.value)
    opened.close()
    with pytest.raises(ValueError, match="image or a text"):
        Garment(category)


# Generating.


def test_an_outfit_of_one_item_is_a_text_search(stylist):
    outfits = stylist.generate("red wool", size=1, top=4)
    assert [outfit.items[0] for outfit in outfits] == [match.item for match in stylist.search("red wool", top=4)]
    assert {outfit.score for outfit in outfits} == {1.0}


@pytest.mark.parametrize("method", ["beam", "beam:width=2", "generator", "generator_rerank", "generator_beam"])
def test_generated_outfits_keep_the_rule_and_add_up(stylist, method):
    outfits = stylist.generate("red wool", max_items=6, method=method, alpha=0.4)
    assert outfits
    for outfit in outfits:
        assert outfit.rule_kept
        assert outfit.items == outfit.added
        assert outfit.score == pytest.approx(stylist.score(added_ids(outfit)), abs=1e-6)
        assert outfit.objective == pytest.approx(0.4 * outfit.score + 0.6 * outfit.similarity, abs=1e-6)
    assert stylist.generate_many(["red wool", "blue"], max_items=6, method=method, alpha=0.4)[0] == outfits
    assert {len(o.items) for o in stylist.generate("red wool", size=4, method=method)} == {4}


# Scores and neighbours.


def test_s_is_0_where_the_rule_is_broken_unless_it_is_left_out(stylist, ids):
    category = stylist.item(ids[0]).category
    broken = [ids[0], Garment(category, "red")]
    assert stylist.score(broken) == 0
    assert 0 < stylist.score(broken, rule=False) < 1
    assert not stylist.rule_kept(broken)
    assert stylist.rule_kept(ids)
    completed = stylist.complete(broken, 1)[0]
    assert not completed.rule_kept
    assert "share a category" in completed.table()


def test_s_does_not_depend_on_the_order_or_on_what_is_scored_beside(stylist, ids, own):
    items = [ids[0], *own]
    scores = {stylist.score(order) for order in permutations(items)}
    assert len(scores) == 1
    assert stylist.score_many([ids, items, [ids[3]]]) == [stylist.score(ids), scores.pop(), 1.0]


@pytest.mark.parametrize("modality", ["joint", "image", "text"])
def test_similar_items_are_those_of_comparing_with_all(stylist, ids, modality):
    features, position = stylist._run.catalogue.require_embeddings, stylist._parser.position(ids[0])
    parts = {"image": ["image"], "text": ["text"], "joint": ["image", "text"]}[modality]
    cosines = np.stack([getattr(features, part) @ getattr(features, part)[position] for part in parts])
    shared = np.stack([features.present[:, ["image", "text"].index(part)] for part in parts])
    expected = (cosines * shared).sum(0) / np.maximum(shared.sum(0), 1)
    expected[position] = -2
    found = stylist.similar(ids[0], top=6, modality=modality)
    np.testing.assert_allclose([m.similarity for m in found], np.sort(expected)[::-1][:6], atol=1e-5)
    assert ids[0] not in [m.item.id for m in found]


def test_similar_items_can_be_looked_for_in_some_categories(stylist, ids):
    names = [stylist.item(item_id).category for item_id in ids[:2]]
    assert {m.item.category for m in stylist.similar(ids[0], top=50, category=names[1])} == {names[1]}
    assert {m.item.category for m in stylist.search("red", top=200, categories=names)} == set(names)
    every = stylist.similar_many([ids[0], ids[1]], top=len(stylist))
    assert [len(found) for found in every] == [len(stylist) - 1] * 2


def test_an_outfit_of_the_data_is_its_own_nearest(stylist):
    outfits = stylist._run.outfits
    for row in (0, 11):
        items = [stylist.item_ids[item] for item in outfits[row]]
        first, second = stylist.similar_outfits(items[::-1], top=2)
        assert first.outfit_id == outfits.outfit_ids[row]
        assert first.similarity == pytest.approx(1, abs=1e-5)
        assert second.similarity < first.similarity
        assert {item.id for item in first.items} == set(items)


# Mistakes.


def test_an_unknown_id_names_the_nearest_ones(stylist, ids):
    for wrong in (ids[3][1:], ids[3] + "0", ids[3].replace("_", "-")):
        with pytest.raises(DataError, match=f"did you mean .*{ids[3]}") as caught:
            stylist.score([wrong])
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="ids look like"):
        stylist.item("nonsense")


def test_near_names_are_found_among_many():
    names = [f"item-{number:06}" for number in range(100_000)]
    assert near("item-04711x", names)[0].startswith("item-04711")
    assert "item-047110" in near("itm-047110", names)


@pytest.mark.parametrize(
    ("known", "wrong"), [("00014", "14"), ("14", "14.0"), ("SKU-7", "sku-7"), ("Hats", "HATS"), ("a.JPG", "a.jpg")]
)
def test_a_name_in_another_form_is_the_nearest(known, wrong):
    assert near(wrong, ["100014", "SKU-71", "Hatter", "b.jpg", known])[0] == known


@pytest.mark.parametrize(
    ("error", "text", "arguments"),
    [
        (DataError, "stands twice", {"items": ["same", "same"]}),
        (DataError, "has no item", {"items": []}),
        (DataError, "no category 'Hat'; did you mean Hats", {"categories": ["Hat"]}),
        (DataError, "knows none of its words", {"texts": "qwertyuiop"}),
        (ConfigError, "3 texts for k=2", {"texts": ["a", "b", "c"]}),
        (ConfigError, "1 lists for k=2", {"categories": [["Hats"]]}),
        (ConfigError, "mixed", {"categories": ["Hats", ["Hats"]]}),
        (ConfigError, "did you mean beam", {"method": "beem"}),
        (ConfigError, "method: .*width.*>= 1", {"method": "beam:width=0"}),
        (ConfigError, "original", {"method": "original"}),
        (ConfigError, "alpha", {"alpha": 1.5}),
        (ConfigError, "at least 1", {"k": 0}),
        (ConfigError, "max_calls", {"method": "exhaustive:max_calls=10"}),
        (ArtifactError, "at most 3 missing items", {"k": 4}),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(stylist, ids, error, text, arguments):
    wanted = {"items": ids[:1], **arguments}
    wanted["items"] = [ids[0] if item == "same" else item for item in wanted["items"]]
    with pytest.raises(error, match=text) as caught:
        stylist.complete(**wanted)
    assert "\n" not in str(caught.value)


def test_texts_without_a_text_encoder_are_refused(tmp_path):
    bare = Stylist.load(make_run(tmp_path, "encoder.text=none"))
    item_id = bare.item_ids[0]
    for ask in (
        lambda: bare.complete([item_id], texts="red"),
        lambda: bare.generate("red"),
        lambda: bare.search("red"),
    ):
        with pytest.raises(ConfigError, match="no text encoder"):
            ask()
    assert bare.complete([item_id], 2)[0].rule_kept


def test_an_image_must_open_even_for_a_blind_encoder(tmp_path):
    blind = Stylist.load(make_run(tmp_path, "encoder.image=none"))
    for image in (tmp_path / "none.png", b"no image"):
        with pytest.raises(DataError, match="own "):
            blind.add({"new": Garment(blind.categories[0], "red", image)})
    assert "new" not in blind.refreshed()


# Loading.


def test_loading_needs_neither_the_data_nor_the_working_folder(root, stylist, ids, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    shutil.copytree(root / "run", moved)
    monkeypatch.chdir(tmp_path)
    (root / "data").rename(root / "away")
    try:
        other = Stylist.load("elsewhere")
        assert facts(other.complete(ids[:2])) == facts(stylist.complete(ids[:2]))
        assert other.score([ids[0], Garment("Hats", "red")]) == stylist.score([ids[0], Garment("Hats", "red")])
    finally:
        (root / "away").rename(root / "data")
    assert other.item(ids[0]).image_path.is_file()
    renamed = Stylist.load(moved, data_root=tmp_path / "other")
    assert renamed.item(ids[0]).image_path.is_relative_to(tmp_path / "other")


def test_a_cache_that_is_gone_or_moved_is_named_with_the_way_out(root, ids, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run")
    shutil.copytree(root / "cache", tmp_path / "cache")
    assert Stylist.load(tmp_path / "run", cache_dir=tmp_path / "cache").complete(ids[:1])
    with pytest.raises(ArtifactError, match=r"evaluate\.py run=.* cache_dir=DIR"):
        Stylist.load(tmp_path / "run", cache_dir=tmp_path / "nowhere")


def test_a_run_without_generator_still_searches_with_s(root, ids, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run")
    (tmp_path / "run" / run_files.GENERATOR).unlink()
    (tmp_path / "run" / run_files.SELECTED).unlink()
    bare = Stylist.load(tmp_path / "run")
    assert bare.k_max == 0
    assert bare.complete(ids[:2], 4, method="greedy_k")
    assert bare.generate("red")
    for method, stage in (("generator", "generator"), ("generator_beam", "generator"), ("most_selected", "targets")):
        with pytest.raises(ArtifactError, match=rf"stages=\[{stage}\]"):
            bare.complete(ids[:2], method=method)
    with pytest.raises(ArtifactError, match="generator"):
        bare.generate("red", method="generator")


def test_what_is_no_run_or_unfinished_or_changed_is_refused(root, tmp_path):
    with pytest.raises(ArtifactError, match="holds no run"):
        Stylist.load(tmp_path)
    shutil.copytree(root / "run", tmp_path / "run")
    (tmp_path / "run" / run_files.STYLIST / run_files.STYLIST_MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"evaluate\.py run="):
        Stylist.load(tmp_path / "run")
    (tmp_path / "run" / run_files.COMPATIBILITY).unlink()
    with pytest.raises(ArtifactError, match="resume="):
        Stylist.load(tmp_path / "run")


def test_a_device_that_is_not_there_is_refused(root):
    with pytest.raises(ConfigError, match="names no device"):
        Stylist.load(root / "run", device="abacus")


def test_evaluating_an_older_run_adds_what_is_missing_and_says_where_things_lie_now(root, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run")
    shutil.copytree(root / "cache", tmp_path / "cache")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "run" / run_files.STYLIST).iterdir()}
    shutil.rmtree(tmp_path / "run" / run_files.STYLIST)
    run = reopen_run(load_config([f"run={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}"], "evaluate"))
    embed_dataset(run, load_dataset(run.config.data))
    again = {path.name: path.read_bytes() for path in (tmp_path / "run" / run_files.STYLIST).iterdir()}
    assert again.keys() == whole.keys()
    assert {name for name in whole if again[name] != whole[name]} == {run_files.STYLIST_MANIFEST}
    assert str(tmp_path / "cache") in again[run_files.STYLIST_MANIFEST].decode()


def test_relative_folders_are_kept_as_absolute_ones(stylist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = stylist._run
    dataset = OutfitDataset("here", run.catalogue, run.outfits, {}, {}, {}, {})
    nothing = EncoderSource(EncoderConfig("none", "none"), run.catalogue, np.arange(0), tmp_path)
    export.export(Path("run"), dataset, Path("data"), Path("cache"), nothing)
    places = export.read_manifest(tmp_path / "run")
    assert (places.data_root, places.embeddings_dir) == (str(tmp_path / "data"), str(tmp_path / "cache" / "embeddings"))


def test_importing_the_package_is_cheap_and_the_stylist_needs_no_lightning(root):
    code = (
        "import sys, outfits; assert 'torch' not in sys.modules; from outfits import Stylist;"
        f"Stylist.load({str(root / 'run')!r}); assert not [m for m in sys.modules if m.startswith('lightning')];"
        "assert not {'open_clip', 'timm', 'matplotlib'} & set(sys.modules); assert not hasattr(outfits, 'stylish')"
    )
    folder = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=folder)


# What is shown.


def test_the_table_shows_every_item_once_and_the_scores_of_every_outfit(stylist, ids):
    completed = stylist.complete(ids[:2], 2, texts="red wool", method="beam", top=3)
    table = outfits_table(completed)
    assert max(map(len, table.splitlines())) <= 120
    for item_id in ids[:2]:
        assert table.count(item_id) == 1
    for outfit in completed:
        assert f"S {outfit.score:.3f}  similarity {outfit.similarity:.3f}  objective {outfit.objective:.3f}" in table
        assert all(item_id in table for item_id in added_ids(outfit))
    assert repr(completed[0]).startswith("<StyledOutfit S=")
    assert completed[0].table().count("S 0.") == 1


MODULES = [
    importlib.import_module(f"outfits.stylist.{module.name}")
    for module in pkgutil.iter_modules(outfits.stylist.__path__)
]


def test_the_examples_in_the_documentation_run(root, stylist, ids):
    first, second, third = (stylist.item(item_id) for item_id in ids[:3])
    names = {
        "RUN_DIR": root / "run",
        "stylist": stylist,
        "first": first.id,
        "second": second.id,
        "category": second.category,
        "other": third.category,
    }
    tried = 0
    for module in MODULES:
        failed, attempted = doctest.testmod(module, extraglobs={**names, "Stylist": Stylist, "Garment": Garment})
        assert not failed
        tried += attempted
    assert tried >= 12


def test_pairs_of_the_fixture_are_outfits(stylist, ids):
    assert all(stylist.rule_kept(pair) for pair in combinations(ids, 2))
