"""Defines tables of what can be chosen by name: data formats, encoders, models, methods, stages.

An entry names its code instead of importing it, so that a table can be defined beside its section of the configuration
and neither ``--help`` nor an error waits for torch. A plug-in adds an entry by :meth:`Table.register`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar


@dataclass(frozen=True)
class Entry:
    """An entry of a table: its name in configurations and on command lines, and its code, ``MODULE:NAME``."""

    name: str
    code: str

    def load(self) -> Any:
        """Imports the function or class."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)


E = TypeVar("E", bound=Entry)


class Table(Mapping[str, E], Generic[E]):
    """Maps names to entries, in their order; ``what`` is the name of an entry in messages."""

    def __init__(self, what: str, entries: Iterable[E]) -> None:
        self.what = what
        self._entries: dict[str, E] = {}
        for entry in entries:
            self.register(entry)

    def register(self, entry: E) -> None:
        """Adds an entry at the end; raises ValueError if another entry has its name."""
        if self._entries.setdefault(entry.name, entry) != entry:
            raise ValueError(f"there is a {self.what} {entry.name!r} already")

    def __getitem__(self, name: str) -> E:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
