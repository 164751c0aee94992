"""The layout of the house: who may import whom, how long the entry points are, and that public names are documented."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    "config",
    "data",
    "representations",
    "encoders",
    "graphs",
    "models",
    "scoring",
    "index",
    "imaging",
    "completion",
    "mining",
    "metrics",
    "report",
    "stylist",
    "serving",
)
SHELL = ("pipeline", "lightning_modules", "datamodules", "callbacks")
LIBRARY_FILES = sorted((ROOT / "outfits").rglob("*.py"))


def name_of(path: Path) -> str:
    """Path relative to the repository, which also names the test case."""
    return path.relative_to(ROOT).as_posix()


def imported_modules(path: Path, tree: ast.Module) -> Iterator[str]:
    """Full names of everything that a file imports, inside functions too; ``from a import b`` gives ``a.b``."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imported_modules(path, ast.parse(path.read_text())))


def rule_breaks(path: Path, imports: set[str]) -> list[str]:
    """Imports of a library file that point to the right of its own stage, or out of the library."""
    stage = path.relative_to(ROOT / "outfits").parts[0]
    allowed = ORDER[: ORDER.index(stage) + 1] if stage in ORDER else ()
    if stage == "__init__.py":  # the package itself offers, on demand, what the last stage makes
        allowed = ORDER
    breaks = []
    for module in sorted(imports):
        top, _, rest = module.partition(".")
        if top in ("lightning", "pytorch_lightning", "train", "evaluate", "complete", "serve", *SHELL):
            breaks.append(module)
        elif top == "outfits":
            target = rest.split(".")[0]
            if target in ORDER and target not in allowed:
                breaks.append(module)
    return breaks


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=name_of)
def test_library_imports_only_from_earlier_stages_and_no_lightning(path: Path) -> None:
    assert rule_breaks(path, imports_of(path)) == []


@pytest.mark.parametrize(
    ("path", "source", "broken"),
    [
        ("outfits/data/load.py", "from outfits.models.frozen import load_scorer", "outfits.models.frozen.load_scorer"),
        ("outfits/data/load.py", "from ..models import frozen", "outfits.models.frozen"),
        ("outfits/data/load.py", "from outfits import models", "outfits.models"),
        ("outfits/models/losses.py", "def f():\n    import lightning.pytorch", "lightning.pytorch"),
        ("outfits/errors.py", "from outfits.config import schema", "outfits.config.schema"),
        ("outfits/report/comparison/table.py", "import callbacks.evaluation", "callbacks.evaluation"),
        ("outfits/report/comparison/table.py", "from outfits.stylist import Stylist", "outfits.stylist.Stylist"),
    ],
)
def test_the_import_check_sees_a_broken_rule(path: str, source: str, broken: str) -> None:
    file = ROOT / path
    assert rule_breaks(file, set(imported_modules(file, ast.parse(source)))) == [broken]


@pytest.mark.parametrize("folder", [folder for folder in SHELL if folder != "pipeline"])
def test_modules_for_lightning_do_not_import_the_application(folder: str) -> None:
    imports = {module for path in (ROOT / folder).glob("*.py") for module in imports_of(path)}
    assert [module for module in sorted(imports) if module.partition(".")[0] == "pipeline"] == []
    assert len(imports) > 5


def test_every_stage_of_the_library_stands_in_the_order() -> None:
    folders = {path.parent.name for path in (ROOT / "outfits").glob("*/__init__.py")}
    assert folders == set(ORDER)


@pytest.mark.parametrize("path", [path for path in LIBRARY_FILES if "faiss" in path.read_text()], ids=name_of)
def test_torch_is_imported_before_faiss(path: Path) -> None:
    """The other order lets thread settings go astray and a search inside a loader worker hang."""
    names = [
        alias.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in ("torch", "faiss")
    ]
    assert "faiss" not in names or names.index("torch") < names.index("faiss")


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "complete.py", "serve.py"])
def test_entry_points_are_read_in_one_sitting(program: str) -> None:
    assert len((ROOT / program).read_text().splitlines()) < 80


def undocumented(path: Path) -> list[str]:
    """Public modules, classes and functions without a docstring; methods that a base class documents are exempt."""
    tree = ast.parse(path.read_text())
    missing = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            missing.append(node.name)
        if isinstance(node, ast.ClassDef):
            inherited = bool(node.bases)
            missing += [
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef)
                and not method.name.startswith("_")
                and not inherited
                and not ast.get_docstring(method)
            ]
    return missing


# In the schema each key carries its own help, which says more than a docstring of its section would.
@pytest.mark.parametrize("path", [path for path in LIBRARY_FILES if "schema" not in path.parts], ids=name_of)
def test_public_names_of_the_library_have_docstrings(path: Path) -> None:
    assert undocumented(path) == []


def written_files() -> list[Path]:
    """Text files of the repository, apart from what runs, builds and tools leave there."""
    generated = ("runs", "cache", "data", "build", "dist", "wandb")
    suffixes = (".py", ".md", ".toml", ".txt", ".yaml", ".html", ".j2", "")
    return [
        path
        for top in sorted(ROOT.iterdir())
        if top.name == ".ci" or not top.name.startswith((".", *generated))
        for path in ([top] if top.is_file() else sorted(top.rglob("*")))
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    homes = [f"/{folder}/" for folder in ("home", "root", "Users", "work")] + [f"{ROOT}/"]
    found = [
        f"{name_of(path)}: {home}"
        for path in written_files()
        for home in homes
        if re.search(rf"(?<![\w.$}}~-]){re.escape(home)}\w", path.read_text(errors="ignore"))
    ]
    assert found == []
