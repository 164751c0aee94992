"""Trains a generator of missing items, from files to report: ``python train.py experiment=NAME key=value …``.

Every stage reuses what an earlier run with the same inputs left and goes on where a killed one stopped.
"""

import sys
from collections.abc import Sequence

from outfits.config.command import run_command
from outfits.config.load import load_config
from outfits.data.load import load_dataset
from pipeline.compatibility import train_scorers
from pipeline.embeddings import embed_catalogue
from pipeline.evaluation import run_experiment
from pipeline.finished import record_dataset, save_selected
from pipeline.generator import train_generator
from pipeline.representation import train_representation
from pipeline.representation_report import report_representation
from pipeline.run import open_run
from pipeline.targets import mine_targets


def main(argv: Sequence[str]) -> None:
    """Runs the configured stages in their order."""
    config = load_config(argv, "train")
    run = open_run(config)
    wanted = config.stages

    dataset = load_dataset(config.data)
    run.describe(dataset)
    if "representation" in wanted:
        report_representation(run, dataset, train_representation(run, dataset))
    if not {"embeddings", "compatibility", "targets", "generator", "test"} & set(wanted):
        run.log("done", str(run.folder))
        return

    dataset = embed_catalogue(run, dataset)
    record_dataset(run, dataset)
    if not {"compatibility", "targets", "generator", "test"} & set(wanted):
        return

    scorers = train_scorers(run, dataset)
    if not {"targets", "generator", "test"} & set(wanted):
        return

    targets = mine_targets(run, dataset, scorers.scorer)
    selected = targets.train.selected_counts(len(dataset.catalogue))
    save_selected(run, dataset, selected)
    if not {"generator", "test"} & set(wanted):
        return

    generator = train_generator(run, dataset, scorers.scorer, targets)
    if "test" in wanted:
        run_experiment(run, dataset, scorers, generator, selected)
    run.log("done", str(run.folder))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
