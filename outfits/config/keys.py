"""A schema as a flat list of full keys, for everything that goes through all keys: merging, checking, help."""

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from outfits.config.schema import Config

TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
LIST_NAMES: dict[Any, str] = {int: " of whole numbers", float: " of numbers", str: " of texts"}

# What may change once a run's data, models and targets exist; an entry that ends in a dot is a whole section.
_EVERYWHERE = ("trainer.", "wandb.", "cache_dir", "data.root", "data.num_workers", "encoder.num_workers")
CHANGEABLE = {"train": _EVERYWHERE, "evaluate": ("evaluate.", "index.", *_EVERYWHERE)}

# Other spellings of a key. A text key such as encoder.image cannot have keys below it, though it reads best so.
ALIASES = {"encoder.image.run": "encoder.learned.run"}


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        name: full key, as in ``scorer.width``.
        kind: ``bool``, ``int``, ``float``, ``str``, ``list``, or ``object`` for a key of several types.
        element: type of the elements of a list key, ``Any`` where they may be of several, else None.
        optional: whether null is allowed.
        default: value when nothing sets the key.
        help: meaning.
        bounds: comparison sign and bound, as in ``(">=", 1)``; for a list key they hold for its elements.
        choices: allowed values, for a list key its allowed elements; None: no restriction.
    """

    name: str
    kind: type
    element: Any
    optional: bool
    default: Any
    help: str
    bounds: tuple[tuple[str, float], ...]
    choices: tuple[Any, ...] | None

    @property
    def type_name(self) -> str:
        """The type in words, as messages and the help say it."""
        if self.kind is object:
            name = "of several types"
        elif self.kind is list:
            name = f"a list{LIST_NAMES.get(self.element, '')}"
        else:
            name = TYPE_NAMES[self.kind]
        return f"{name} or null" if self.optional else name


def _key(name: str, field: "Field[Any]", annotation: Any) -> Key:
    optional = isinstance(annotation, types.UnionType) and type(None) in typing.get_args(annotation)
    if optional:
        (annotation,) = (part for part in typing.get_args(annotation) if part is not type(None))
    element = typing.get_args(annotation)[0] if typing.get_origin(annotation) is list else None
    kind = object if annotation is Any else list if element is not None else annotation
    default = field.default if field.default_factory is MISSING else field.default_factory()
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = tuple((sign, field.metadata[name]) for name, sign in signs.items() if field.metadata[name] is not None)
    return Key(name, kind, element, optional, default, field.metadata["help"], bounds, field.metadata["choices"])


def _walk(section: Any, prefix: str) -> Iterator[tuple[str, Key | None]]:
    hints = typing.get_type_hints(section)
    for field in fields(section):
        name = prefix + field.name
        if is_dataclass(hints[field.name]):
            yield name, None
            yield from _walk(hints[field.name], f"{name}.")
        else:
            yield name, _key(name, field, hints[field.name])


@cache
def keys(schema: type = Config) -> dict[str, Key]:
    """Every full key of a schema, in the schema's order."""
    return {name: key for name, key in _walk(schema, "") if key is not None}


@cache
def sections(schema: type = Config) -> tuple[str, ...]:
    """Full names of a schema's sections, nested ones included, as in ``data`` and ``data.split``."""
    return tuple(name for name, key in _walk(schema, "") if key is None)


def value_of(config: Any, name: str) -> Any:
    """The value that a configuration has under a full key."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def may_change(name: str, program: str) -> bool:
    """Whether a key of an existing run's configuration may change when ``program`` takes the run up again."""
    return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in CHANGEABLE[program])
