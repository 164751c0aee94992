"""A finished run in a person's hands: complete, generate, score and find outfits, with garments of one's own."""

from outfits.stylist.garments import Garment
from outfits.stylist.results import ItemMatch, ItemRef, OutfitMatch, StyledOutfit
from outfits.stylist.stylist import Stylist

__all__ = ["Garment", "ItemMatch", "ItemRef", "OutfitMatch", "StyledOutfit", "Stylist"]
