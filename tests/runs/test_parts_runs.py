"""Similarity from parts through the entry points."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outfits.models.frozen import load_grnet
from tests.runs.programs import Place, here, killed
from tests.test_parts_stylist import settings

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run of its own."""
    return Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")


def results_of(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.run / "report" / "parts" / "results.json").read_text()))


def test_a_run_trains_measures_and_is_measured_again(place: Place, tmp_path: Path) -> None:
    options = ("stages=[parts]", *settings(tmp_path))
    assert "training GRNet" in here("train", place.arguments(*options)).succeeded().output
    first = results_of(place)
    assert set(first["reached"]) == {"plain", "moved", "cropped", "occluded"}
    again = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}"]).succeeded().output
    assert "training" not in again
    assert "local features of" not in again
    assert results_of(place) == first
    here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}", "evaluate.split=valid"]).succeeded()
    assert results_of(place)["split"] == "valid"


def test_seeds_share_the_local_features(place: Place, tmp_path: Path) -> None:
    options = ("stages=[parts]", *settings(tmp_path))
    here("train", place.arguments(*options)).succeeded()
    other = replace(place, run=tmp_path / "other")
    said = here("train", other.arguments(*options, "seed=1")).succeeded().output
    assert "local features of" not in said
    assert "training GRNet" in said
    means = [
        {
            (kind, depth): at["mean"]
            for kind, depths in results_of(one)["found"]["global"].items()
            for depth, at in depths.items()
        }
        for one in (place, other)  # their intervals are resampled with the seed
    ]
    assert means[0] == means[1]


def test_a_killed_run_ends_with_the_same_grnet(place: Place, tmp_path: Path) -> None:
    options = ("stages=[parts]", *settings(tmp_path), "parts.epochs=3")
    here("train", place.arguments(*options)).succeeded()
    other = replace(place, run=tmp_path / "other", cache=tmp_path / "other-cache")
    killed("lightning_modules.parts:PartsModule.on_validation_epoch_end", 2, other.arguments(*options))
    assert not (other.run / "grnet.safetensors").exists()
    here("train", other.arguments(*options)).succeeded()
    assert (other.run / "grnet.safetensors").read_bytes() == (place.run / "grnet.safetensors").read_bytes()
    assert load_grnet(other.run / "grnet.safetensors").config.dim == 8
