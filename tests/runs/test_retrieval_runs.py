"""Complementary retrieval through the entry points."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outfits.models.frozen import load_retriever, load_scorer
from tests.runs.programs import Place, here, killed

pytestmark = pytest.mark.slow

STAGES = "stages=[embeddings,compatibility,retrieval]"
SMALL = ("retrieval.epochs=2", "retrieval.dim=8", "retrieval.negatives=4", "retrieval.min_pool=2")


def results_of(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.run / "report" / "retrieval" / "results.json").read_text()))


@pytest.fixture
def place(copied: Place, tmp_path: Path) -> Place:
    """A run of its own over a copy of the undisturbed run's embeddings and scorers."""
    return replace(copied, run=tmp_path / "retrieval")


def test_a_run_trains_measures_and_is_measured_again(place: Place) -> None:
    said = here("train", place.arguments(STAGES, *SMALL)).succeeded().output
    assert "training the transformer" in said
    assert "training the csa_net" in said
    first = results_of(place)
    rows = ["chance", "most_frequent", "mean_cosine", "csa_net", "retrieval", "retrieval_text", "compatibility"]
    assert list(first["recall"]) == rows
    assert first["recall"]["chance"]["10"] <= first["recall"]["chance"]["50"]
    pools = json.loads((place.run / "report" / "retrieval" / "pools.json").read_text())
    assert sum(len(pool["questions"]) for pool in pools.values()) == first["questions"]
    again = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}"]).succeeded().output
    assert "training the" not in again
    assert results_of(place) == first
    other = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}", "evaluate.split=valid"]).succeeded()
    assert "valid split" in other.output
    assert results_of(place)["split"] == "valid"


def test_a_killed_run_ends_with_the_same_retriever(place: Place, tmp_path: Path) -> None:
    here("train", place.arguments(STAGES, *SMALL)).succeeded()
    other = replace(place, run=tmp_path / "other", cache=tmp_path / "other-cache")
    other.cache.mkdir()
    for product in ("embeddings", "scorers", "encoders"):
        if (place.cache / product).exists():
            (other.cache / product).symlink_to(place.cache / product)
    killed("lightning_modules.retrieval:RetrievalModule.on_validation_epoch_end", 2, other.arguments(STAGES, *SMALL))
    assert not (other.run / "retriever.safetensors").exists()
    here("train", other.arguments(STAGES, *SMALL)).succeeded()
    assert (other.run / "retriever.safetensors").read_bytes() == (place.run / "retriever.safetensors").read_bytes()
    assert results_of(other) == results_of(place)


def test_an_evaluation_trains_the_retriever_it_needs(copied: Place) -> None:
    arguments = [f"run={copied.run}", f"cache_dir={copied.cache}", "evaluate.conditions=[]"]
    methods = "evaluate.methods=[random,retrieval]"
    said = here("evaluate", [*arguments, methods]).succeeded().output
    assert "training the transformer" in said
    row = copied.results()["methods"]["retrieval"]
    assert row["scorer_calls_per_outfit"] == 0
    assert row["valid_share"] == 1
    load_retriever(copied.run / "retriever.safetensors", load_scorer(copied.run / "scorer.safetensors").sha256)
    assert "training" not in here("evaluate", [*arguments, methods]).succeeded().output
