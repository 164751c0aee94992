"""The wheel, installed beside the dependencies into an environment that does not know the repository."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outfits.config.recipes import names_of
from outfits.stylist import Stylist
from tests.export_answers import answers
from tests.runs.programs import REPOSITORY, SECONDS_TO_HANG, Finished
from tests.tiny_run import make_run

pytestmark = pytest.mark.slow
PACKAGES = ("outfits", "pipeline", "lightning_modules", "datamodules", "callbacks")
PROGRAMS = ("train", "evaluate", "complete", "serve")
Command = Callable[..., Finished]


def run(arguments: list[str | Path], folder: Path) -> Finished:
    """A command started in a folder, without what this process's environment says about Python's modules."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder,
        env={**environment, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_HANG,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools writes beside what it builds and packs what an earlier build left there."""
    copy, built = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "configs"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", *(f"{program}.py" for program in PROGRAMS)):
        shutil.copy(REPOSITORY / name, copy)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", built]
    run([sys.executable, "-m", "pip", "wheel", *options, "."], copy).succeeded()
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's folder of programs.

    The dependencies are those of this environment. The path to them stands in a ``.pth`` file, so that ``.pth`` files
    among them, an editable installation of the repository for example, are not heeded.
    """
    environment = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", environment], environment).succeeded()
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    Path(paths["purelib"], "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = Path(paths["scripts"], "python")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], environment).succeeded()
    return Path(paths["scripts"])


def files_of(folder: Path, pattern: str, inside: str) -> Iterator[str]:
    """Files of the repository's folder, as they are to be named in the wheel."""
    return (f"{inside}/{path.relative_to(folder).as_posix()}" for path in folder.rglob(pattern) if path.is_file())


def test_the_wheel_holds_all_code_recipes_and_templates(wheel: Path) -> None:
    expected = {f"pipeline/programs/{program}.py" for program in PROGRAMS}
    expected |= set(files_of(REPOSITORY / "configs", "*.yaml", "outfits/configs"))
    expected |= set(files_of(REPOSITORY / "outfits" / "report" / "templates", "*", "outfits/report/templates"))
    for package in PACKAGES:
        expected |= set(files_of(REPOSITORY / package, "*.py", package))
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected


def test_nothing_is_imported_from_the_repository(installed: Path, tmp_path: Path) -> None:
    code = "import sys; from importlib.util import find_spec as f; print(*(f(n) and f(n).origin for n in sys.argv[1:]))"
    found = run([installed / "python", "-c", code, *PACKAGES, "train", "tests"], tmp_path).succeeded().output.split()
    assert found[len(PACKAGES) :] == ["None", "None"]
    assert all(Path(file).is_relative_to(installed.parent) for file in found[: len(PACKAGES)])


def test_help_lists_the_recipes(installed: Path, tmp_path: Path) -> None:
    shown = run([installed / "outfits-train", "--help"], tmp_path).succeeded().output
    assert len(names_of("experiment")) > 5
    assert [name for name in names_of("experiment") if name not in shown] == []
    assert "complete.py run=RUN_DIR" in run([installed / "outfits-complete", "--help"], tmp_path).succeeded().output


def test_the_smoke_recipe_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    options = ["experiment=smoke", "stages=[embeddings,compatibility]", "run_dir=runs/smoke", "wandb.mode=off"]
    run([installed / "outfits-train", *options], tmp_path).succeeded()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data", "runs"]
    assert (tmp_path / "runs" / "smoke" / "scorer.safetensors").is_file()
    lacking = run([installed / "outfits-evaluate", "run=runs/smoke", "wandb.mode=off"], tmp_path).mistake()
    assert "train.py resume=runs/smoke" in lacking


COMPLETES = """
import json, sys
from outfits import Stylist
from tests_of_export import answers

print(json.dumps(answers(Stylist.load(sys.argv[1]))))
"""


def test_an_exported_run_completes_alike_with_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    whole, folder = make_run(tmp_path / "whole"), tmp_path / "exported"
    run([installed / "outfits-export", f"run={whole}", f"folder={folder}"], tmp_path).succeeded()
    moved = folder.rename(tmp_path / "moved")
    (tmp_path / "whole").rename(tmp_path / "out_of_reach")
    shutil.copy(Path(answers.__code__.co_filename), tmp_path / "tests_of_export.py")
    found = json.loads(run([installed / "python", "-c", COMPLETES, moved], tmp_path).succeeded().output)
    (tmp_path / "out_of_reach").rename(tmp_path / "whole")
    assert found == json.loads(json.dumps(answers(Stylist.load(whole))))
    assert len(found) > 5
