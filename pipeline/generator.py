"""Stage ``generator``: trains the graph network that emits k latents on the greedy targets."""

import numpy as np
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from torch import Tensor

from callbacks.retrieval_evaluation import RetrievalEvaluation
from datamodules.completion import CompletionDataModule
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.generator import GeneratorModule
from lightning_modules.trainer import build_trainer, on_rank_zero
from outfits import run_files
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema import Config
from outfits.data.dataset import OutfitDataset
from outfits.graphs.completion_graph import CompletionGraphs
from outfits.mining.mined import MinedTargets
from outfits.mining.targets import Targets
from outfits.models.frozen import FrozenScorer, load_generator
from outfits.models.generator import Generator, latents_of
from outfits.weights import save_network
from pipeline.compatibility import Scorers
from pipeline.run import Run

REFERENCE_TASKS = 1000  # training tasks whose latents the index's correction of hubs is measured with
REFERENCE_STREAM = 32  # first number of their seed


def train_generator(run: Run, dataset: OutfitDataset, scorers: Scorers, targets: MinedTargets) -> Generator:
    """Trains the generator, resuming from the run's last checkpoint, or loads a finished one."""
    config, path, scorer = run.config, run.folder / run_files.GENERATOR, scorers.scorer
    if path.exists():
        run.log("generator", f"reusing {path}")
        return load_generator(path, scorer.sha256)
    run.require("generator", wanted_by="the test stage")
    data = _data(run, dataset, targets)
    kept = Checkpoints(run.folder / run_files.CHECKPOINTS, "valid/score_mean", patience=config.optimizer.patience)
    loggers = run.loggers("generator")
    callbacks: list[Callback] = [RetrievalEvaluation(data, scorer.module, config.targets)]
    if loggers and not config.trainer.fast_dev_run:
        callbacks.append(LearningRateMonitor())
    start = f"continuing from {kept.last}" if kept.last else "training"
    tasks = sum(map(len, targets.parts))
    run.log("generator", f"{start} on {tasks:,} tasks, {config.trainer.max_epochs} epochs → {path}")
    module = fit_resumable(
        lambda: GeneratorModule(dataset.catalogue, config.model, config.loss, config.optimizer, scorer.module),
        data,
        config.trainer,
        kept,
        seed=config.seed,
        loggers=loggers,
        callbacks=callbacks,
    )
    module.model.keep_references(reference_latents(module.model, targets.train, dataset, config))
    on_rank_zero(lambda: save_network(module.model, path, scorer_sha256=scorer.sha256))
    return load_generator(path, scorer.sha256)


def reference_latents(model: Generator, targets: Targets, dataset: OutfitDataset, config: Config) -> Tensor:
    """Computes latents ``[Q, r]`` of at most :data:`REFERENCE_TASKS` training tasks, drawn with the run's seed."""
    tasks = targets.tasks
    draw = np.random.default_rng([config.seed, REFERENCE_STREAM])
    rows = np.sort(draw.permutation(len(tasks))[:REFERENCE_TASKS]).tolist()
    graphs = CompletionGraphs(dataset.catalogue, tasks.given, tasks.removed)
    latents = latents_of(model.eval(), [graphs[row] for row in rows], config.model.k, model.slots.device)
    return latents.flatten(0, 1)


def test_generator(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, generator: Generator, tasks: CompletionTasks
) -> None:
    """Runs the evaluation callback on test tasks under ``Trainer.test`` and logs its metrics under ``test/``."""
    config = run.config
    module = GeneratorModule(dataset.catalogue, config.model, config.loss, config.optimizer)
    module.model = generator
    data = _data(run, dataset, None, tasks)
    trainer = build_trainer(
        config.trainer,
        loggers=run.loggers("test"),
        callbacks=[RetrievalEvaluation(data, scorer.module, config.targets)],
        fast_dev_run=False,
    )
    trainer.test(module, data, verbose=False)


def _data(
    run: Run, dataset: OutfitDataset, targets: MinedTargets | None, test: CompletionTasks | None = None
) -> CompletionDataModule:
    config = run.config
    return CompletionDataModule(
        dataset,
        targets,
        test,
        batch_size=config.optimizer.batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
        prefix_share=config.model.prefix_share,
    )
