"""Whole runs with their shards on a Ray cluster of two workers, or with the catalogue dealt to two ranks."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.runs.programs import TWO_RANKS, Place, command, without_times
from tests.runs.test_interruption import arrays_of

pytestmark = pytest.mark.slow

try:
    import ray  # noqa: F401
except ImportError:
    needs_ray = [pytest.mark.skip(reason="needs the extra ray")]
else:
    needs_ray = []

ENGINES = {
    "ray": pytest.param(["engine=ray", "ray.workers=2"], marks=needs_ray, id="ray"),
    "dealt": pytest.param([*TWO_RANKS, "targets.states=dealt"], id="dealt to two ranks"),
    "ray dealt": pytest.param(
        ["engine=ray", "ray.workers=2", "targets.states=dealt"], marks=needs_ray, id="ray, dealt"
    ),
}


@pytest.mark.parametrize("options", list(ENGINES.values()))
def test_embedding_mining_and_evaluation_are_those_of_lightning(
    undisturbed: Place, copied: Place, tmp_path: Path, options: list[str]
) -> None:
    one = copied.results()
    for made in ("targets", "embeddings"):
        shutil.rmtree(copied.cache / made)
    for made in ("shards", "report"):
        shutil.rmtree(copied.run / made)
    arguments = [f"run={copied.run}", f"cache_dir={copied.cache}", *options]
    command("tests/runs/validate_generator.py", [str(tmp_path / "metrics.json"), *arguments]).succeeded()
    mined, expected = arrays_of(copied.cache / "targets"), arrays_of(undisturbed.cache / "targets")
    assert mined.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(mined[name], array, err_msg=name)
    (made_again,) = copied.cache.glob("embeddings/*/embeddings.npy")
    (before,) = undisturbed.cache.glob("embeddings/*/embeddings.npy")
    np.testing.assert_array_equal(np.load(made_again), np.load(before))
    command("evaluate.py", arguments).succeeded()
    assert without_times(copied.results()) == without_times(one)
