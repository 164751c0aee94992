"""Chooses, among outfits that score alike, some that look different."""

from collections.abc import Sequence

import numpy as np

from outfits.stylist import StyledOutfit, Stylist

ALIKE = 0.95  # S_X from which on two items look the same to a visitor
WORTH = 0.05  # of the objective: what an outfit all of whose added items look new is worth against one of the same


def varied(stylist: Stylist, found: Sequence[StyledOutfit], count: int) -> list[StyledOutfit]:
    """The best outfit and others that look different from those before, at most so many.

    Each next one has the largest objective less :data:`WORTH` times the share of its added items that look like, or
    are, one of an outfit chosen before (maximal marginal relevance, Carbonell and Goldstein 1998). One without anything
    new is chosen where there is no other.

    Args:
        stylist: of the catalogue that the added items are from.
        found: outfits, best first.
        count: outfits to choose.

    Returns:
        The outfits, best first.
    """
    ids = sorted({str(item.id) for outfit in found for item in outfit.added})
    place = {item_id: number for number, item_id in enumerate(ids)}
    items = [[place[str(item.id)] for item in outfit.added] for outfit in found]
    alike = stylist.likeness(ids) >= ALIKE
    chosen: list[int] = []
    seen = np.zeros(len(ids), dtype=np.bool_)
    while len(chosen) < min(count, len(found)):
        values = []
        for number, (outfit, row) in enumerate(zip(found, items, strict=True)):
            worth = outfit.objective - WORTH * seen[row].mean()
            values.append((number not in chosen, not seen[row].all(), worth, -number))
        chosen.append(-max(values)[-1])
        seen |= alike[items[chosen[-1]]].any(axis=0)
    return [found[number] for number in sorted(chosen)]
