"""Names that were misspelt: which known ones are near."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from os.path import commonprefix

NEIGHBOURS = 300  # known names compared on either side of where the misspelt one would stand


def near(name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
    """At most ``n`` known names that look like ``name``, best first.

    Comparing a name with 100,000 others takes seconds. A slip leaves the beginning or the end of a name alone, so only
    its neighbours in alphabetical order, read forwards and backwards, are compared.
    """
    forwards = sorted(known)
    backwards = sorted(other[::-1] for other in forwards)
    around = {*_around(forwards, name), *(other[::-1] for other in _around(backwards, name[::-1]))}
    alike = get_close_matches(name, around, n=len(around) or 1, cutoff=cutoff)
    likeness = {other: SequenceMatcher(None, other, name).ratio() for other in alike}
    # of names that are equally like it, the one that begins like it was probably meant
    return sorted(alike, key=lambda other: (-likeness[other], -len(commonprefix([other, name])), other))[:n]


def _around(names: Sequence[str], name: str) -> Sequence[str]:
    place = bisect_left(names, name)
    return names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]


def suggestion(names: Sequence[str]) -> str:
    """``; did you mean a, b or c?``, empty without names."""
    return f"; did you mean {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}?" if names else ""


def did_you_mean(name: str, known: Iterable[str], n: int = 1) -> str:
    """The suggestion of the known names that are nearest to a misspelt one, empty where none is near."""
    return suggestion(near(name, known, n))
