"""Names that are compared: in one form wherever they are read, and which known ones a misspelt one is near to."""

import difflib
import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from os.path import commonprefix
from pathlib import Path

NEIGHBOURS = 100  # known names looked at on either side of where the misspelt one would stand
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))  # of no width; spreadsheets and web pages leave them
SHOWN = 5  # names of a folder or examples in a message


def normalised(value: object) -> str:
    """A name in the form in which it is compared.

    Unicode NFC, without characters of no width, without white space around it and with single blanks (no-break spaces
    count as white space); a whole float, as a column of integers with a gap becomes, is written as an integer.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFC", str(value).translate(INVISIBLE)).split())


def bare(name: str) -> str:
    """What is left of a normalised name without case, leading zeros and decimals that are zero: ``0A``, ``14.0``."""
    return re.sub(r"^0+(?=\d)|\.0+$", "", unicodedata.normalize("NFKC", name).casefold())


def differing_by_case(names: Iterable[str]) -> list[list[str]]:
    """Groups of two or more distinct names that are equal but for upper and lower case."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


class KnownNames:
    """Known names, ready to find those near a misspelt one, whatever its case.

    Comparing a name with 100,000 others takes seconds. A mistake leaves the beginning or the end of a name alone, so
    only its neighbours in alphabetical order, read forwards and backwards, are compared.

    Args:
        names: the known names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._bare: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name in names:
            self._bare.setdefault(bare(name), name)
            self._names.setdefault(name.casefold(), name)
        self._forwards = sorted(self._names)
        self._backwards = sorted(name[::-1] for name in self._forwards)

    def alike(self, name: str) -> str | None:
        """The known name that differs from ``name`` in nothing but what :func:`bare` takes off."""
        return self._bare.get(bare(name))

    def near(self, name: str, n: int = 3) -> list[str]:
        """At most ``n`` known names that look like ``name``, best first."""
        first, name = self.alike(name), name.casefold()
        around = {*_around(self._forwards, name), *(other[::-1] for other in _around(self._backwards, name[::-1]))}
        alike = difflib.get_close_matches(name, around, n=len(around) or 1)
        likeness = {other: difflib.SequenceMatcher(None, other, name).ratio() for other in alike}
        # of names that are equally like it, the one that begins like it was probably meant
        alike.sort(key=lambda other: (-likeness[other], -len(commonprefix([other, name])), other))
        near = [self._names[other] for other in alike]
        return list(dict.fromkeys(near if first is None else [first, *near]))[:n]


def _around(names: Sequence[str], name: str) -> Sequence[str]:
    place = bisect_left(names, name)
    return names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]


def suggestion(near: Sequence[str], otherwise: str) -> str:
    """``did you mean a, b or c?``, or something else where nothing is near."""
    if not near:
        return otherwise
    return f"did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"


def listed(parts: Sequence[str], shown: int = SHOWN) -> str:
    """The first few parts, and how many more there are."""
    return ", ".join(parts[:shown]) + (f" and {len(parts) - shown:,} more" if len(parts) > shown else "")


def named(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    return listed([repr(name) for name in names])


def what_is_there(path: Path) -> str:
    """What the nearest folder above a missing path holds instead, near names first, as the end of a message."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    gone = path.relative_to(folder).parts[0]
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    near = KnownNames(names).near(gone)
    there = named(near + [name for name in names if name not in near])
    return f"{folder} has no {gone!r} but {there}" if names else f"{folder} is empty"
