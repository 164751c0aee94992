"""Serves a finished run: a page, ``python serve.py run=RUN_DIR``, or JSON over HTTP, with ``serve.api=true``."""

import os
import sys
import warnings
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_serve
from outfits.config.schema.serve import ServeCommand
from outfits.errors import ConfigError

TOKEN = "OUTFITS_TOKEN"  # environment variable with what clients of the service must show
EXTRA = ("gradio", "litserve", "fastapi")  # packages of the extra `serve`

# from a dependency; here, so that the service's processes, which read this file too, do not show it either
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")


def main(argv: Sequence[str]) -> None:
    """Serves until the program is stopped."""
    config = load_serve(argv)
    try:
        (serve_requests if config.serve.api else serve_page)(config)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise ConfigError([f"serve: needs {error.name}; pip install 'outfits[serve]', or make page"]) from None


# What takes long to import is imported in these functions, so that neither --help nor an error waits for it.


def serve_requests(config: ServeCommand) -> None:
    """Serves JSON over HTTP; the run is loaded in processes of its own."""
    from outfits.serving.service import run_service

    run_service(config, os.environ.get(TOKEN) or None)


def serve_page(config: ServeCommand) -> None:
    """Loads the run and serves the page."""
    from outfits.serving.page import launch
    from outfits.stylist import Stylist

    with naming_keys(config):
        stylist = Stylist.load(
            str(config.run), device=config.device, cache_dir=config.cache_dir, data_root=config.data_root
        )
        with TemporaryDirectory(prefix="outfits-page-") as folder:  # private; what is shown lies there, for minutes
            os.environ["GRADIO_TEMP_DIR"] = folder
            launch(stylist, config.serve)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
