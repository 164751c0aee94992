"""Evaluates a finished run: ``python evaluate.py run=RUN_DIR evaluate.outfits=500 …``.

Every method of ``evaluate.methods`` completes the same outfits; table, metrics, images and page go to RUN_DIR/report.
For a run that trained an image model, the report shows what its latents hold instead.
"""

import sys
from collections.abc import Sequence

import outfits.threads  # noqa: F401, before torch
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_config
from outfits.processes import Stopped


def main(argv: Sequence[str]) -> None:
    """Evaluates the run by the evaluation that the table of stages has for its products."""
    config = load_config(argv, "evaluate")
    # imported here, so that neither --help nor an error waits for torch
    from outfits.data.load import load_dataset
    from pipeline.run import evaluation_of, reopen_run

    with naming_keys(config):
        run = reopen_run(config)
        evaluate = evaluation_of(run)
        try:
            evaluate(run, load_dataset(run.config.data))
        except Stopped as stopped:
            stopped.add_note("the same command goes on from here")
            raise


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
