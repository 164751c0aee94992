"""The multi-task model through the entry points."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outfits.stylist import Stylist
from tests.runs.programs import TWO_RANKS, Place, command, here, killed

pytestmark = pytest.mark.slow

SMALL = (
    "stages=[multitask]",
    "data.synthetic.items=240",
    "data.synthetic.outfits=120",
    "data.synthetic.image_size=32",
    'multitask.differences=["colour: in {value}"]',
    "multitask.epochs=2",
    "multitask.bottleneck=4",
    "multitask.cross_bottleneck=4",
    "multitask.small.image_size=32",
    "multitask.small.width=16",
    "multitask.small.layers=1",
    "multitask.small.heads=2",
    "multitask.small.embed_dim=8",
    "multitask.small.epochs=1",
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run of its own on data of its own."""
    return Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")


def results_of(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.run / "report" / "multitask" / "results.json").read_text()))


def test_a_run_is_compared_measured_again_and_used(place: Place, tmp_path: Path) -> None:
    said = here("train", place.arguments(*SMALL, "multitask.single_tasks=true", "multitask.distil=0.5")).succeeded()
    assert "training plain" in said.output
    assert "training captioning" in said.output
    first = results_of(place)
    assert list(first["values"]) == ["multitask", "retrieval", "refinement", "recognition", "captioning", "plain"]
    assert first["parameters"]["plain"]["added"] == 1  # the temperature
    alone = sum(first["parameters"][name]["total"] for name in ("retrieval", "refinement", "recognition", "captioning"))
    assert first["parameters"]["multitask"]["total"] < alone
    assert (place.run / "report" / "multitask" / "index.html").stat().st_size > 10_000
    again = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}"]).succeeded().output
    assert "training " not in again
    assert results_of(place) == first

    encoder = ("encoder.image=multitask", "encoder.text=multitask", f"encoder.multitask.run={place.run}")
    data = tuple(option for option in SMALL if option.startswith("data."))
    other = replace(place, run=tmp_path / "encoded")
    stages = "stages=[embeddings,compatibility]"
    here("train", other.arguments(stages, "scorer.epochs=1", "judge.share=0", *data, *encoder)).succeeded()
    stylist = Stylist.load(other.run)
    item = stylist.item_ids[0]
    assert stylist.learned == ("retrieval", "refinement", "recognition", "captioning")
    assert item not in [match.item.id for match in stylist.refine(item, "in red", 5)]
    assert isinstance(stylist.caption(item), str)
    assert stylist.categorise(str(stylist.item(item).image_path))[0][0] in stylist.categories


def test_two_ranks_train_a_task_at_a_time(place: Place) -> None:
    """Each step leaves the parameters of the other tasks out, which DDP must be told."""
    shared = ("data.synthetic.items=900", "multitask.epochs=1", "multitask.batch_size=8")  # a valid batch for each
    finished = command("train.py", place.arguments(*SMALL, *shared, *TWO_RANKS)).succeeded()
    assert "Traceback" not in finished.errors
    assert list(results_of(place)["values"]) == ["multitask", "plain"]


def test_a_split_without_refinements_is_named_before_training(place: Place) -> None:
    few = ("data.synthetic.items=60", "data.synthetic.outfits=60", "data.split.shares=[0.8,0.19,0.01]")
    said = here("train", place.arguments(*SMALL, *few))
    assert "the test split has" in said.mistake()
    assert "multitask: training" not in said.output


def test_a_killed_run_ends_with_the_same_model(place: Place, tmp_path: Path) -> None:
    here("train", place.arguments(*SMALL)).succeeded()
    other = replace(place, run=tmp_path / "other", cache=tmp_path / "other-cache")
    killed("lightning_modules.multitask:MultitaskModule.on_validation_epoch_end", 3, other.arguments(*SMALL))
    assert not (other.run / "multitask_model.safetensors").exists()
    here("train", other.arguments(*SMALL)).succeeded()
    assert (other.run / "multitask_model.safetensors").read_bytes() == (
        place.run / "multitask_model.safetensors"
    ).read_bytes()
    first = results_of(place)
    assert results_of(other) == first
    shutil.rmtree(place.cache / "multitask")
    again = here("evaluate", [f"run={place.run}", f"cache_dir={place.cache}"]).succeeded().output
    assert "training " not in again, "the run has its model"
    assert results_of(place) == first
