"""Evaluates a finished run: ``python evaluate.py run=RUN_DIR evaluate.outfits=500 …``.

Every method of ``evaluate.methods`` completes the same outfits; table, metrics, images and page go to RUN_DIR/report.
Of a run that learned a representation of images, the report shows what its codes hold instead.
"""

import sys
from collections.abc import Sequence

from outfits.config.command import run_command
from outfits.config.load import load_config
from outfits.data.load import load_dataset
from pipeline.embeddings import embed_catalogue
from pipeline.evaluation import run_experiment
from pipeline.finished import load_finished, record_dataset
from pipeline.representation import is_representation_run, train_representation
from pipeline.representation_report import report_representation
from pipeline.run import reopen_run


def main(argv: Sequence[str]) -> None:
    """Loads what the run left and runs the experiment."""
    run = reopen_run(load_config(argv, "evaluate"))
    dataset = load_dataset(run.config.data)
    if is_representation_run(run.folder):
        report_representation(run, dataset, train_representation(run, dataset))
        return
    dataset = embed_catalogue(run, dataset)
    record_dataset(run, dataset)
    scorers, generator, selected = load_finished(run, dataset)
    run_experiment(run, dataset, scorers, generator, selected)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
