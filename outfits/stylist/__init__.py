"""A finished run in use: complete, generate, score and find outfits, with external garments."""

from outfits.stylist.capsule import Capsule, CapsuleOutfit
from outfits.stylist.explaining import Explanation, ItemEffect, PairEffect
from outfits.stylist.garments import Garment
from outfits.stylist.imagining import ImaginedItem
from outfits.stylist.results import ItemMatch, ItemRef, OutfitMatch, StyledOutfit
from outfits.stylist.stylist import Stylist

__all__ = [
    "Capsule",
    "CapsuleOutfit",
    "Explanation",
    "Garment",
    "ImaginedItem",
    "ItemEffect",
    "ItemMatch",
    "ItemRef",
    "OutfitMatch",
    "PairEffect",
    "StyledOutfit",
    "Stylist",
]
