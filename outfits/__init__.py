"""Completes outfits: from catalogue and outfits to graphs, latents, an index, completions, scores and a report.

The subpackages are listed in the order in which data flow, and each imports only from those before it:
``config → data → representations → encoders → graphs → models → scoring → index → completion → mining → metrics →
report → stylist → serving``. Nothing here imports Lightning.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outfits.stylist import Garment, Stylist

__version__ = "0.1.0"
__all__ = ["Garment", "Stylist"]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use, since importing torch takes seconds."""
    if name in __all__:
        from outfits import stylist

        return getattr(stylist, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
