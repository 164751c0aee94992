"""Normalises the names that are compared, and finds known names near a misspelt one."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from os.path import commonprefix

NEIGHBOURS = 300  # known names compared on either side of the misspelt one's place in the alphabet
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))  # of no width; from spreadsheets and web pages


def normalised(value: object) -> str:
    """Converts a name to the form in which names are compared.

    Unicode NFC, without characters of no width, without white space around it and with single blanks (no-break spaces
    count as white space); a whole float, as a column of integers with a gap becomes, is written as an integer.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFC", str(value).translate(INVISIBLE)).split())


def whole_characters(text: str) -> str:
    """Replaces halves of characters, as JSON has them where a text was cut in the middle of an emoji."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def bare(name: str) -> str:
    """Strips a normalised name of case, leading zeros and decimals that are zero, as in ``014.0``."""
    return re.sub(r"^0+(?=\d)|\.0+$", "", unicodedata.normalize("NFKC", name).casefold())


def differing_by_case(names: Iterable[str]) -> list[list[str]]:
    """Groups two or more distinct names that are equal but for upper and lower case."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def near(name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
    """Finds at most ``n`` known names like ``name`` in any case, best first, but first those of the same :func:`bare`.

    Comparing a name with 100,000 others takes seconds. Most misspellings keep the beginning or the end of a name, so
    only its neighbours in alphabetical order, read forwards and backwards, are compared.
    """
    names = {other.casefold(): other for other in known}
    form, name = bare(name), name.casefold()
    same = [other for other in names.values() if bare(other) == form]
    forwards = sorted(names)
    backwards = sorted(other[::-1] for other in forwards)
    around = {*_around(forwards, name), *(other[::-1] for other in _around(backwards, name[::-1]))}
    alike = get_close_matches(name, around, n=len(around) or 1, cutoff=cutoff)
    likeness = {other: SequenceMatcher(None, other, name).ratio() for other in alike}
    # of equally similar names prefer the longest common beginning
    alike.sort(key=lambda other: (-likeness[other], -len(commonprefix([other, name])), other))
    return list(dict.fromkeys([*same, *(names[other] for other in alike)]))[:n]


def _around(names: Sequence[str], name: str) -> Sequence[str]:
    place = bisect_left(names, name)
    return names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]


def suggestion(names: Sequence[str]) -> str:
    """Formats ``; did you mean a, b or c?``, empty without names."""
    return f"; did you mean {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}?" if names else ""


def did_you_mean(name: str, known: Iterable[str], n: int = 1) -> str:
    """Suggests the known names nearest to a misspelt one, empty where none is near."""
    return suggestion(near(name, known, n))


def listed(parts: Sequence[str], shown: int = 5) -> str:
    """Joins the first few parts and counts the others."""
    return ", ".join(parts[:shown]) + (f" and {len(parts) - shown:,} more" if len(parts) > shown else "")


def named(names: Sequence[str]) -> str:
    """Quotes and joins the first few names and counts the others."""
    return listed([repr(name) for name in names])
