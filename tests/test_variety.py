"""Which of several outfits are shown."""

import numpy as np
import pytest
from numpy.typing import NDArray

from outfits.serving.variety import varied
from outfits.stylist import ItemRef, StyledOutfit

LOOKS = {"boots": "boots", "boots again": "boots", "skirt": "skirt", "coat": "coat", "bag": "bag", "hat": "hat"}


class Looker:
    """Tells which items look the same by their names in LOOKS."""

    def likeness(self, item_ids: list[str]) -> NDArray[np.float32]:
        looks = np.array([LOOKS[item_id] for item_id in item_ids])
        return (looks[:, None] == looks).astype(np.float32)


def outfit(objective: float, *added: str) -> StyledOutfit:
    items = tuple(ItemRef(item_id, item_id, "", None) for item_id in added)
    return StyledOutfit(items, items, objective, True, objective)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ([(0.80, "boots", "skirt"), (0.80, "boots again", "skirt"), (0.79, "coat", "bag")], [0, 2]),
        ([(0.80, "boots", "skirt"), (0.79, "boots", "bag"), (0.78, "coat", "bag")], [0, 2]),  # 0.755 against 0.78
        ([(0.80, "boots", "skirt"), (0.79, "boots", "bag"), (0.70, "coat", "bag")], [0, 1]),  # 0.765 against 0.70
        ([(0.80, "boots", "skirt"), (0.79, "boots again", "skirt"), (0.20, "boots", "bag")], [0, 2]),  # nothing new
        ([(0.80, "boots"), (0.79, "boots again")], [0, 1]),  # nothing else was found
        ([(0.80, "hat")], [0]),
        ([], []),
    ],
)
def test_others_than_the_best_look_different(found: list[tuple[float, *tuple[str, ...]]], shown: list[int]) -> None:
    outfits = [outfit(*one) for one in found]
    assert varied(Looker(), outfits, 2) == [outfits[number] for number in shown]  # type: ignore[arg-type]


def test_the_shown_are_sorted_by_their_objective() -> None:
    outfits = [outfit(0.80, "boots"), outfit(0.79, "boots again"), outfit(0.77, "coat")]
    assert [one.objective for one in varied(Looker(), outfits, 2)] == [0.80, 0.77]  # type: ignore[arg-type]
    assert [one.objective for one in varied(Looker(), outfits, 3)] == [0.80, 0.79, 0.77]  # type: ignore[arg-type]
