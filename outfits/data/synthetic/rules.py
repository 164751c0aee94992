"""The hidden style rules, and outfits that keep them.

Two garments match if all of these hold:

- their **styles** are equal, or one is casual and the other sporty or boho;
- their **formality** differs by at most one level;
- they are not made for summer and for winter;
- their **colours** harmonise: one is neutral, or their hues are neighbours or complements on the colour wheel;
- at most one of them has a bold **pattern**.

An outfit is four to seven garments that match pairwise and have the right *structure*: either a dress or one upper and
one lower garment, exactly one pair of shoes or boots, at most one jacket or coat, the rest accessories. No two are of
one category, except that a share :data:`REPEAT_SHARE` of outfits has two accessories of one category, as real outfits
do.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outfits.data.synthetic.wardrobe import PLAIN, STYLES, SUMMER, WINTER, Garment
from outfits.errors import DataError

MIN_ITEMS, MAX_ITEMS = 4, 7
REPEAT_SHARE = 0.05
NEIGHBOURING_STYLES = frozenset({frozenset({"casual", "sporty"}), frozenset({"casual", "boho"})})
NEIGHBOURS_WITHIN = 45.0
COMPLEMENTS_FROM = 150.0
# Weight of a garment of a neighbouring style, relative to the outfit's own style.
_STRAY_WEIGHT = 0.04
# The same for a season that the rule allows but that is not the outfit's own.
_OFF_SEASON_WEIGHT = 0.12
# So many failures in a row mean that hardly any other outfit is left to find.
_PATIENCE = 500


def hue_distance(first: float, second: float) -> float:
    """Distance of two hues on the colour wheel, degrees, in [0, 180]."""
    apart = abs(first - second) % 360
    return min(apart, 360 - apart)


def colours_harmonise(first: float | None, second: float | None) -> bool:
    """Tells whether two hues (degrees; None is a neutral) go together."""
    if first is None or second is None:
        return True
    apart = hue_distance(first, second)
    return apart <= NEIGHBOURS_WITHIN or apart >= COMPLEMENTS_FROM


def styles_match(first: str, second: str) -> bool:
    """Tells whether two styles go together."""
    return first == second or frozenset((first, second)) in NEIGHBOURING_STYLES


def go_together(first: Garment, second: Garment) -> bool:
    """Tells whether two garments of different categories match."""
    return (
        styles_match(first.style, second.style)
        and abs(first.formality - second.formality) <= 1
        and {first.warmth, second.warmth} != {SUMMER, WINTER}
        and colours_harmonise(first.colour.hue, second.colour.hue)
        and PLAIN in (first.pattern, second.pattern)
    )


def match_matrix(garments: Sequence[Garment]) -> NDArray[np.bool_]:
    """Computes :func:`go_together` of all pairs, shape ``[N, N]``, symmetric; ignore the diagonal."""
    styles = np.array([STYLES.index(garment.style) for garment in garments])
    formality = np.array([garment.formality for garment in garments])
    warmth = np.array([garment.warmth for garment in garments])
    hues = np.array([np.nan if garment.colour.hue is None else garment.colour.hue for garment in garments])
    bold = np.array([garment.pattern != PLAIN for garment in garments])
    style_table = np.array([[styles_match(first, second) for second in STYLES] for first in STYLES])
    apart = np.abs(hues[:, None] - hues[None]) % 360
    apart = np.minimum(apart, 360 - apart)
    harmony = np.isnan(apart) | (apart <= NEIGHBOURS_WITHIN) | (apart >= COMPLEMENTS_FROM)
    style = style_table[np.ix_(styles, styles)]
    level = np.abs(formality[:, None] - formality[None]) <= 1
    season = np.abs(warmth[:, None] - warmth[None]) < WINTER - SUMMER
    matches: NDArray[np.bool_] = style & level & season & harmony & ~(bold[:, None] & bold[None])
    return matches


def has_structure(garments: Sequence[Garment]) -> bool:
    """Tells whether these garments have the number and the slots of an outfit."""
    slots = [garment.kind.slot for garment in garments]
    dressed = (slots.count("dress"), slots.count("upper"), slots.count("lower"))
    return (
        MIN_ITEMS <= len(slots) <= MAX_ITEMS
        and dressed in ((1, 0, 0), (0, 1, 1))
        and slots.count("footwear") == 1
        and slots.count("outer") <= 1
    )


def repeats_category(garments: Sequence[Garment]) -> bool:
    """Tells whether two garments are of one category."""
    return len({garment.category for garment in garments}) < len(garments)


def keeps_rules(garments: Sequence[Garment]) -> bool:
    """Tells whether these garments make an outfit, the one-per-category rule aside."""
    pairs = ((first, second) for place, first in enumerate(garments) for second in garments[:place])
    return has_structure(garments) and all(go_together(first, second) for first, second in pairs)


class Stylist:
    """Combines garments of a wardrobe to outfits that keep the rules."""

    def __init__(self, wardrobe: Sequence[Garment], rng: np.random.Generator) -> None:
        self.matches = match_matrix(wardrobe)
        self.rng = rng
        self.styles = np.array([garment.style for garment in wardrobe])
        self.warmths = np.array([garment.warmth for garment in wardrobe])
        self.categories = np.array([garment.category for garment in wardrobe])
        self.slots = np.array([garment.kind.slot for garment in wardrobe])
        self.uses = np.zeros(len(wardrobe))

    def outfits(self, count: int) -> list[list[int]]:
        """Draws distinct outfits, lists of wardrobe positions; DataError if the wardrobe is too small for so many."""
        seen: dict[frozenset[int], list[int]] = {}
        failures = 0
        while len(seen) < count and failures < _PATIENCE:
            outfit = self._attempt()
            if outfit is None or frozenset(outfit) in seen:
                failures += 1
                continue
            failures = 0
            seen[frozenset(outfit)] = outfit
            self.uses[outfit] += 1
        if len(seen) < count:
            raise DataError(
                f"only {len(seen):,} of {count:,} distinct outfits can be put together from {len(self.slots):,} "
                "garments; set data.synthetic.items higher or data.synthetic.outfits lower"
            )
        return list(seen.values())

    def grade(self, outfit: Sequence[int]) -> float:
        """Share of the pairs of garments that match."""
        first, second = np.triu_indices(len(outfit), 1)
        return float(self.matches[np.ix_(outfit, outfit)][first, second].mean())

    def spoilt(self, outfit: Sequence[int], rng: np.random.Generator) -> list[int]:
        """Swaps one garment or more, at most all, for others of their categories."""
        garments = list(outfit)
        for place in rng.permutation(len(garments))[: int(rng.integers(1, len(garments) + 1))]:
            others = np.flatnonzero(self.categories == self.categories[garments[place]])
            garments[place] = int(rng.choice(np.setdiff1d(others, garments)))
        return garments

    def _attempt(self) -> list[int] | None:
        """Draws one outfit; None if a necessary garment cannot be found."""
        style = STYLES[int(self.rng.integers(len(STYLES)))]
        season = int(self.rng.choice([SUMMER, 0, WINTER]))
        weight = np.where(self.styles == style, 1.0, _STRAY_WEIGHT) * np.where(
            self.warmths == season, 1.0, _OFF_SEASON_WEIGHT
        )
        allowed = np.isin(self.styles, [other for other in STYLES if styles_match(style, other)])
        allowed &= np.abs(self.warmths - season) <= 1
        chosen: list[int] = []
        necessary = ["dress"] if self.rng.random() < 0.3 else ["upper", "lower"]
        for slot in [*necessary, "footwear"]:
            if not self._add(chosen, self.slots == slot, allowed, weight):
                return None
        if self.rng.random() < (0.15, 0.5, 0.85)[season + 1]:
            self._add(chosen, self.slots == "outer", allowed, weight)
        repeat = self.rng.random() < REPEAT_SHARE
        size = max(MIN_ITEMS, len(chosen) + 1 + int(self.rng.integers(3)))
        size = min(size, MAX_ITEMS - repeat)
        while len(chosen) < size:
            used = np.isin(self.categories, self.categories[chosen])
            if not self._add(chosen, (self.slots == "accessory") & ~used, allowed, weight):
                return None
        if repeat:
            accessories = [garment for garment in chosen if self.slots[garment] == "accessory"]
            twin = self.categories == self.categories[accessories[0]]
            if not self._add(chosen, twin, allowed, weight):
                return None
        self.rng.shuffle(chosen)
        return chosen

    def _add(
        self, chosen: list[int], among: NDArray[np.bool_], allowed: NDArray[np.bool_], weight: NDArray[np.float64]
    ) -> bool:
        """Adds a garment that matches all chosen ones, seldom worn ones first; False if there is none."""
        fits = among & allowed & self.matches[chosen].all(axis=0)
        fits[chosen] = False
        candidates = np.flatnonzero(fits)
        if not len(candidates):
            return False
        chances = weight[candidates] / (1 + self.uses[candidates]) ** 2
        chosen.append(int(self.rng.choice(candidates, p=chances / chances.sum())))
        return True
