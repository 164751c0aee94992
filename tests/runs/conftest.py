"""One undisturbed run on one rank, which whole-run tests compare theirs with."""

import shutil
from pathlib import Path

import pytest

from tests.runs.programs import Finished, Place, command


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Finished]:
    """The tiny recipe through every stage from nothing, and what the command said; do not write into its folders."""
    root = tmp_path_factory.mktemp("undisturbed")
    place = Place(root / "data", root / "cache", root / "run")
    return place, command("train.py", place.arguments("wandb.mode=auto")).succeeded()


@pytest.fixture(scope="session")
def undisturbed(first_run: tuple[Place, Finished]) -> Place:
    """Where the undisturbed run lies; do not write into its folders."""
    return first_run[0]


@pytest.fixture
def copied(undisturbed: Place, tmp_path: Path) -> Place:
    """A copy of the undisturbed run and its cache, to change at will; the data are shared."""
    place = Place(undisturbed.data, tmp_path / "cache", tmp_path / "run")
    shutil.copytree(undisturbed.cache, place.cache)
    shutil.copytree(undisturbed.run, place.run)
    return place


@pytest.fixture
def fresh(undisturbed: Place, tmp_path: Path) -> Place:
    """An empty run and an empty cache beside the same data."""
    return Place(undisturbed.data, tmp_path / "cache", tmp_path / "run")
