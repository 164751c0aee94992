"""Exports a finished run for others: ``outfits-export run=RUN_DIR folder=FOLDER``."""

import sys
import warnings
from collections.abc import Sequence

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_export


def main(argv: Sequence[str]) -> None:
    """Writes the folder and, if asked to, uploads it."""
    config = load_export(argv)

    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from a dependency
    # imported here, so that neither --help nor an error waits for torch
    from outfits.stylist.publishing import export, push_to_hub

    with naming_keys(config):
        folder = export(
            str(config.run), str(config.folder), licence=config.licence, cache_dir=config.cache_dir, onnx=config.onnx
        )
        print(f"exported: {folder}")
        if config.push is not None:
            print(f"pushed: {push_to_hub(folder, config.push, private=config.private)}")


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
