"""The table of stages: what each needs and leaves, and a stage that a plug-in adds."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outfits.config.schema import Config
from outfits.config.schema.stages import MAIN_JOB, STAGES, with_needed
from outfits.errors import ArtifactError
from pipeline.run import Run, evaluation_of
from tests.runs.programs import Place, here

PLUG_IN = """
import json

from outfits.config.schema.stages import STAGES, Stage
from outfits.registry import Entry


def count(run, embedded):
    run.require("counting", wanted_by="this test")
    (run.folder / "counts.json").write_text(json.dumps(embedded.catalogue.require_embeddings.vectors.shape))
    return len(embedded.catalogue)


def evaluate(run, dataset):
    print(len(dataset.catalogue), "items again")


evaluation = Entry("counts.json", "counting_plug_in:evaluate")
STAGES.register(Stage("counting", "counting_plug_in:count", ("embedded",), "counts", "counts", evaluation))
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module outside the package that registers stage ``counting``; forgotten after the test."""
    monkeypatch.setattr(STAGES, "_entries", dict(STAGES))
    (tmp_path / "counting_plug_in.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "counting_plug_in"
    sys.modules.pop("counting_plug_in", None)


def test_every_stage_needs_what_earlier_ones_leave() -> None:
    left = ["dataset"]
    for stage in STAGES.values():
        assert set(stage.needs) <= set(left), stage.name
        assert stage.leaves not in left, stage.name
        left.append(stage.leaves)


@pytest.mark.parametrize("name", STAGES)
def test_stages_name_functions_that_exist(name: str) -> None:
    stage = STAGES[name]
    assert callable(stage.load())
    assert stage.evaluation is None or callable(stage.evaluation.load())


@pytest.mark.parametrize(
    ("asked", "run"),
    [
        (["representation"], ["representation"]),
        (["embeddings", "compatibility"], ["embeddings", "compatibility"]),
        (["targets"], ["embeddings", "compatibility", "targets"]),
        (["representation", "embeddings"], ["representation", "embeddings"]),
        (["test"], ["embeddings", "compatibility", "targets", "generator", "test"]),
        (MAIN_JOB, MAIN_JOB),
    ],
    ids=lambda names: "-".join(names),
)
def test_a_stage_brings_those_that_it_builds_on(asked: list[str], run: list[str]) -> None:
    assert [stage.name for stage in with_needed(asked)] == run


def test_a_stage_of_a_plug_in_runs_and_is_evaluated(tmp_path: Path, plug_in: str) -> None:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    stages = [f"plugins=[{plug_in}]", "stages=[embeddings,counting]", "wandb.mode=off"]
    said = here("train", place.arguments(*stages)).succeeded().output
    items = json.loads((place.run / "dataset.json").read_text())["items"]
    assert json.loads((place.run / "counts.json").read_text())[0] == items
    assert "compatibility: " not in said
    assert here("evaluate", [f"run={place.run}"]).succeeded().output == f"{items} items again\n"


def test_a_run_that_made_nothing_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"neither representation.* nor generator.*resume="):
        evaluation_of(Run(Config(), tmp_path, 0.0))
