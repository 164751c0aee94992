"""The image encoder trained here: preparation of images, packing, vectors, and its place among the other encoders."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from outfits import run_files
from outfits.config.schema.encoder import EncoderConfig, LearnedConfig
from outfits.encoders import EncoderSource, build_item_encoder
from outfits.encoders.learned import LearnedImages, image_tensor, prepare_image
from outfits.encoders.packed import load_packed, pack_images, packing_key
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.representations.store import fit_components
from outfits.weights import save_network
from tests.encoder_items import draw_garment, write_catalogue
from tests.representation_settings import SIDE, small_model

POLICIES = {"on_missing_image": "error", "on_corrupt_image": "error"}
MASK = {"on_missing_image": "mask", "on_corrupt_image": "mask"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a small autoencoder of random weights."""
    return save_run(tmp_path / "run")


def save_run(folder: Path, seed: int = 0) -> Path:
    model = small_model("autoencoder", seed)
    fit_components(model, np.random.default_rng(seed).normal(size=(40, 8)).astype(np.float32))
    save_network(model, folder / run_files.REPRESENTATION)
    return folder


def test_pictures_are_padded_to_a_square_with_white_backdrop() -> None:
    prepared = prepare_image(draw_garment("shirt", "red", 30, 60), 32)
    assert prepared.shape == (32, 32, 4)
    assert prepared.dtype == np.uint8
    assert (prepared[:, :8, :3] == 255).all(), "padding is white"
    assert (prepared[:, :8, 3] == 0).all(), "and background"
    middle = prepared[16, 16]
    assert middle[0] > 200 > 60 > middle[1]
    assert middle[3] == 255, "the garment is foreground"
    assert prepared[16, 9, 3] == 0, "the wall is not"


def test_a_cut_backdrop_is_white_and_the_garment_stays() -> None:
    image = draw_garment("shirt", "navy", 40, 40)
    grey = Image.fromarray(np.where(np.asarray(image) == 246, 200, np.asarray(image)).astype(np.uint8))
    kept, cut = prepare_image(grey, 32), prepare_image(grey, 32, "cut")
    assert (kept[0, 0, :3] == 200).all()
    assert (cut[0, 0, :3] == 255).all()
    assert np.array_equal(kept[16, 16], cut[16, 16])


def test_vectors_are_the_models_item_vectors_whatever_the_batch(run: Path) -> None:
    encoder = LearnedImages(str(run))
    images = [draw_garment(kind, colour) for kind in ("shirt", "bag") for colour in ("red", "teal")]
    prepared = [encoder.prepare(image) for image in images]
    vectors = encoder.encode(prepared)
    assert vectors.shape == (4, encoder.dim) == (4, 8)
    expected = encoder.model.embed(image_tensor(np.stack(prepared))[:, :3]).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(prepared[2:3]), vectors[2:3], atol=1e-5)


def test_the_key_changes_with_weights_and_precision_and_not_with_the_folder(run: Path, tmp_path: Path) -> None:
    key = LearnedImages(str(run)).key
    assert LearnedImages(str(save_run(tmp_path / "elsewhere"))).key == key
    assert LearnedImages(str(save_run(tmp_path / "other", seed=1))).key != key
    assert LearnedImages(str(run), "bf16").key != key


def test_it_stands_beside_any_text_encoder(run: Path, tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "data", 12)
    config = EncoderConfig(image="learned", text="classical", text_dim=5, learned=LearnedConfig(str(run)))
    encoder = build_item_encoder(EncoderSource(config, catalogue, np.arange(12), tmp_path / "state"))
    shard = encoder.images(catalogue, 12)[0]
    vectors, present = encoder.encode_shard(shard)
    assert vectors.shape == (12, 8 + 5)
    assert present.all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:, :8], axis=1), 1.0, rtol=1e-5)


def test_a_missing_or_unfinished_run_is_named_with_the_way_out(tmp_path: Path) -> None:
    config = EncoderConfig(image="learned", learned=LearnedConfig(str(tmp_path / "absent")))
    source = EncoderSource(config, write_catalogue(tmp_path / "data", 2), np.arange(2), tmp_path / "state")
    with pytest.raises(ConfigError, match="encoder.learned.run: there is no folder"):
        build_item_encoder(source)
    config = replace(config, learned=LearnedConfig(str(tmp_path)))
    with pytest.raises(ArtifactError, match=f"has no {run_files.REPRESENTATION}; finish that run"):
        build_item_encoder(replace(source, config=config))


def test_packed_pictures_are_those_prepared_one_by_one(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "data", 70)  # more than one shard
    packed = pack_images(catalogue, tmp_path / "packed", SIDE, "keep", POLICIES, 0)
    assert packed.present.all()
    prepare = partial(prepare_image, image_size=SIDE)
    for position in (0, 63, 64, 69):
        path = catalogue.image_paths[position]
        assert path is not None
        with Image.open(path) as image:
            assert np.array_equal(packed.pixels[position], prepare(image.convert("RGB")))


def test_items_without_a_usable_picture_are_white_and_absent(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "data", 6)
    paths = list(catalogue.image_paths)
    assert paths[1] is not None
    assert paths[2] is not None
    paths[1].write_bytes(b"no image")
    paths[2].unlink()
    paths[3] = None
    catalogue = replace(catalogue, image_paths=paths)
    with pytest.raises(DataError, match="item 'item-1'.*on_corrupt_image=mask"):
        pack_images(catalogue, tmp_path / "packed", SIDE, "keep", POLICIES, 0)
    assert load_packed(tmp_path / "packed") is None, "nothing half done is taken for whole"
    assert not list((tmp_path / "packed").iterdir())
    packed = pack_images(catalogue, tmp_path / "packed", SIDE, "keep", MASK, 0)
    assert packed.present.tolist() == [True, False, False, False, True, True]
    assert (packed.pixels[1][..., :3] == 255).all()
    loaded = load_packed(tmp_path / "packed")
    assert loaded is not None
    assert np.array_equal(loaded.pixels, packed.pixels)


def test_packing_is_keyed_by_bytes_size_and_backdrop(tmp_path: Path) -> None:
    catalogue, same = write_catalogue(tmp_path / "a", 6), write_catalogue(tmp_path / "b", 6)
    key = packing_key(catalogue, 32, "keep", POLICIES)
    assert packing_key(same, 32, "keep", POLICIES) == key
    assert packing_key(catalogue, 64, "keep", POLICIES) != key
    assert packing_key(catalogue, 32, "cut", POLICIES) != key
    assert packing_key(catalogue, 32, "keep", MASK) != key
    draw_garment("bag", "olive").save(str(catalogue.image_paths[0]))
    assert packing_key(catalogue, 32, "keep", POLICIES) != key


def test_picture_tensors_are_floats_between_0_and_1() -> None:
    tensor = image_tensor(np.array([[[[0, 51, 255, 102]]]], dtype=np.uint8))
    assert torch.allclose(tensor.flatten(), torch.tensor([0.0, 0.2, 1.0, 0.4]))
