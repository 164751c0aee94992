"""Completes an outfit with a finished run: ``python complete.py run=RUN_DIR items=[ID,…] k=2 texts=[…]``.

With ``text=…`` instead of items it generates an outfit. Prints a table and writes an image of the outfits.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_complete
from outfits.config.schema.complete import CompleteConfig

if TYPE_CHECKING:
    from outfits.stylist import StyledOutfit, Stylist


def main(argv: Sequence[str]) -> None:
    """Loads the run, completes or generates outfits, prints them and writes their image."""
    config = load_complete(argv)

    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from a dependency
    # imported here, so that neither --help nor an error waits for torch
    from outfits.stylist import Stylist
    from outfits.stylist.results import outfits_table
    from outfits.stylist.sheet import write_sheet

    with naming_keys(config):
        stylist = Stylist.load(
            str(config.run), device=config.device, cache_dir=config.cache_dir, data_root=config.data_root
        )
        outfits = complete(config, stylist) if config.text is None else generate(config, config.text, stylist)
        print(outfits_table(outfits))
        found = [[item.name for item in outfit.added] for outfit in outfits if config.imagine]
        imagined = [stylist.imagine(**conditions(config), found=ids) for ids in found]
        write_sheet(outfits, Path(config.out), imagined)
    print(f"image: {config.out}")


def complete(config: CompleteConfig, stylist: "Stylist") -> "list[StyledOutfit]":
    """Completes the partial outfit with its missing items."""
    return stylist.complete(
        **conditions(config),
        method=config.method or "generator_beam",
        top=config.top,
        alpha=config.alpha,
        user=config.user,
        beta=config.beta,
    )


def conditions(config: CompleteConfig) -> dict[str, Any]:
    """Returns the partial outfit and what is asked of its missing items, as arguments of the stylist."""
    from outfits.stylist import Garment

    texts = config.texts[0] if len(config.texts) == 1 else config.texts or None
    items = [*config.items, *(Garment(**garment) for garment in config.garments)]
    return {"items": items, "k": config.k, "categories": config.categories or None, "texts": texts}


def generate(config: CompleteConfig, text: str, stylist: "Stylist") -> "list[StyledOutfit]":
    """Generates outfits for a text."""
    return stylist.generate(
        text,
        config.max_items,
        size=config.size,
        method=config.method or "beam",
        top=config.top,
        alpha=config.alpha,
    )


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
