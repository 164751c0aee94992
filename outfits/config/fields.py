"""Declares configuration keys: default, meaning and bounds; and nested sections."""

import os
from collections.abc import Callable, Collection
from dataclasses import field
from typing import Any, TypeVar

from outfits.hub import on_hub

T = TypeVar("T")


def key(
    default: T,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Collection[Any] | None = None,
    check: Callable[[Any], Any] | None = None,
    unwritten: bool = False,
) -> T:
    """Declares one configuration key: its default, its meaning and the values it may take.

    Args:
        default: value when neither YAML nor the command line sets the key; lists are copied.
        help: meaning, one sentence, with units where there are any.
        ge, gt, le, lt: bounds as pydantic names them; of a list key for its elements.
        choices: allowed values, of a list key its allowed elements; read when a value is checked, so plug-ins count.
        check: returns the value if it is allowed; else raises ValueError with the reason.
        unwritten: of an architecture, whether weights files leave the key out at its default: files from before there
            was the key stay readable, and those without it keep their SHA-256.
    """
    bounds = {sign: bound for sign, bound in {"ge": ge, "gt": gt, "le": le, "lt": lt}.items() if bound is not None}
    metadata = {"help": help, "bounds": bounds, "choices": choices, "check": check, "unwritten": unwritten}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)  # type: ignore[return-value]
    return field(default=default, metadata=metadata)


def absolute(path: str) -> str:
    """Makes the path of a key absolute, so that a recorded one is right from every folder."""
    return os.path.abspath(path) if path else path


def rooted(path: str) -> str:
    """Makes the path of a key absolute, but leaves the name of a repository on a hub."""
    return path if on_hub(path) else absolute(path)


def file_or_package(path: str) -> str:
    """Makes the path of a key absolute, but leaves ``package:NAME``, a file inside an installed package."""
    return path if path.startswith("package:") else absolute(path)


def located(name: str) -> str:
    """Makes the path in the name of a model absolute, behind ``local-dir:`` or alone; leaves hubs and packages."""
    prefix, colon, path = name.partition(":")
    if colon and prefix in ("local-dir", "learned"):
        return f"{prefix}:{absolute(os.path.expanduser(path))}"
    return os.path.abspath(name) if not colon and (name.startswith(".") or os.path.exists(name)) else name


def section(kind: type[T]) -> T:
    """Declares a nested section of keys."""
    return field(default_factory=kind)
