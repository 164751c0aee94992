"""The built-in data set: a seeded generator that writes drawn garments and outfits in the Maryland layout."""

from outfits.data.synthetic.factors import FACTORS, read_factors
from outfits.data.synthetic.reading import read_format
from outfits.data.synthetic.writing import is_complete, write_synthetic

__all__ = ["FACTORS", "is_complete", "read_factors", "read_format", "write_synthetic"]
