"""Completes outfits: from catalogue and outfits to graphs, latents, an index, completions, scores and a report.

The subpackages are listed in the order in which data flow, and each imports only from those before it:
``config → data → representations → encoders → graphs → models → scoring → index → completion → mining → metrics →
report → stylist → serving``. Nothing here imports Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outfits.stylist import Garment, Stylist
    from outfits.stylist.publishing import export, push_to_hub
    from outfits.stylist.updating import update_catalogue

__version__ = "0.1.0"
__all__ = ["Garment", "Stylist", "export", "push_to_hub", "update_catalogue"]
_HOMES = {
    "export": "outfits.stylist.publishing",
    "push_to_hub": "outfits.stylist.publishing",
    "update_catalogue": "outfits.stylist.updating",
}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use, since importing torch takes seconds."""
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "outfits.stylist")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
