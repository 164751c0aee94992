"""Personal recommendation through the entry points."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outfits.models.frozen import load_recommender
from tests.runs.programs import Place, here, killed

pytestmark = pytest.mark.slow

SMALL = (
    "stages=[personal]",
    "data.synthetic.users=12",
    "personal.embeddings=false",
    "personal.epochs=3",
    "personal.dim=8",
    "personal.batch_size=32",
    "personal.peers=[popularity,content,item_mf]",
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run of its own on data with users."""
    return Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")


def results_of(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.run / "report" / "personal" / "results.json").read_text()))


def test_a_run_needs_no_encoder_and_is_measured_again(place: Place) -> None:
    said = here("train", place.arguments(*SMALL)).succeeded().output
    assert "likes kept" in said
    assert "training the hfgn" in said
    assert "embeddings:" not in said
    first = results_of(place)
    assert list(first["figures"]) == ["popularity", "content", "item_mf", "hfgn"]
    assert not (place.run / "stylist").exists()
    again = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}"]).succeeded().output
    assert "training the" not in again
    assert results_of(place) == first


def test_a_killed_run_ends_with_the_same_recommender(place: Place, tmp_path: Path) -> None:
    here("train", place.arguments(*SMALL)).succeeded()
    other = replace(place, run=tmp_path / "other", cache=tmp_path / "other-cache")
    killed("lightning_modules.personal:PersonalModule.on_validation_epoch_end", 2, other.arguments(*SMALL))
    assert not (other.run / "recommender.safetensors").exists()
    here("train", other.arguments(*SMALL)).succeeded()
    assert (other.run / "recommender.safetensors").read_bytes() == (place.run / "recommender.safetensors").read_bytes()
    assert results_of(other) == results_of(place)


def test_with_embeddings_items_are_seen_by_them(place: Place) -> None:
    stages = "stages=[embeddings,personal]"
    here("train", place.arguments(*SMALL[1:2], *SMALL[3:], stages, "personal.item_ids=false")).succeeded()
    assert load_recommender(place.run / "recommender.safetensors").sizes["embedding_dim"] == 16
    assert (place.run / "stylist" / "users.parquet").is_file()


def test_data_without_users_are_refused(place: Place) -> None:
    mistake = here("train", place.arguments(*SMALL, "data.synthetic.users=0")).mistake()
    assert "has no users" in mistake
    assert "data.tables.users" in mistake
