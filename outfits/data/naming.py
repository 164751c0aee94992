"""Names that were misspelt: which known ones are near."""

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from os.path import commonprefix

NEIGHBOURS = 100  # known names looked at on either side of where the misspelt one would stand


class KnownNames:
    """Known names, ready to find those near a misspelt one.

    Comparing a name with 100,000 others takes seconds. A mistake leaves the beginning or the end of a name alone, so
    only its neighbours in alphabetical order, read forwards and backwards, are compared.

    Args:
        names: the known names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._forwards = sorted(names)
        self._backwards = sorted(name[::-1] for name in self._forwards)

    def near(self, name: str, n: int = 3) -> list[str]:
        """At most ``n`` known names that look like ``name``, best first."""
        around = {*_around(self._forwards, name), *(other[::-1] for other in _around(self._backwards, name[::-1]))}
        alike = difflib.get_close_matches(name, around, n=len(around) or 1)
        likeness = {other: difflib.SequenceMatcher(None, other, name).ratio() for other in alike}
        # of names that are equally like it, the one that begins like it was probably meant
        return sorted(alike, key=lambda other: (-likeness[other], -len(commonprefix([other, name])), other))[:n]


def _around(names: Sequence[str], name: str) -> Sequence[str]:
    place = bisect_left(names, name)
    return names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]


def suggestion(near: Sequence[str], otherwise: str) -> str:
    """``did you mean a, b or c?``, or something else where nothing is near."""
    if not near:
        return otherwise
    return f"did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"
