"""Mining in two stages through the entry points: metrics, widening, stopping, kills and ranks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from outfits.models.frozen import load_scorer, load_student
from tests.runs.programs import TWO_RANKS, Place, command, here, killed
from tests.runs.test_interruption import arrays_of

pytestmark = pytest.mark.slow

TWO_STAGE = {"scored": 12, "steps": 20, "audit_min": 5, "width": 8, "hidden": 16, "candidates": 4}
STAGES = "stages=[embeddings,compatibility,targets]"
PRODUCTS = ("targets", "students", "audits")

# In the order in which one run after another passes them: each round has 2 shards, the audit of a kind 2, and the
# second shard of what was under way is written before the next kill.
KILLS = {
    "teaching, a shard written": ("outfits.shards:ShardStore.write", 1),
    "the first student trained": ("pipeline.student:save_network", 1),
    "audited outfits mined": ("outfits.mining.targets:TargetStore.write_trace", 1),
    "auditing, a shard written": ("outfits.shards:ShardStore.write", 2),
    "mining, a shard written": ("outfits.mining.targets:TargetStore.write_trace", 2),
}


def options(**changes: Any) -> list[str]:
    """Keys of two-stage mining on the command line."""
    keys = {**TWO_STAGE, **changes}
    return ["targets.search=two_stage", *(f"targets.two_stage.{name}={value}" for name, value in keys.items())]


def figures_of(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.run / "targets.json").read_text()))


@pytest.fixture
def place(copied: Place, tmp_path: Path) -> Place:
    """A run of its own over a copy of the undisturbed run's embeddings and scorers."""
    shutil.rmtree(copied.cache / "targets")
    return replace(copied, run=tmp_path / "two-stage")


def test_two_stage_mining_reports_what_it_saves_and_loses(place: Place) -> None:
    arguments = place.arguments(STAGES, *options(max_regret=1))
    said = here("train", arguments).succeeded().output
    metrics = figures_of(place)
    assert set(metrics["kinds"]) == {"train", "train-categories", "train-categories_texts"}
    calls, mined = metrics["calls"], arrays_of(place.cache / "targets")
    stored = sum(array.sum() for name, array in mined.items() if name.endswith("/calls") and "valid" not in name)
    parts = [kind["calls"] for kind in metrics["kinds"].values()]
    assert calls["in_all"] == calls["teaching"] + sum(part["audit"] + part["mining"] for part in parts)
    assert calls["in_all"] > stored + calls["teaching"]  # auditing takes calls that are stored nowhere else
    assert calls["times_fewer"] == pytest.approx(calls["exact_mining"] / calls["in_all"])
    (audit,) = metrics["kinds"]["train"]["audits"]
    assert audit["outfits"] == 5
    assert audit["regret"]["mean"] <= audit["regret"]["bound"] <= 1
    assert audit["candidates"] == metrics["kinds"]["train"]["candidates"] == 4
    assert audit["calls"] == 3 * (4 + 1)
    assert said.count("hold the best item at") == 3
    again = here("train", arguments).succeeded().output
    assert "shards" not in again
    assert "training the student" not in again
    assert figures_of(place) == metrics


def test_shortlists_are_widened_until_the_bound_holds_or_they_hold_everything(place: Place) -> None:
    said = here("train", place.arguments(STAGES, *options(max_regret=1e-12, candidates=1))).succeeded().output
    assert "shortlists of 2 are next" in said
    train = figures_of(place)["kinds"]["train"]
    tried = [audit["candidates"] for audit in train["audits"]]
    bounds = [audit["regret"]["bound"] for audit in train["audits"]]
    assert tried == [2**power for power in range(len(tried))]
    assert len(tried) > 1
    assert min(bounds[:-1]) > 1e-12
    assert train["candidates"] == (tried[-1] if bounds[-1] <= 1e-12 else None)
    assert ("mining is exact" in said) >= (train["candidates"] is None)


def test_mining_stops_where_it_is_told_to_and_says_the_way_out(place: Place) -> None:
    arguments = place.arguments(STAGES, *options(max_regret=1e-12, candidates=1, on_regret="stop"))
    line = here("train", arguments).mistake()
    assert line.startswith("artifact error: two-stage mining of train targets may lose 0.0")
    assert "targets.two_stage.max_regret=1e-12" in line
    assert "targets.search=exact" in line


def test_a_killed_run_ends_with_the_products_of_an_undisturbed_one(place: Place, tmp_path: Path) -> None:
    other = replace(place, cache=tmp_path / "other-cache", run=tmp_path / "other-run")
    shutil.copytree(place.cache, other.cache)
    here("train", place.arguments(STAGES, *options())).succeeded()
    for where, (point, nth) in KILLS.items():
        killed(point, nth, other.arguments(STAGES, *options()))
        assert not (other.run / "targets.json").exists(), where
    here("train", other.arguments(STAGES, *options())).succeeded()
    assert_same_products(other, place)
    assert figures_of(other) == figures_of(place)


def test_two_ranks_mine_what_one_mines(copied: Place, place: Place, tmp_path: Path) -> None:
    here("train", place.arguments(STAGES, *options())).succeeded()
    # Another number of ranks trains another scorer, so the one-rank scorer of a finished run is mined with.
    two = Place(copied.data, tmp_path / "two-cache", copied.run)
    shutil.copytree(place.cache, two.cache, ignore=shutil.ignore_patterns(*PRODUCTS))
    config = yaml.safe_load((two.run / "config.yaml").read_text())
    config["targets"]["search"] = "two_stage"
    config["targets"]["two_stage"] |= TWO_STAGE
    (two.run / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = [str(tmp_path / "validated.json"), f"run={two.run}", f"cache_dir={two.cache}", *TWO_RANKS]
    command("tests/runs/validate_generator.py", arguments).succeeded()
    assert_same_products(two, place)
    assert figures_of(two) == figures_of(place)


def test_evaluation_teaches_the_student_that_its_methods_need(copied: Place) -> None:
    arguments = [f"run={copied.run}", f"cache_dir={copied.cache}", "evaluate.conditions=[]"]
    methods = "evaluate.methods=[greedy_k,greedy_two_stage:candidates=100000,beam_two_stage:candidates=3:width=2]"
    said = here("evaluate", [*arguments, methods]).succeeded().output
    assert "teaching the student, round 1 of 2" in said
    rows = copied.results()["methods"]
    greedy, two_stage = rows["greedy_k"], rows["greedy_two_stage:candidates=100000"]
    assert two_stage["score_mean"] == pytest.approx(greedy["score_mean"], abs=1e-6)
    load_student(copied.run / "student.safetensors", load_scorer(copied.run / "scorer.safetensors").sha256)
    assert "teaching" not in here("evaluate", [*arguments, methods]).succeeded().output


def assert_same_products(place: Place, expected: Place) -> None:
    """Targets, teacher_scores and audits bit by bit, students byte by byte."""
    for product in PRODUCTS:
        made, wanted = arrays_of(place.cache / product), arrays_of(expected.cache / product)
        assert made.keys() == wanted.keys()
        assert len(wanted) > 0
        for name, array in wanted.items():
            np.testing.assert_array_equal(made[name], array, err_msg=name)
    students = sorted(path.relative_to(expected.cache) for path in expected.cache.glob("students/*/*.safetensors"))
    assert len(students) == 2
    for path in students:
        assert (place.cache / path).read_bytes() == (expected.cache / path).read_bytes()
