"""Stage ``generator``: the graph network that emits k latents, trained on the greedy targets."""

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from callbacks.retrieval_evaluation import RetrievalEvaluation
from datamodules.completion import CompletionDataModule
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.generator import GeneratorModule
from lightning_modules.trainer import build_trainer, on_rank_zero
from outfits import run_files
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.model import ModelConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.graphs.completion_graph import CompletionGraphs, TrainingGraphs
from outfits.mining.targets import Targets
from outfits.models.frozen import FrozenScorer, load_generator, save_generator
from outfits.models.generator import Generator, GeneratorSettings
from pipeline.compatibility import Scorers
from pipeline.run import Run
from pipeline.targets import MinedTargets


def train_generator(run: Run, dataset: OutfitDataset, scorers: Scorers, targets: MinedTargets) -> Generator:
    """Trains the generator, from the run's last checkpoint if it was interrupted, or loads it if it is finished.

    Raises:
        ArtifactError: if it is missing and the stage was not asked for.
    """
    config, path, scorer = run.config, run.folder / run_files.GENERATOR, scorers.scorer
    if path.exists():
        run.log("generator", f"reusing {path}")
        return load_generator(path, scorer.sha256)
    run.require("generator", wanted_by="the test stage")
    catalogue = dataset.catalogue
    train, valid = training_graphs(catalogue, targets, config.model.k_max), graphs_of(catalogue, targets.valid)
    data = CompletionDataModule(train, valid, config.optimizer.batch_size, config.data.num_workers, config.seed)
    kept = Checkpoints(run.folder / run_files.CHECKPOINTS, "valid/score_mean", patience=config.optimizer.patience)
    loggers = run.loggers("generator")
    callbacks: list[Callback] = [RetrievalEvaluation({"valid": valid}, catalogue, scorer, config.targets)]
    if loggers and not config.trainer.fast_dev_run:
        callbacks.append(LearningRateMonitor())
    start = f"continuing from {kept.last}" if kept.last else "training"
    run.log("generator", f"{start} on {len(train):,} tasks, {config.trainer.max_epochs} epochs → {path}")
    module = fit_resumable(
        lambda: build_generator_module(run, catalogue),
        data,
        config.trainer,
        kept,
        seed=config.seed,
        loggers=loggers,
        callbacks=callbacks,
    )
    on_rank_zero(lambda: save_generator(module.model, path, scorer.sha256))
    return load_generator(path, scorer.sha256)


def test_generator(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, generator: Generator, tasks: CompletionTasks
) -> None:
    """Runs the evaluation callback on test tasks under ``Trainer.test`` and logs its metrics under ``test/``."""
    config, catalogue = run.config, dataset.catalogue
    module = build_generator_module(run, catalogue)
    module.model.load_state_dict(generator.state_dict())
    graphs = CompletionGraphs(catalogue, list(tasks.given), tasks.removed)
    data = CompletionDataModule(
        None, None, config.optimizer.batch_size, config.data.num_workers, config.seed, test=graphs
    )
    trainer = build_trainer(
        config.trainer,
        loggers=run.loggers("test"),
        callbacks=[RetrievalEvaluation({"test": graphs}, catalogue, scorer, config.targets)],
        fast_dev_run=False,
    )
    trainer.test(module, data, verbose=False)


def build_generator_module(run: Run, catalogue: Catalogue) -> GeneratorModule:
    """The Lightning module of a run's generator, with fresh weights."""
    return GeneratorModule(
        generator_settings(run.config.model, catalogue),
        run.config.loss,
        run.config.optimizer,
        torch.from_numpy(np.array(catalogue.require_embeddings.vectors)),
        torch.from_numpy(catalogue.categories.astype(np.int64)),
        run.config.model.k,
    )


def generator_settings(config: ModelConfig, catalogue: Catalogue) -> GeneratorSettings:
    """What a generator over this catalogue is built from."""
    features = catalogue.require_embeddings
    return GeneratorSettings(
        image_dim=features.image_dim,
        text_dim=features.text_dim,
        categories=len(catalogue.category_names),
        k_max=config.k_max,
        width=config.width,
        layers=config.layers,
        dropout=config.dropout,
        aggregation=config.aggregation,
        readout=config.readout,
        retrieval=config.retrieval,
        retrieval_dim=config.retrieval_dim,
    )


def graphs_of(catalogue: Catalogue, targets: Targets) -> CompletionGraphs:
    """Completion graphs of mined tasks."""
    tasks = targets.tasks
    return CompletionGraphs(
        catalogue, list(tasks.given), tasks.removed, targets.graph_targets(), targets.graph_conditions()
    )


def training_graphs(catalogue: Catalogue, targets: MinedTargets, k_max: int) -> TrainingGraphs:
    """All mined training tasks, without and with conditions: every outfit is seen once per epoch in each kind."""
    parts = [targets.train, *targets.conditions.values()]
    return TrainingGraphs([graphs_of(catalogue, part) for part in parts], k_max)
