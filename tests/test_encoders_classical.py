"""The classical encoder and the laws of every item encoder."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits.config.schema.encoder import EncoderConfig
from outfits.data.catalogue import Catalogue
from outfits.encoders import EncoderSource, ItemEncoder, build_item_encoder
from outfits.encoders.features import RAW_DIM, describe, foreground, lab
from outfits.errors import ConfigError, DataError
from tests.encoder_items import COLOURS, KINDS, draw_garment, write_catalogue

CONFIG = EncoderConfig(image_dim=12, text_dim=8)
TRAIN = np.arange(18)


def encode(encoder: ItemEncoder, catalogue: Catalogue) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return encoder.encode_shard(encoder.images(catalogue, len(catalogue))[0])


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return write_catalogue(tmp_path / "data", 24)


def test_vectors_have_the_declared_width_and_parts_of_unit_length(catalogue: Catalogue, tmp_path: Path) -> None:
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    vectors, present = encode(encoder, catalogue)
    assert (encoder.image_dim, encoder.text_dim) == (12, 8)
    assert vectors.shape == (24, 20)
    assert vectors.dtype == np.float32
    assert present.all()
    assert np.linalg.norm(vectors[:, :12], axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(vectors[:, 12:], axis=1) == pytest.approx(1, abs=1e-5)


def test_missing_image_and_empty_text_are_zero_and_masked(catalogue: Catalogue, tmp_path: Path) -> None:
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    holed = replace(
        catalogue,
        image_paths=[None, *catalogue.image_paths[1:]],
        texts=[catalogue.texts[0], "", "  \n", *catalogue.texts[3:]],
    )
    full, _ = encode(encoder, catalogue)
    vectors, present = encode(encoder, holed)
    assert present[:4].tolist() == [[False, True], [True, False], [True, False], [True, True]]
    assert not vectors[0, :12].any()
    assert not vectors[1:3, 12:].any()
    assert np.allclose(vectors[0, 12:], full[0, 12:], atol=1e-6)
    assert np.allclose(vectors[1:3, :12], full[1:3, :12], atol=1e-6)


def test_text_of_unknown_words_is_masked_rather_than_made_up(catalogue: Catalogue, tmp_path: Path) -> None:
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    vectors, present = encoder.encode([None], ["zzz qqq"])
    assert not present.any()
    assert not vectors.any()


def test_fit_depends_on_training_items_only(catalogue: Catalogue, tmp_path: Path) -> None:
    before, _ = encode(build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path / "a")), catalogue)
    path = catalogue.image_paths[20]
    assert path is not None
    Image.new("RGB", (50, 50), "magenta").save(path)
    changed = replace(catalogue, texts=[*catalogue.texts[:-1], "an entirely different text"])
    after, _ = encode(build_item_encoder(EncoderSource(CONFIG, changed, TRAIN, tmp_path / "b")), changed)
    others = [item for item in range(24) if item not in (20, 23)]
    assert np.array_equal(before[others], after[others])
    assert not np.allclose(before[20, :12], after[20, :12])
    assert np.array_equal(before[20, 12:], after[20, 12:])


def test_fit_follows_the_training_items(catalogue: Catalogue, tmp_path: Path) -> None:
    some = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    others = build_item_encoder(EncoderSource(CONFIG, catalogue, np.arange(6, 24), tmp_path))
    assert some.key != others.key
    assert not np.allclose(encode(some, catalogue)[0], encode(others, catalogue)[0])


def test_two_fits_are_the_same_whatever_order_the_training_items_come_in(catalogue: Catalogue, tmp_path: Path) -> None:
    first = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path / "a"))
    shuffled = np.random.default_rng(0).permutation(np.repeat(TRAIN, 2))
    second = build_item_encoder(EncoderSource(CONFIG, catalogue, shuffled, tmp_path / "b"))
    assert first.key == second.key
    assert np.array_equal(encode(first, catalogue)[0], encode(second, catalogue)[0])


def test_stored_fit_is_read_back_and_a_damaged_one_fitted_again(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    vectors, _ = encode(build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, state)), catalogue)
    files = sorted(state.iterdir())
    assert [file.suffix for file in files] == [".npz", ".npz"]
    written = [os.stat(file).st_mtime_ns for file in files]
    with monkeypatch.context() as patch:
        patch.setattr("outfits.encoders.fitting.item_image", None)  # reading back opens no image
        again = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, state))
    assert np.array_equal(encode(again, catalogue)[0], vectors)
    assert [os.stat(file).st_mtime_ns for file in files] == written
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(
        encode(build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, state)), catalogue)[0], vectors
    )
    assert [file.stat().st_size > 100 for file in files] == [True, True]


def test_prepared_pictures_give_what_pictures_give(catalogue: Catalogue, tmp_path: Path) -> None:
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    images = [draw_garment("shirt", "red"), draw_garment("bag", "navy")]
    prepared = [describe(image) for image in images]
    assert np.array_equal(encoder.encode(images, ["", ""])[0], encoder.encode(prepared, ["", ""])[0])


def test_colour_and_kind_are_both_near_in_image_space(catalogue: Catalogue, tmp_path: Path) -> None:
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    names = [(kind, colour) for kind in KINDS for colour in COLOURS]
    vectors, _ = encoder.encode([draw_garment(kind, colour) for kind, colour in names], [""] * len(names))
    likeness = vectors @ vectors.T
    kind_shared = np.array([[a[0] == b[0] for b in names] for a in names]) & ~np.eye(len(names), dtype=bool)
    colour_shared = np.array([[a[1] == b[1] for b in names] for a in names]) & ~np.eye(len(names), dtype=bool)
    unrelated = likeness[~(kind_shared | colour_shared | np.eye(len(names), dtype=bool))].mean()
    assert likeness[kind_shared].mean() > unrelated + 0.05
    assert likeness[colour_shared].mean() > unrelated + 0.05


def test_width_beyond_what_the_data_carry_is_padded_with_zeros(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "data", 4)
    encoder = build_item_encoder(
        EncoderSource(EncoderConfig(image_dim=40, text_dim=40), catalogue, np.arange(3), tmp_path)
    )
    vectors, present = encode(encoder, catalogue)
    assert vectors.shape == (4, 80)
    assert present[:3].all()
    assert not vectors[:, 2:40].any()  # three images differ in two directions
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize(("image", "text", "dims"), [("none", "classical", (0, 8)), ("classical", "none", (12, 0))])
def test_either_part_can_be_left_out(
    catalogue: Catalogue, tmp_path: Path, image: str, text: str, dims: tuple[int, int]
) -> None:
    config = EncoderConfig(image=image, text=text, image_dim=12, text_dim=8)
    encoder = build_item_encoder(EncoderSource(config, catalogue, TRAIN, tmp_path / "state"))
    path = catalogue.image_paths[22]
    assert path is not None
    if image == "none":
        path.write_bytes(b"never opened")
    vectors, present = encode(encoder, catalogue)
    assert (encoder.image_dim, encoder.text_dim) == dims
    assert vectors.shape == (24, sum(dims))
    assert present.all(axis=0).tolist() == [image != "none", text != "none"]


def test_both_parts_left_out_is_a_configuration_mistake(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.image and encoder\.text are both none"):
        build_item_encoder(EncoderSource(EncoderConfig(image="none", text="none"), catalogue, TRAIN, tmp_path))


def test_nothing_to_fit_on_names_the_key_to_set(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"encoder\.text=none"):
        build_item_encoder(EncoderSource(CONFIG, replace(catalogue, texts=[" "] * 24), TRAIN, tmp_path))
    with pytest.raises(DataError, match=r"encoder\.image=none"):
        build_item_encoder(EncoderSource(CONFIG, replace(catalogue, image_paths=[None] * 24), TRAIN, tmp_path))


def test_corrupt_training_picture_follows_the_policy(catalogue: Catalogue, tmp_path: Path) -> None:
    path = catalogue.image_paths[3]
    assert path is not None
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"item 'item-3'.*data\.on_corrupt_image=mask"):
        build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path))
    encoder = build_item_encoder(EncoderSource(CONFIG, catalogue, TRAIN, tmp_path, {"on_corrupt_image": "mask"}))
    shard = encoder.images(catalogue, 24, on_corrupt_image="mask")[0]
    assert encoder.encode_shard(shard)[1][:, 0].tolist() == [item != 3 for item in range(24)]


class _Constant:
    """An encoder that returns prepared vectors as they are."""

    dim, key, draft_size = 2, "constant", None

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        return np.zeros(2)

    def to(self, device: torch.device | str) -> None:
        pass

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return np.stack(prepared).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embedding_that_is_not_finite_names_the_item(value: float) -> None:
    encoder = ItemEncoder(_Constant(), None)
    images = [np.array([1.0, 2.0]), None, np.array([1.0, value])]
    with pytest.raises(DataError, match="item 'c'.*image embedding is not finite"):
        encoder.encode(images, ["", "", ""], ["a", "b", "c"])


def test_lab_of_known_colours() -> None:
    pixels = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]  # CIE tables, D65
    assert lab(pixels)[0] == pytest.approx(np.array(expected), abs=0.05)


def test_foreground_is_the_garment_even_on_a_shaded_wall() -> None:
    shade = np.linspace(250, 190, 64).astype(np.uint8)
    wall = np.repeat(np.repeat(shade[:, None, None], 48, axis=1), 3, axis=2)
    wall[20:40, 14:34] = (180, 20, 20)
    weight = foreground(lab(wall))
    assert weight[20:40, 14:34].min() == 1
    assert weight.sum() == 20 * 20


def test_cut_backdrop_leaves_no_trace_of_the_wall(tmp_path: Path) -> None:
    def on_wall(shade: int) -> Image.Image:
        image = Image.new("RGB", (48, 64), (shade, shade, shade))
        image.paste((180, 20, 20), (14, 20, 34, 40))
        return image

    kept = [describe(on_wall(shade), "keep") for shade in (250, 200)]
    cut = [describe(on_wall(shade), "cut") for shade in (250, 200)]
    assert np.linalg.norm(kept[0] - kept[1]) > 1
    # All but the little weight that every pixel keeps in the histogram.
    assert np.linalg.norm(cut[0] - cut[1]) < 0.35 * np.linalg.norm(kept[0] - kept[1])

    catalogue = write_catalogue(tmp_path / "data", 12)
    kept, cut = (replace(CONFIG, background=way) for way in ("keep", "cut"))
    keys = {build_item_encoder(EncoderSource(way, catalogue, TRAIN[:12], tmp_path)).key for way in (kept, cut)}
    assert len(keys) == 2


@pytest.mark.parametrize("size", [(1, 1), (300, 2), (2, 300), (64, 64), (640, 480)])
def test_pictures_of_any_shape_can_be_described(size: tuple[int, int]) -> None:
    descriptor = describe(Image.new("RGB", size, "olive"))
    assert descriptor.shape == (RAW_DIM,)
    assert np.isfinite(descriptor).all()
