"""Makes the layout's two official tasks: fill-in-the-blank questions and labelled outfits for compatibility.

Wrong answers and incompatible outfits break a hidden rule, so every question has one right answer; half of them are
hard (of the true item's own category), half easy (any item).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WRONG_ANSWERS = 3


@dataclass(frozen=True)
class Appearance:
    """A garment in one outfit: an item of the data set, ``item_id`` being ``SETID_INDEX``.

    ``garment`` and ``category`` are positions in the wardrobe and in the categories.
    """

    item_id: str
    garment: int
    category: int


Worn = Sequence[Appearance]


class TaskMaker:
    """Makes tasks from the outfits of one split, whose items are the wrong answers; ``matches`` is bool ``[G, G]``."""

    def __init__(self, outfits: Sequence[Worn], matches: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self.outfits = outfits
        self.matches = matches
        self.rng = rng
        self.items = [item for outfit in outfits for item in outfit]
        self.garments = np.array([item.garment for item in self.items])
        self.categories = np.array([item.category for item in self.items])

    def questions(self) -> list[dict[str, object]]:
        """Makes one question per outfit in the official form: the true answer first, ``blank_position`` from 1."""
        return [self._question(outfit) for outfit in self.outfits]

    def labelled(self) -> list[tuple[int, list[str]]]:
        """Returns labels and item ids: every outfit as 1, and as many sets that break a rule as 0, shuffled."""
        rows = [(1, [item.item_id for item in outfit]) for outfit in self.outfits]
        for outfit in self.outfits:
            negative = self._one_replaced(outfit) if self.rng.random() < 0.5 else self._all_replaced(len(outfit))
            rows.append((0, [item.item_id for item in negative]))
        return [rows[place] for place in self.rng.permutation(len(rows))]

    def _question(self, outfit: Worn) -> dict[str, object]:
        blank = int(self.rng.integers(len(outfit)))
        rest = [*outfit[:blank], *outfit[blank + 1 :]]
        answers = [outfit[blank]]
        while len(answers) <= WRONG_ANSWERS:
            answers.append(self._wrong(rest, answers, self.rng.random() < 0.5))
        return {
            "question": [item.item_id for item in rest],
            "answers": [item.item_id for item in answers],
            "blank_position": blank + 1,
        }

    def _wrong(self, rest: Worn, answers: Worn, same_category: bool) -> Appearance:
        """Draws an item that does not match the rest, or any other item where a tiny split has none."""
        taken = [item.garment for item in (*rest, *answers)]
        free = ~np.isin(self.garments, taken)
        given = np.array([item.garment for item in rest])
        clashes = free & ~self.matches[np.ix_(self.garments, given)].all(axis=1)
        of_category = clashes & (self.categories == answers[0].category)
        pool = of_category if same_category and of_category.any() else clashes if clashes.any() else free
        return self.items[int(self.rng.choice(np.flatnonzero(pool)))]

    def _one_replaced(self, outfit: Worn) -> list[Appearance]:
        place = int(self.rng.integers(len(outfit)))
        rest = [*outfit[:place], *outfit[place + 1 :]]
        return [*rest, self._wrong(rest, [outfit[place]], True)]

    def _all_replaced(self, size: int) -> list[Appearance]:
        """Draws random items of different categories that do not all match."""
        while True:
            kinds: list[int] = self.rng.permutation(np.unique(self.categories))[:size].tolist()
            chosen = [int(self.rng.choice(np.flatnonzero(self.categories == kind))) for kind in kinds]
            garments = self.garments[chosen]
            if not (self.matches[np.ix_(garments, garments)] | np.eye(len(garments), dtype=bool)).all():
                return [self.items[place] for place in chosen]
