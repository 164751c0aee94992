"""Refinements: an item, a text that says what should be different, and the item that is meant.

A data set has its own, as FashionIQ does, or they are made from attributes: two items of one category that differ in
exactly one of some attributes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue
from outfits.errors import ConfigError
from outfits.naming import did_you_mean

JOIN = ", "  # between the captions of one refinement, as FAME-ViL joins FashionIQ's
WANTED, REFERENCE = "{value}", "{reference}"


@dataclass(frozen=True)
class Refinement:
    """A reference, the item that is meant, both catalogue positions, and one caption or several of the difference."""

    reference: int
    target: int
    captions: tuple[str, ...]


@dataclass(frozen=True)
class RefinementQuestion:
    """A reference and a text, and all items that are right answers, as catalogue positions."""

    reference: int
    text: str
    right: NDArray[np.int64]


class Refinements(Protocol):
    """Refinements of a split to learn from and to be asked about."""

    def __len__(self) -> int:
        """How many can be drawn from."""

    def draw(self, row: int, rng: np.random.Generator) -> tuple[int, int, str]:
        """Reference, target and text of one to learn from."""

    def questions(self, seed: int) -> list[RefinementQuestion]:
        """What is asked in evaluation."""

    def facts(self) -> list[object]:
        """What draws and questions depend on, as JSON values."""


class GivenRefinements:
    """The data set's own.

    Args:
        rows: refinements of a split.
        captions: ``joined``: a question of all captions of a refinement, in their order, and training texts in either
            order; ``single``: a question of each caption.
    """

    def __init__(self, rows: Sequence[Refinement], captions: str = "joined") -> None:
        self.rows = rows
        self.joined = captions == "joined"

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, row: int, rng: np.random.Generator) -> tuple[int, int, str]:
        """See :class:`Refinements`."""
        one = self.rows[row]
        order = rng.permutation(len(one.captions)).tolist()
        kept = order if self.joined else order[:1]
        return one.reference, one.target, JOIN.join(one.captions[place] for place in kept)

    def questions(self, seed: int) -> list[RefinementQuestion]:
        """See :class:`Refinements`; nothing is drawn."""
        return [
            RefinementQuestion(one.reference, text, np.array([one.target]))
            for one in self.rows
            for text in ([JOIN.join(one.captions)] if self.joined else one.captions)
        ]

    def facts(self) -> list[object]:
        """See :class:`Refinements`."""
        return [self.joined, [[one.reference, one.target, list(one.captions)] for one in self.rows]]


class AttributeRefinements:
    """Made from the attributes of items of a split.

    Args:
        catalogue: items with attributes.
        items: catalogue positions of the split, with one item for every image.
        differences: texts by attribute, see :func:`parse_differences`.
    """

    def __init__(
        self, catalogue: Catalogue, items: NDArray[np.int64], differences: Mapping[str, Sequence[str]]
    ) -> None:
        self.differences = differences
        self.values = {name: catalogue.attributes[name] for name in differences}
        # groups[attribute][category and other attributes][value] are items
        self.groups: dict[str, dict[tuple[object, ...], dict[str, list[int]]]] = {name: {} for name in differences}
        for item in items.tolist():
            if all(self.values[name][item] for name in differences):
                for name in differences:
                    group = self.groups[name].setdefault(self._others(catalogue, name, item), {})
                    group.setdefault(self.values[name][item], []).append(item)
        self._keys = {
            item: {name: self._others(catalogue, name, item) for name in differences} for item in items.tolist()
        }
        self.references = [item for item in items.tolist() if self._open(item)]

    def __len__(self) -> int:
        return len(self.references)

    def draw(self, row: int, rng: np.random.Generator) -> tuple[int, int, str]:
        """See :class:`Refinements`; attribute, wanted value and target are drawn, each evenly."""
        reference = self.references[row]
        names = self._open(reference)
        name = names[int(rng.integers(len(names)))]
        value, right, text = self._wanted(reference, name, rng)
        return reference, right[int(rng.integers(len(right)))], text

    def questions(self, seed: int) -> list[RefinementQuestion]:
        """See :class:`Refinements`: one for every reference and attribute with a right answer, the value drawn."""
        found = []
        for reference in self.references:
            for name in self._open(reference):
                rng = np.random.default_rng([seed, reference, list(self.differences).index(name)])
                _, right, text = self._wanted(reference, name, rng)
                found.append(RefinementQuestion(reference, text, np.array(right)))
        return found

    def facts(self) -> list[object]:
        """See :class:`Refinements`."""
        values = [[item, *(self.values[name][item] for name in self.differences)] for item in self._keys]
        return [{name: list(texts) for name, texts in self.differences.items()}, values]

    def _others(self, catalogue: Catalogue, name: str, item: int) -> tuple[object, ...]:
        return (
            int(catalogue.categories[item]),
            *(self.values[other][item] for other in self.differences if other != name),
        )

    def _open(self, item: int) -> list[str]:
        """Attributes in which another item differs from this one, and in no other."""
        if not all(self.values[name][item] for name in self.differences):
            return []
        return [name for name in self.differences if len(self.groups[name][self._keys[item][name]]) > 1]

    def _wanted(self, reference: int, name: str, rng: np.random.Generator) -> tuple[str, list[int], str]:
        now, group = self.values[name][reference], self.groups[name][self._keys[reference][name]]
        others = sorted(value for value in group if value != now)
        value = others[int(rng.integers(len(others)))]
        texts = self.differences[name]
        text = texts[int(rng.integers(len(texts)))].replace(WANTED, value).replace(REFERENCE, now)
        return value, group[value], text.lower()


def attribute_texts(
    differences: Mapping[str, Sequence[str]], catalogue: Catalogue, items: NDArray[np.int64]
) -> set[str]:
    """Pieces of all texts that :class:`AttributeRefinements` of these items can have, for a vocabulary."""
    found = set()
    for name, texts in differences.items():
        found |= {text.replace(WANTED, " ").replace(REFERENCE, " ").lower() for text in texts}
        values = catalogue.attributes[name]
        found |= {values[item].lower() for item in items.tolist() if values[item]}
    return found


def parse_differences(lines: Sequence[str], catalogue: Catalogue) -> dict[str, list[str]]:
    """Reads ``ATTRIBUTE: text`` lines; several of one attribute are alternatives.

    Raises:
        ConfigError: if a line has no text or no ``{value}``, or the items have no such attribute.
    """
    found: dict[str, list[str]] = {}
    for line in lines:
        name, colon, text = (part.strip() for part in line.partition(":"))
        if not colon or WANTED not in text:
            raise ConfigError([f"multitask.differences: {line!r} is not 'ATTRIBUTE: text with {WANTED}'"])
        if name not in catalogue.attributes:
            known = list(catalogue.attributes)
            hint = (
                did_you_mean(name, known)
                or f"; they have {', '.join(known) or 'none, leave refinement out of multitask.tasks'}"
            )
            raise ConfigError([f"multitask.differences: the items have no attribute {name!r}{hint}"])
        found.setdefault(name, []).append(text)
    return found
