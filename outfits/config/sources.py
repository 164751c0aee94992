"""Reads YAML files and command-line arguments into flat settings, each with the place it came from.

YAML turns ``off`` into false and ``007`` into 7, which is wrong for a text key; so a setting keeps the characters that
the user wrote beside the value that YAML made of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from outfits.config.keys import keys, sections
from outfits.config.schema import Config
from outfits.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """One full key set to a value.

    Attributes:
        key: full key, known or not.
        value: what YAML made of the text.
        written: the text itself where it is one scalar, a list of texts where it is a list, else None.
        place: FILE:LINE, or empty for the command line.
    """

    key: str
    value: Any
    written: Any
    place: str


def _yaml_problem(error: Exception) -> tuple[str, int]:
    """One line saying what is wrong, and the line it was seen in, counted from 1."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        text = " ".join(str(error.problem or error.context).split())
        return text, mark.line + 1 if mark else 1
    return str(error).splitlines()[0], 1


def _written(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_written(part) for part in node.value]
    return None


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {name.value: child for name, child in node.value if isinstance(name, yaml.ScalarNode)}


def _flatten(values: dict[Any, Any], node: yaml.Node | None, prefix: str, file: str) -> Iterator[Setting]:
    nodes = _children(node)
    for name, value in values.items():
        key, child = f"{prefix}{name}", nodes.get(str(name))
        if key in sections() and value is None:
            continue  # a section whose keys are all commented out
        if isinstance(value, dict) and value and key not in keys():
            yield from _flatten(value, child, f"{key}.", file)
        else:
            line = f":{child.start_mark.line + 1}" if child is not None and file else ""
            yield Setting(key, value, _written(child), file + line)


def read_file(path: Path, shown: str, prefix: str = "") -> list[Setting]:
    """Settings of a YAML file in its own order.

    Args:
        path: file to read.
        shown: how messages call the file.
        prefix: put before every key; ``data.`` for a group file of the section ``data``.

    Raises:
        ConfigError: if the file cannot be read or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = OmegaConf.create(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = OmegaConf.to_container(content, resolve=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        problem, line = _yaml_problem(error)
        raise ConfigError([f"{shown}:{line}: not valid YAML: {problem}"]) from None
    if not isinstance(content, DictConfig) or not isinstance(values, dict):
        raise ConfigError([f"{shown}: must hold `key: value` lines, not a list"])
    return list(_flatten(values, node, prefix, shown))


def read_arguments(argv: Sequence[str], schema: type = Config) -> tuple[list[Setting], list[str]]:
    """Settings of the command line and the errors in its form; the value of ``key=value`` is YAML.

    A text key takes the words as they stand where YAML would see a mapping in them, so that
    ``data.tables.text='{colour} {name}'`` needs no second pair of quotes.
    """
    settings: list[Setting] = []
    errors: list[str] = []
    known = keys(schema)
    for argument in argv:
        name, equals, text = argument.partition("=")
        name = name.strip()
        if equals and not name:
            errors.append(f"{argument}: there is no key before =")
            continue
        if not equals:
            errors.append(f"{argument}: not of the form key=value" + (" (or --help)" if name.startswith("-") else ""))
            continue
        if name.startswith("-"):
            errors.append(f"{name}: keys have no dashes; write {name.lstrip('-')}={text}")
            continue
        is_text = name in known and known[name].kind is str
        try:
            value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[call-overload, index]
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            if is_text and "${" not in text:
                settings.append(Setting(name, text, text, ""))
            else:
                errors.append(f"{name}: {text!r} is not valid YAML: {_yaml_problem(error)[0]}")
            continue
        if isinstance(value, dict) and is_text:
            settings.append(Setting(name, text, text, ""))
        elif isinstance(value, dict) and value and name not in known:
            settings.extend(_flatten(value, node, f"{name}.", ""))
        else:
            settings.append(Setting(name, value, _written(node), ""))
    return settings, errors
