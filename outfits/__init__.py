"""Outfit completion: from catalogue and outfits to graphs, latents, an index, completions, scores and a report.

The subpackages stand in the order in which data flows, and each imports only from those before it:
``config → data → encoders → graphs → models → index → completion → metrics → report``. Nothing here imports Lightning.
"""

__version__ = "0.1.0"
