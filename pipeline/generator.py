"""Stage ``generator``: the graph network that emits k latents, trained on the greedy targets."""

from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from callbacks.retrieval_evaluation import RetrievalEvaluation
from datamodules.completion import CompletionDataModule
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.generator import GeneratorModule
from lightning_modules.trainer import build_trainer, on_rank_zero
from outfits import run_files
from outfits.completion.tasks import CompletionTasks
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.graphs.completion_graph import CompletionGraphs, TrainingGraphs
from outfits.mining.targets import Targets
from outfits.models.frozen import FrozenScorer, load_generator
from outfits.models.generator import Generator
from outfits.weights import save_network
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
        lambda: GeneratorModule(catalogue, config.model, config.loss, config.optimizer),
        data,
        config.trainer,
        kept,
        seed=config.seed,
        loggers=loggers,
        callbacks=callbacks,
    )
    on_rank_zero(lambda: save_network(module.model, path, scorer_sha256=scorer.sha256))
    return load_generator(path, scorer.sha256)


def test_generator(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, generator: Generator, tasks: CompletionTasks
) -> None:
    """Runs the evaluation callback on test tasks under ``Trainer.test`` and logs its metrics under ``test/``."""
    config, catalogue = run.config, dataset.catalogue
    module = GeneratorModule(catalogue, config.model, config.loss, config.optimizer)
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
