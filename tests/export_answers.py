"""Answers of a stylist, to be compared to the bit; imports nothing of the tests, to run with the wheel alone."""

from typing import Any

from outfits import Garment, Stylist


def answers(stylist: Stylist) -> list[Any]:
    """Completions by several methods, with an external garment, a generated outfit and a score, to the bit."""
    first, second = stylist.item_ids[:2]
    own = Garment(stylist.categories[0], text="blue cotton")
    found = [
        stylist.complete([first], 2, method=method, top=3)
        for method in ("greedy_k", "generator", "generator_beam", "beam_two_stage", "retrieval")
    ]
    found += [stylist.complete([own], 2, method="greedy_k"), stylist.generate("red", size=2, method="beam")]
    return [[([item.name for item in outfit.items], outfit.score) for outfit in each] for each in found] + [
        stylist.score([first, second])
    ]
