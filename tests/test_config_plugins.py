"""Plug-ins: modules of users that register names, imported before names are checked."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outfits.config.fields import key
from outfits.config.keys import keys
from outfits.config.load import load_complete, load_config, read_config, save_config
from outfits.config.method_calls import resolve_call
from outfits.config.schema.methods import METHODS
from outfits.errors import ConfigError
from outfits.registry import Entry, Table

PLUGIN = """
from dataclasses import dataclass, replace

from outfits.config.fields import key
from outfits.config.schema.methods import METHODS


@dataclass
class DummyConfig:
    strength: int = key(2, "how much", ge=1)
    plain: float = 0.5


METHODS.register(replace(METHODS["random"], name="dummy", code="my_plugin:complete", options=DummyConfig))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the plug-in ``my_plugin``; tables and modules are restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS.items()))
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    yield tmp_path
    for name in ("my_plugin", "my_broken_plugin"):
        sys.modules.pop(name, None)


CALL = "evaluate.methods=[random,dummy:strength=3]"


def errors_of(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    return caught.value.errors


def test_a_name_is_unknown_without_its_plugin(folder: Path) -> None:
    (line,) = errors_of(CALL)
    assert line.startswith("evaluate.methods: element 1: 'dummy:strength=3' is not one of original, random")


def test_a_plugin_of_the_command_line_counts(folder: Path) -> None:
    assert load_config([CALL, "plugins=[my_plugin]"]).plugins == ["my_plugin"]


def test_a_plugin_of_a_recipe_counts(folder: Path) -> None:
    (folder / "mine.yaml").write_text("evaluate: {methods: ['dummy:strength=3']}\nplugins: [my_plugin]\n")
    assert load_config(["experiment=mine.yaml"]).evaluate.methods == ["dummy:strength=3"]


@pytest.mark.parametrize(("program", "named"), [("evaluate", "run"), ("train", "resume")])
def test_the_plugin_of_a_run_counts_when_it_is_taken_up(folder: Path, program: str, named: str) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(f"plugins: [my_plugin]\n{CALL.replace('=', ': ', 1)}\n")
    assert "dummy" not in METHODS
    assert load_config([f"{named}=run"], program).evaluate.methods[1] == "dummy:strength=3"
    assert read_config(folder / "run" / "config.yaml").plugins == ["my_plugin"]


def test_a_finished_run_can_be_evaluated_with_a_plugin(folder: Path) -> None:
    (folder / "run").mkdir()
    save_config(load_config([]), folder / "run" / "config.yaml")
    assert load_config(["run=run", "plugins=[my_plugin]", CALL], "evaluate").plugins == ["my_plugin"]


def test_the_plugin_of_a_run_counts_in_a_completion(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("plugins: [my_plugin]\n")
    assert load_complete(["run=run", "items=[a]", "method=dummy:strength=4"]).method == "dummy:strength=4"
    with pytest.raises(ConfigError, match=r"method: 'dummy:strength=0': strength: 0 is out of range: must be >= 1"):
        load_complete(["run=run", "items=[a]", "method=dummy:strength=0"])


def test_options_of_a_plugin_have_their_own_defaults(folder: Path) -> None:
    config = load_config(["plugins=[my_plugin]"]).evaluate
    assert vars(resolve_call("dummy", config).options) == {"strength": 2, "plain": 0.5}
    assert vars(resolve_call("dummy:strength=3:plain=1", config).options) == {"strength": 3, "plain": 1.0}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("dummy:strength=0", "strength: 0 is out of range: must be >= 1"),
        ("dummy:strength=much", "strength: expected a whole number, not 'much'"),
        ("dummy:strenght=3", "dummy has no option 'strenght'; options: strength, plain; did you mean strength?"),
        ("dummy:strength", "'strength' is not OPTION=VALUE"),
        ("random:strength=3", "random has no options"),
    ],
)
def test_wrong_options_of_a_call_are_reported(folder: Path, call: str, says: str) -> None:
    assert errors_of("plugins=[my_plugin]", f"evaluate.methods=['{call}']") == [
        f"evaluate.methods: element 0: '{call}': {says}"
    ]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "plugins: 'my_broken_plugin' cannot be imported: ModuleNotFoundError: No module named"),
        (
            "import torchh\n",
            "plugins: 'my_broken_plugin' cannot be imported: ModuleNotFoundError: No module named 'torchh'",
        ),
        ("x = \n", "plugins: 'my_broken_plugin' cannot be imported: SyntaxError: invalid syntax"),
        (
            "from outfits.registry import Entry\nfrom outfits.config.schema.methods import METHODS\n"
            "METHODS.register(Entry('beam', 'x:y'))\n",
            "plugins: 'my_broken_plugin' cannot be imported: ValueError: there is a method 'beam' already",
        ),
        ("x = 1\nx()\n", "plugins: 'my_broken_plugin' cannot be imported: TypeError: 'int' object is not callable ("),
    ],
    ids=["missing", "missing-dependency", "syntax", "name-taken", "bug"],
)
def test_a_plugin_that_fails_is_one_line(folder: Path, source: str | None, says: str) -> None:
    if source is not None:
        (folder / "my_broken_plugin.py").write_text(source)
    (line,) = errors_of("plugins=[my_broken_plugin]", CALL)
    assert line.startswith(says)
    assert "\n" not in line


@dataclass
class Chosen:
    """A section with a key that chooses from a table."""

    kind: str = key("one", "what", choices=Table("thing", [Entry("one", "json:dumps")]))


def test_choices_of_a_table_are_read_when_a_value_is_checked() -> None:
    kind = keys(Chosen)["kind"]
    with pytest.raises(ValueError, match="'two' is not one of one"):
        kind.validate("two")
    assert isinstance(kind.choices, Table)
    kind.choices.register(Entry("two", "json:loads"))
    assert kind.validate("two") == "two"
