"""The help names every key, recipe and group once, from the schema itself."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from outfits.config.help import help_text
from outfits.config.keys import keys, may_change
from outfits.config.load import load_config
from outfits.config.recipes import CONFIGS, purpose_of


def headings(text: str) -> Counter[str]:
    return Counter(re.findall(r"^  ([a-z_.]+) = ", text, flags=re.MULTILINE))


def test_help_of_training_shows_every_key_once() -> None:
    assert headings(help_text("train")) == Counter(list(keys()))


def test_help_of_evaluation_shows_what_may_change_and_nothing_else() -> None:
    shown = headings(help_text("evaluate"))
    assert set(shown.values()) == {1}
    assert set(shown) == {"run"} | {name for name in keys() if may_change(name, "evaluate")}


def test_help_shows_meaning_type_default_and_allowed_values() -> None:
    words = " ".join(help_text("train").split())
    for name, key in keys().items():
        assert " ".join(key.help.split()) in words, name
        assert f"{key.help} ({key.type_name}" in words, name
        assert all(str(choice) in words for choice in key.choices or ()), name
    assert "an outfit, for training and in the experiment (a whole number; >= 1 and <= 8)" in words
    assert "stages = [embeddings, compatibility, targets, generator, test]" in words
    assert "trainer.fast_dev_run = false" in words


def test_help_lists_recipes_and_groups_with_their_purpose() -> None:
    words = " ".join(help_text("train").split())
    files = list(CONFIGS.glob("*/*.yaml"))
    assert files
    for path in files:
        assert f" {path.parent.name}={path.stem} {purpose_of(path)}" in words


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_help_flag_prints_help_and_ends_with_status_0(
    flag: str, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        load_config(["nonsense", flag], program)
    assert caught.value.code == 0
    assert capsys.readouterr().out == help_text(program)


@pytest.mark.parametrize("program", ["train", "evaluate", "complete", "serve", "pipeline.export"])
def test_help_does_not_wait_for_torch(program: str) -> None:
    code = (
        f"import atexit, sys, {program}; atexit.register(lambda: print('torch' in sys.modules)); {program}.main(['-h'])"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=CONFIGS.parent, capture_output=True, text=True)
    assert finished.stdout.splitlines()[-1] == "False", finished.stderr


def test_lines_fit_a_terminal() -> None:
    assert max(map(len, help_text("train").splitlines())) <= 100
