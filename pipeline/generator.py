"""Stage ``generator``: the graph network that emits k latents, trained on the greedy targets."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor

from callbacks.batch_seed import BatchSeed
from callbacks.retrieval_evaluation import RetrievalEvaluation
from datamodules.completion import CompletionDataModule
from lightning_modules.generator import GeneratorModule
from lightning_modules.trainer import build_trainer, checkpoints, is_rank_zero, wait_for_all_ranks
from outfits import run_files
from outfits.completion.tasks import CompletionTasks
from outfits.data.dataset import OutfitDataset
from outfits.mining.mined import MinedTargets
from outfits.models.frozen import FrozenScorer, load_generator, save_generator
from outfits.models.generator import Generator
from pipeline.run import Run


def train_generator(run: Run, dataset: OutfitDataset, scorer: FrozenScorer, targets: MinedTargets) -> Generator:
    """Trains the generator, from the run's last checkpoint if it was interrupted, or loads it if it is finished.

    Raises:
        ArtifactError: if it is missing and the stage was not asked for.
    """
    config, path = run.config, run.folder / run_files.GENERATOR
    if path.exists():
        run.log("generator", f"reusing {path}")
        return load_generator(path, scorer.sha256)
    run.require("generator", wanted_by="the test stage")
    L.seed_everything(config.seed, verbose=False)
    module = GeneratorModule.for_catalogue(dataset.catalogue, config.model, config.loss, config.optimizer)
    data = generator_data(run, dataset, targets)
    best, each = checkpoints(run.folder / run_files.CHECKPOINTS, "valid/score_mean")
    callbacks: list[Callback] = [
        BatchSeed(config.seed),
        RetrievalEvaluation(data, scorer.module, config.targets),
        best,
        each,
    ]
    if config.optimizer.patience:
        callbacks.append(EarlyStopping("valid/score_mean", mode="max", patience=config.optimizer.patience))
    loggers = run.loggers("generator")
    if loggers and not config.trainer.fast_dev_run:
        callbacks.append(LearningRateMonitor())
    last = run.folder / run_files.CHECKPOINTS / run_files.LAST
    start = f"continuing from {last}" if last.exists() else "training"
    tasks = sum(map(len, targets.parts))
    run.log("generator", f"{start} on {tasks:,} tasks, {config.trainer.max_epochs} epochs → {path}")
    trainer = build_trainer(config.trainer, loggers=loggers, callbacks=callbacks)
    trainer.fit(module, data, ckpt_path=last if last.exists() else None)
    if best.best_model_path:
        weights = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(weights)
    wait_for_all_ranks()
    if is_rank_zero():
        save_generator(module.model, path, scorer.sha256)
    wait_for_all_ranks()
    return load_generator(path, scorer.sha256)


def test_generator(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, generator: Generator, tasks: CompletionTasks
) -> None:
    """Runs the evaluation callback on test tasks under ``Trainer.test`` and logs its metrics under ``test/``."""
    config = run.config
    module = GeneratorModule.for_catalogue(dataset.catalogue, config.model, config.loss, config.optimizer)
    module.model.load_state_dict(generator.state_dict())
    data = generator_data(run, dataset, None, tasks)
    trainer = build_trainer(
        config.trainer,
        loggers=run.loggers("test"),
        callbacks=[RetrievalEvaluation(data, scorer.module, config.targets)],
        fast_dev_run=False,
    )
    trainer.test(module, data, verbose=False)


def generator_data(
    run: Run, dataset: OutfitDataset, targets: MinedTargets | None, test: CompletionTasks | None = None
) -> CompletionDataModule:
    """Outfit graphs of mined or test tasks, batched as configured."""
    config = run.config
    return CompletionDataModule(
        dataset,
        targets,
        test,
        batch_size=config.optimizer.batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
    )
