"""The built-in data set: a seeded generator that writes drawn garments and outfits in the Maryland layout.

One subject per file: :mod:`wardrobe` the garments, :mod:`rules` the hidden style rules and outfits that keep them,
:mod:`naming` the texts, :mod:`canvas`, :mod:`clothes`, :mod:`accessories` and :mod:`drawing` the images,
:mod:`placement` sizes and places within them, :mod:`factors` the truth about them, :mod:`tasks` the official tasks,
:mod:`writing` the files, :mod:`reading` reads them.
"""

from outfits.data.synthetic.factors import FACTORS, read_factors
from outfits.data.synthetic.reading import read_format
from outfits.data.synthetic.writing import is_complete, write_synthetic

__all__ = ["FACTORS", "is_complete", "read_factors", "read_format", "write_synthetic"]
