"""Draws garments."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from outfits.data.synthetic import accessories, clothes
from outfits.data.synthetic.canvas import Canvas
from outfits.data.synthetic.wardrobe import Garment

SILHOUETTES: Mapping[str, Callable[[Canvas, Garment], None]] = MappingProxyType(
    {
        "Tops": clothes.top,
        "Shirts": clothes.shirt,
        "Sweaters": clothes.sweater,
        "Trousers": clothes.trousers,
        "Skirts": clothes.skirt,
        "Dresses": clothes.dress,
        "Jackets": clothes.jacket,
        "Coats": clothes.coat,
        "Shoes": accessories.shoes,
        "Boots": accessories.boots,
        "Bags": accessories.bag,
        "Hats": accessories.hat,
        "Scarves": accessories.scarf,
        "Sunglasses": accessories.sunglasses,
        "Belts": accessories.belt,
    }
)
_KNITWEAR = frozenset({"Sweaters", "Hats", "Scarves", "Dresses"})


def draw_garment(garment: Garment, size: int, rng: np.random.Generator) -> Image.Image:
    """Draws a garment on white, RGB, ``size`` × ``size`` pixels; ``rng`` draws folds and the pattern's offset."""
    canvas = Canvas(garment, rng, ribs=garment.kind.name in _KNITWEAR)
    SILHOUETTES[garment.kind.name](canvas, garment)
    return canvas.finished(size)
