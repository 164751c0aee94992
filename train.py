"""Trains a generator of missing items, from files to report: ``python train.py experiment=NAME key=value …``.

Every stage reuses the products of earlier runs with the same inputs and resumes after a kill.
"""

import sys
from collections.abc import Sequence
from typing import Any

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_config
from outfits.config.schema.stages import with_needed


def main(argv: Sequence[str]) -> None:
    """Runs the configured stages, and those that they need, each on the products of earlier ones."""
    config = load_config(argv, "train")
    # imported here, so that neither --help nor an error waits for torch
    from pipeline.dataset import open_dataset
    from pipeline.run import open_run

    with naming_keys(config):
        run = open_run(config)
        with run.left_in_order():
            products: dict[str, Any] = {"dataset": open_dataset(run)}
            for stage in with_needed(run.config.stages):
                products[stage.leaves] = stage.load()(run, *(products[name] for name in stage.needs))
    run.log("done", str(run.folder))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
