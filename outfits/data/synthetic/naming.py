"""Item names such as "striped navy wool sweater": mostly true, often incomplete, now and then empty."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from outfits.data.synthetic.wardrobe import MILD, PLAIN, SUMMER, WINTER, Garment

EMPTY_SHARE = 0.03
_PLAIN_NOUNS: Mapping[str, str] = MappingProxyType(
    {
        "Tops": "top", "Shirts": "shirt", "Sweaters": "sweater", "Trousers": "trousers", "Skirts": "skirt",
        "Dresses": "dress", "Jackets": "jacket", "Coats": "coat", "Shoes": "shoes", "Boots": "boots", "Bags": "bag",
        "Hats": "hat", "Scarves": "scarf", "Sunglasses": "sunglasses", "Belts": "belt",
    }
)  # fmt: skip
# Nouns of a season's designs that differ from the usual ones.
_SEASON_NOUNS: Mapping[tuple[str, str, int], str] = MappingProxyType(
    {
        ("Trousers", "casual", SUMMER): "denim shorts",
        ("Trousers", "sporty", SUMMER): "running shorts",
        ("Hats", "casual", WINTER): "beanie",
        ("Hats", "sporty", WINTER): "pompom beanie",
    }
)
_PATTERN_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"stripes": ("striped", "stripe"), "dots": ("polka dot", "dotted"), "checks": ("checked", "plaid")}
)
_SEASON_WORDS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        SUMMER: ("linen", "summer"),
        MILD: ("cotton", "jersey"),
        WINTER: ("wool", "winter"),
    }
)
_STYLE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "casual": ("casual", "relaxed"),
        "sporty": ("sporty", "active"),
        "boho": ("boho", "festival"),
        "formal": ("elegant", "classic"),
    }
)
_BRANDS = ("alder & finch", "north lane", "maison rue", "studio eleven", "pebble", "oak street")


def item_name(garment: Garment, rng: np.random.Generator) -> str:
    """Names one appearance of a garment; another appearance may get other words.

    Each attribute is named with some probability, the noun is sometimes the category's plain one, brands add words
    without meaning, and a share :data:`EMPTY_SHARE` of names is empty.
    """
    if rng.random() < EMPTY_SHARE:
        return ""
    words: list[str] = []
    if rng.random() < 0.12:
        words.append(_choose(_BRANDS, rng))
    if rng.random() < 0.7:
        words.append(_choose(_STYLE_WORDS[garment.style], rng))
    if garment.pattern != PLAIN and rng.random() < 0.8:
        words.append(_choose(_PATTERN_WORDS[garment.pattern], rng))
    if rng.random() < 0.75:
        if garment.shade and garment.colour.name not in ("black", "white") and rng.random() < 0.5:
            words.append(garment.shade)
        words.append(garment.colour.name)
    if rng.random() < 0.7:
        words.append(_choose(_SEASON_WORDS[garment.warmth], rng))
    kind = garment.kind
    usual = kind.nouns[garment.style][garment.variant]
    noun = _SEASON_NOUNS.get((kind.name, garment.style, garment.warmth), usual)
    words.append(noun if rng.random() < 0.75 else _PLAIN_NOUNS[kind.name])
    return " ".join(words)


def _choose(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
