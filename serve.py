"""Serves a page around a finished run: ``python serve.py run=RUN_DIR``."""

import os
import sys
import warnings
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_serve
from outfits.errors import ConfigError


def main(argv: Sequence[str]) -> None:
    """Loads the run and serves the page until the program is stopped."""
    config = load_serve(argv)

    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from a dependency
    # imported here, so that neither --help nor an error waits for torch
    try:
        from outfits.serving.page import launch
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ConfigError(["serve: the page needs gradio; pip install 'outfits[serve]', or make page"]) from None
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
