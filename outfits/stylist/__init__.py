"""A finished run in use: complete, generate, score and find outfits, with external garments."""

from outfits.stylist.garments import Garment
from outfits.stylist.results import ItemMatch, ItemRef, OutfitMatch, StyledOutfit
from outfits.stylist.stylist import Stylist

__all__ = ["Garment", "ItemMatch", "ItemRef", "OutfitMatch", "StyledOutfit", "Stylist"]
