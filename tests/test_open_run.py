"""Opening a run: which folder it gets, and what its configuration says once it has gone on."""

from datetime import datetime
from pathlib import Path

import pytest

import pipeline.run
from outfits.config.load import load_config, read_config
from outfits.errors import ConfigError
from outfits.processes import Stopped
from pipeline.run import RUN_DIR_VARIABLE, open_run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")  # which is put back after the test, as open_run sets it
    monkeypatch.delenv(RUN_DIR_VARIABLE)


def opened(*arguments: str) -> pipeline.run.Run:
    return open_run(load_config(["experiment=smoke", "trainer.accelerator=cpu", *arguments]))


def test_runs_of_the_same_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Noon":
            return cls(2026, 1, 2, 12, 0, 0)

    monkeypatch.setattr(pipeline.run, "datetime", Noon)
    folders = []
    for seed in (0, 1, 2):
        monkeypatch.delenv(RUN_DIR_VARIABLE, raising=False)  # each in a process of its own
        folders.append(opened(f"seed={seed}").folder)
    assert [folder.name for folder in folders] == [f"smoke-20260102-120000{end}" for end in ("", "-2", "-3")]
    assert [read_config(folder / "config.yaml").seed for folder in folders] == [0, 1, 2]


def test_a_run_that_goes_on_has_the_stages_of_all_starts() -> None:
    opened("run_dir=a", "stages=[embeddings,compatibility]")
    on = opened("run_dir=a", "stages=[targets,generator,test]")
    assert on.config.stages == ["targets", "generator", "test"]
    every = ["embeddings", "compatibility", "targets", "generator", "test"]
    assert read_config(Path("a/config.yaml")).stages == every
    back = open_run(load_config(["resume=a", "stages=[compatibility,test]"]))
    assert back.config.stages == ["compatibility", "test"]
    assert read_config(Path("a/config.yaml")).stages == every
    with pytest.raises(ConfigError, match="seed"):
        load_config(["resume=a", "seed=3"])


def test_a_configuration_that_went_on_can_be_read_again() -> None:
    split = ("data.split.mode=random", "data.split.shares=[0.8,0.2,0.0]", "run_dir=b")
    opened(*split, "stages=[embeddings,compatibility]")
    opened(*split, "stages=[targets,generator,test]", "evaluate.split=valid")
    assert read_config(Path("b/config.yaml")).evaluate.split == "valid"
    assert "test" in load_config(["resume=b"]).stages


@pytest.mark.parametrize(("error", "stages"), [(ValueError, 2), (KeyboardInterrupt, 2), (Stopped, 3)])
def test_a_stage_that_fails_does_not_stay_in_the_configuration(error: type[BaseException], stages: int) -> None:
    opened("run_dir=a", "stages=[embeddings,compatibility]")
    on = opened("run_dir=a", "stages=[personal]")
    failure = error(15) if error is Stopped else error()
    with pytest.raises(error), on.left_in_order():
        raise failure
    assert len(read_config(Path("a/config.yaml")).stages) == stages


def test_a_run_of_another_configuration_is_not_continued() -> None:
    opened("run_dir=a")
    with pytest.raises(ConfigError, match="holds a run with another configuration"):
        opened("run_dir=a", "seed=3")
