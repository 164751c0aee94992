"""Reads YAML files and command-line arguments into flat settings, each with the place it came from.

YAML turns ``007`` into 7, which is wrong for a text key; so a text keeps the characters that the user wrote.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from outfits.config.keys import ALIASES, Key, keys, sections
from outfits.config.schema import Config

YAML_ERRORS = (yaml.YAMLError, OmegaConfBaseException)


@dataclass(frozen=True)
class Setting:
    """One full key set to a value, or the error in its place.

    Attributes:
        key: full key, known or not.
        value: YAML's value; a number for a text key as it was written.
        place: FILE:LINE, or empty for the command line.
        error: empty if the setting is valid.
        unread: whether it stands for a file that cannot be read.
    """

    key: str
    value: Any = None
    place: str = ""
    error: str = ""
    unread: bool = False


def _yaml_problem(error: Exception) -> tuple[str, int]:
    """Returns the error in one line and its line number, counted from 1."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return " ".join(str(error.problem or error.context).split()), mark.line + 1 if mark else 1
    return str(error).splitlines()[0], 1


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {name.value: child for name, child in pairs if isinstance(name, yaml.ScalarNode)}


def _as_written(value: Any, node: yaml.Node | None, key: Key | None) -> Any:
    """Returns the user's text where YAML reads a number; ValueError where it reads what the text key refuses."""
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        for part, child in zip(value, node.value, strict=True):
            if key is not None and (part is None or isinstance(part, dict)):
                raise ValueError(f"YAML reads {_source(child)} as {'null' if part is None else 'a mapping'}")
        return [_as_written(part, child, key) for part, child in zip(value, node.value, strict=True)]
    if not isinstance(value, bool | int | float) or not isinstance(node, yaml.ScalarNode):
        return value
    if isinstance(value, bool) and key is not None and node.value not in (key.choices or ()):
        word = str(value).lower()
        raise ValueError(f"unquoted, YAML reads {node.value} as {word}, but this key takes a text")
    return node.value


def _source(node: yaml.Node) -> str:
    """Returns the characters that a node was read from; those within the quotes of a text."""
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return str(node.value)
    mark = node.start_mark
    return (mark.buffer or "")[mark.pointer : node.end_mark.pointer].strip() or "nothing"


def in_quotes(key: Key, texts: Sequence[str]) -> str:
    """Shows an argument whose texts YAML and interpolation leave alone, as a shell takes it."""
    quoted = [json.dumps(text.replace("${", "\\${"), ensure_ascii=False) for text in texts]
    argument = f"{key.name}=[{', '.join(quoted)}]" if key.is_list else f"{key.name}={quoted[0]}"
    return f"to mean the text, put quotes around it: {shlex.quote(argument)}"


def _at_home(value: Any) -> Any:
    """Expands ``~/`` at the start of a text, also within lists and mappings: no shell does it behind ``key=``."""
    if isinstance(value, list):
        return [_at_home(part) for part in value]
    if isinstance(value, dict):
        return {name: _at_home(part) for name, part in value.items()}
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value


def _settings(
    values: dict[Any, Any], nodes: Mapping[str, yaml.Node | None], prefix: str, file: str, schema: type
) -> Iterator[Setting]:
    for name, value in _at_home(values).items():
        node, full = nodes.get(str(name)), f"{prefix}{name}"
        key = keys(schema).get(ALIASES.get(full, full))
        place = f"{file}:{node.start_mark.line + 1}" if node is not None and file else file
        if isinstance(value, dict) and value and key is None:
            yield from _settings(value, _children(node), f"{full}.", file, schema)
        elif value == "???":
            yield Setting(full, None, place, "has no value (???)")
        elif key is None or key.element is str:
            try:
                yield Setting(full if key is None else key.name, _as_written(value, node, key), place)
            except ValueError as error:
                hint = ""
                if key is not None and key.choices is None and not file and node is not None:
                    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
                    hint = f"; {in_quotes(key, [_source(part) for part in parts])}"
                yield Setting(full, None, place, f"{error}{hint}")
        else:
            yield Setting(key.name, value, place)


def read_file(path: Path, shown: str, prefix: str = "") -> list[Setting]:
    """Reads a YAML file's settings in its own order; a file that cannot be read is one setting with an error.

    Args:
        path: file to read.
        shown: the file's name in messages.
        prefix: put before every key; ``data.`` for a group file of the section ``data``.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = OmegaConf.create(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = OmegaConf.to_container(content, resolve=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        return [Setting(shown, error=f"cannot be read: {reason}", unread=True)]
    except YAML_ERRORS as error:
        problem, line = _yaml_problem(error)
        return [Setting(f"{shown}:{line}", error=f"not valid YAML: {problem}", unread=True)]
    if not isinstance(values, dict):
        return [Setting(shown, error="must hold `key: value` lines, not a list", unread=True)]
    found = _settings(values, _children(node), prefix, shown, Config)
    # a section whose keys are all commented out sets nothing
    return [setting for setting in found if setting.value is not None or setting.key not in sections()]


def read_argument(argument: str, schema: type) -> list[Setting]:
    """Reads an argument ``key=value``, whose value is YAML; returns one setting with an error where it is malformed.

    A text key takes the words literally where YAML would see a mapping, so that
    ``data.tables.text='{colour} {name}'`` needs no second pair of quotes.
    """
    name, equals, text = argument.partition("=")
    name = name.strip()
    if equals and not name:
        return [Setting(argument, error="there is no key before =")]
    if not equals:
        return [Setting(argument, error="not of the form key=value" + " (or --help)" * name.startswith("-"))]
    if name.startswith("-"):
        return [Setting(name, error=f"keys have no dashes; write {name.lstrip('-')}={text}")]
    is_text = name in keys(schema) and keys(schema)[name].kind is str
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[call-overload, index]
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except YAML_ERRORS as error:
        if not is_text or "${" in text:
            problem = f"{text!r} is not valid YAML: {_yaml_problem(error)[0]}"
            if (key := keys(schema).get(name)) is not None and key.element is str and key.choices is None:
                parts = [part.strip(" '\"") for part in text.strip("[] ").split(",")] if key.is_list else [text]
                problem = f"{problem}; {in_quotes(key, parts)}"
            return [Setting(name, error=problem)]
        value, node = {}, None
    if isinstance(value, dict) and is_text:
        return [Setting(name, text)]
    return list(_settings({name: value}, {name: node}, "", "", schema))
