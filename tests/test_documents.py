"""README and docs say what is true: their commands, keys, make targets, links and example tables work as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml

import tests.layouts as layouts
from outfits.config.keys import ALIASES, keys, sections
from outfits.config.load import load_config
from outfits.data.tables import read_tables

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks_of(path: Path, language: str) -> list[str]:
    """Code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_of(path: Path) -> str:
    """All code, in blocks and within lines, but Python programs, where `data.setup` is no key."""
    text = path.read_text("utf-8")
    found = re.findall(r"^```(?!python)\w*\n(.*?)^```|`([^`\n]+)`", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(block or inline for block, inline in found)


def commands_of(path: Path) -> list[list[str]]:
    """Arguments of every ``train.py`` call in the bash blocks, one list each."""
    lines = [
        line
        for block in blocks_of(path, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if "train.py" in line
    ]
    return [shlex.split(line[line.index("train.py") + len("train.py") :], comments=True) for line in lines]


COMMANDS = [(name_of(path), command) for path in DOCUMENTS for command in commands_of(path)]
EXISTING_RUN = ("resume=", "experiment=runs/")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the README's example recipe and tables, to be the current folder."""
    (recipe,) = [block for block in blocks_of(ROOT / "README.md", "yaml") if block.startswith("# my_shop.yaml")]
    items, outfits = blocks_of(ROOT / "README.md", "csv")
    (tmp_path / "my_shop.yaml").write_text(recipe)
    (tmp_path / "my_shop").mkdir()
    (tmp_path / "my_shop" / "items.csv").write_text(items)
    (tmp_path / "my_shop" / "outfits.csv").write_text(outfits)
    return tmp_path


@pytest.mark.parametrize(("document", "command"), COMMANDS, ids=[" ".join(command) for _, command in COMMANDS])
def test_documented_commands_are_accepted(
    document: str, command: list[str], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    arguments = [argument for argument in command if not argument.startswith(EXISTING_RUN)]
    load_config(arguments)


def test_the_example_tables_of_the_readme_are_read(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    config = load_config(["experiment=my_shop.yaml"])
    dataset = read_tables(Path(config.data.root), config.data.tables)
    assert [(item.item_id, item.text) for item in dataset.items] == [
        ("A1", "ecru Linen shirt dress"),
        ("A2", "tan Flat leather sandals"),
        ("A3", "natural Straw shopper"),
    ]
    assert [item.image_path is None for item in dataset.items] == [False, False, True]
    assert [outfit.item_ids for outfit in dataset.outfits] == [("A1", "A2", "A3")]


def test_every_choice_of_the_example_sweep_is_a_valid_configuration() -> None:
    (block,) = [block for block in blocks_of(ROOT / "README.md", "yaml") if "wandb sweep" in block]
    parameters = yaml.safe_load(block)["parameters"]
    choices = {
        name: choice.get("values") or [choice[end] for end in ("value", "min", "max") if end in choice]
        for name, choice in parameters.items()
    }
    for values in product(*choices.values()):
        load_config([f"{name}={value}" for name, value in zip(choices, values, strict=True)])


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documents_name_only_keys_that_exist(path: Path) -> None:
    known = {*keys(), *sections(), *ALIASES}
    top = "|".join(section for section in sections() if "." not in section)
    # `data.tables.…` and `data/` files are no keys; W&B writes metrics as valid/score_mean
    named = re.findall(rf"(?<![\w./-])(?:{top})(?:\.[a-z_]+)+(?![\w/]*\.(?:py|yaml|md))", code_of(path))
    files = (".py", ".yaml", ".html", ".md")
    assert sorted({name for name in named if name not in known and not name.endswith(files)}) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documents_name_only_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", code_of(path))) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documents_link_only_to_files_that_exist(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


POLYVORE = {"polyvore_outfits": layouts.write_polyvore_root, "maryland": layouts.write_maryland_root}
WHAT_CAME_OF_IT = """
import json, sys
print(json.dumps({
    "dataset": dataset.name, "steps": trainer.global_step, "batches": trainer.num_training_batches,
    "offline": logger.experiment.offline, "logged": sorted(dict(logger.experiment.summary)),
    "modules": sorted(name for name in sys.modules if "." not in name),
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", POLYVORE)
def test_the_lightning_example_trains_a_generator(layout: str, tmp_path: Path) -> None:
    """The other layout is read with its name in both places."""
    (code,) = blocks_of(ROOT / "docs" / "lightning.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    POLYVORE[layout](tmp_path / layout)
    # W&B's service of a parent, where an earlier test started one, would write under the parent's folder.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace("polyvore_outfits", layout) + WHAT_CAME_OF_IT],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["dataset"].startswith(layout.split("_")[0])
    assert found["steps"] == 5 * found["batches"] > 0
    assert found["offline"]
    assert {"valid/score_mean", "test/score_mean", "test/removed_recall@10"} <= set(found["logged"])
    assert "pipeline" not in found["modules"]
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
