"""Threads wait passively from the moment torch is loaded, and are as many as asked for unless the user said so."""

import os
import subprocess
import sys

import faiss
import pytest
import torch

from outfits.config.load import load_config
from outfits.threads import use_threads
from pipeline import run as runs

PROGRAMS = ["train.py", "evaluate.py", "complete.py"]
BENCHMARKS = ["benchmarks/score_catalogue.py", "benchmarks/complete.py", "benchmarks/mining_memory.py"]
WATCH = """
import os, runpy, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ["OMP_WAIT_POLICY"])
            sys.exit()

sys.meta_path.insert(0, Watch())
runpy.run_path(sys.argv[1], run_name="imported")
import torch  # where the program itself has not come to it yet
"""


def run_python(repository, *arguments, **variables):
    paths = os.pathsep.join(str(path) for path in (repository, repository / "benchmarks"))
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, "PYTHONPATH": paths, **variables},
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("program", [*PROGRAMS, *BENCHMARKS])
def test_the_wait_policy_is_set_before_torch_is_loaded(repository, program):
    assert run_python(repository, "-c", WATCH, program).stdout == "PASSIVE\n"


def test_the_users_wait_policy_stays(repository):
    assert run_python(repository, "-c", WATCH, "train.py", OMP_WAIT_POLICY="active").stdout == "active\n"


def test_openmp_of_torch_waits_passively(repository):
    said = run_python(repository, "-c", "import outfits.threads, torch", OMP_DISPLAY_ENV="TRUE").stderr
    if "OMP_WAIT_POLICY" not in said:
        pytest.skip("this OpenMP does not show its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said


@pytest.fixture
def free_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    yield
    torch.set_num_threads(before[0])
    faiss.omp_set_num_threads(before[1])


def threads():
    return torch.get_num_threads(), faiss.omp_get_max_threads()


def test_threads_are_as_many_as_asked_for(free_threads):
    use_threads(2)
    assert threads() == (2, 2)
    use_threads(None)
    assert threads() == (2, 2)


def test_the_users_number_of_threads_wins(free_threads, monkeypatch):
    before = threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    use_threads(3)
    assert threads() == before


def test_a_run_uses_the_threads_of_its_configuration(free_threads, tmp_path):
    folder = f"run_dir={tmp_path / 'run'}"
    runs.open_run(load_config(["experiment=smoke", "trainer.threads=3", folder], "train"))
    assert threads() == (3, 3)
    use_threads(2)
    runs.reopen_run(load_config([f"run={tmp_path / 'run'}"], "evaluate"))
    assert threads() == (3, 3)


def test_another_number_of_threads_continues_a_run(tmp_path):
    folder = f"run_dir={tmp_path / 'run'}"
    for threads in ("1", "null"):
        run = runs.open_run(load_config(["experiment=smoke", f"trainer.threads={threads}", folder], "train"))
    assert run.folder == tmp_path / "run"
