"""Validates a finished run's generator on the ranks that are asked for: ``validate_generator.py FILE run=RUN_DIR …``.

Rank zero writes the callback's metrics to FILE as JSON.
"""

import json
import sys
from pathlib import Path

from callbacks.retrieval_evaluation import RetrievalEvaluation
from datamodules.completion import CompletionDataModule
from lightning_modules.generator import GeneratorModule
from lightning_modules.trainer import build_trainer, is_rank_zero
from outfits import run_files
from outfits.config.load import load_config
from outfits.data.load import load_dataset
from outfits.models.frozen import load_generator
from pipeline.compatibility import load_scorers
from pipeline.embeddings import embed_catalogue
from pipeline.run import reopen_run
from pipeline.targets import mine_targets


def main(file: str, arguments: list[str]) -> None:
    """One validation epoch."""
    run = reopen_run(load_config(arguments, "evaluate"))
    dataset = embed_catalogue(run, load_dataset(run.config.data))
    scorers = load_scorers(run, dataset)
    generator = load_generator(run.folder / run_files.GENERATOR, scorers.scorer.sha256)
    targets = mine_targets(run, dataset, scorers)
    module = GeneratorModule(dataset.catalogue, run.config.model)
    module.model = generator
    data = CompletionDataModule(dataset, targets, batch_size=run.config.optimizer.batch_size)
    evaluation = RetrievalEvaluation(data, scorers.scorer.module, run.config.targets)
    trainer = build_trainer(run.config.trainer, callbacks=[evaluation])
    (metrics,) = trainer.validate(module, data, verbose=False)
    if is_rank_zero():
        Path(file).write_text(json.dumps({"world_size": trainer.world_size, "metrics": metrics}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
