"""Stage ``compatibility``: S, and the judge beside it, trained, measured and frozen."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from callbacks.batch_seed import BatchSeed
from datamodules.compatibility import CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from lightning_modules.trainer import build_trainer, checkpoints, is_rank_zero, wait_for_all_ranks
from outfits.completion.prepared import candidate_scorer
from outfits.config.schema import ScorerConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.splits import fold
from outfits.metrics.evaluate_scorer import measure_compatibility
from outfits.models.compatibility import ScorerSettings
from outfits.models.frozen import FrozenScorer, load_scorer, save_scorer
from outfits.storage import write_atomically, write_text
from pipeline.run import Run, content_key

WEIGHTS = "scorer.safetensors"
JUDGE_WEIGHTS = "judge.safetensors"
FIGURES = "compatibility.json"


@dataclass(frozen=True)
class Scorers:
    """The frozen S, the judge (None without one) and the figures of S on the evaluated split."""

    scorer: FrozenScorer
    judge: FrozenScorer | None
    figures: dict[str, Any]


def train_scorers(run: Run, dataset: OutfitDataset) -> Scorers:
    """Trains S on its fold of the training outfits and the judge on the other, or loads what is there; measures S.

    Raises:
        ArtifactError: if a model is missing and the stage was not asked for.
        DataError: if a split is empty.
    """
    config = run.config
    fold_of_scorer, fold_of_judge = folds(run, dataset)
    scorer = _train_one(run, dataset, fold_of_scorer, config.scorer, config.seed, "scorer")
    judge = None
    if len(fold_of_judge):
        judge_config = replace(
            config.scorer,
            width=config.judge.width,
            layers=config.judge.layers,
            heads=config.judge.heads,
            feedforward=config.judge.feedforward,
        )
        judge_seed = config.seed + config.judge.seed_offset
        judge = _train_one(run, dataset, fold_of_judge, judge_config, judge_seed, "judge")
    if is_rank_zero():
        _copy(scorer / WEIGHTS, run.folder / WEIGHTS)
        if judge is not None:
            _copy(judge / WEIGHTS, run.folder / JUDGE_WEIGHTS)
    frozen = load_scorer(scorer / WEIGHTS)
    frozen_judge = None if judge is None else load_scorer(judge / WEIGHTS)
    return Scorers(frozen, frozen_judge, measure_scorer(run, dataset, frozen, frozen_judge, fold_of_scorer))


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, lambda file: file.write(source.read_bytes()))


def folds(run: Run, dataset: OutfitDataset) -> tuple[Outfits, Outfits]:
    """The training outfits of S and those of the judge, which S never sees."""
    train, split = dataset.outfits.of("train"), run.config.data.split
    sets = [frozenset(outfit.tolist()) for outfit in train]
    kept_for_judge = fold(sets, run.config.judge.share, split.mode, split.overlap, split.seed)
    return train.take(np.flatnonzero(~kept_for_judge)), train.take(np.flatnonzero(kept_for_judge))


def measure_scorer(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, judge: FrozenScorer | None, train: Outfits
) -> dict[str, Any]:
    """Figures of S, trained on ``train``, on the evaluated split; rank zero writes them with both SHA-256."""
    config = run.config.evaluate
    figures = measure_compatibility(
        candidate_scorer(scorer.module, dataset.catalogue, run.config.targets, "cpu"),
        dataset,
        train,
        config.split,
        distractors=config.distractors,
        draws=config.draws,
        seed=run.config.seed,
    )
    shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
    run.say("compatibility", f"{config.split} split: {shown}")
    if is_rank_zero():
        digests = {"sha256": scorer.sha256, "judge_sha256": None if judge is None else judge.sha256}
        write_text(run.folder / FIGURES, json.dumps({**figures, **digests}, indent=2) + "\n")
    wait_for_all_ranks()
    return figures


def _train_one(run: Run, dataset: OutfitDataset, train: Outfits, config: ScorerConfig, seed: int, name: str) -> Path:
    """Folder that holds the trained and exported model."""
    catalogue, trainer_config = dataset.catalogue, run.config.trainer
    features = catalogue.features
    valid = dataset.outfits.of("valid")
    settings = ScorerSettings(
        image_dim=features.image_dim,
        text_dim=features.text_dim,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        feedforward=config.feedforward,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
    )
    # Loggers and checkpoints are the stage's own; an idle trainer tells how many ranks share a batch.
    world_size = build_trainer(trainer_config).world_size
    key = content_key(
        asdict(config),
        settings,
        features.key,
        catalogue.categories.tolist(),
        [train.items.tolist(), train.offsets.tolist(), valid.items.tolist(), valid.offsets.tolist()],
        seed,
        [trainer_config.precision, trainer_config.gradient_clip_val, trainer_config.accumulate_grad_batches],
        [trainer_config.limit_train_batches, trainer_config.limit_val_batches, trainer_config.fast_dev_run],
        world_size,
    )
    folder = run.cache / "scorers" / f"{name}-{key}"
    if (folder / WEIGHTS).exists():
        run.say("compatibility", f"reusing the {name} in {folder}")
        return folder
    run.require("compatibility", wanted_by=f"this run's {name}")
    run.say("compatibility", f"training the {name} on {len(train):,} outfits → {folder}")
    module = _fit(run, folder, settings, config, train, dataset, seed, name)
    wait_for_all_ranks()  # nobody looks for the file any more
    if is_rank_zero():
        save_scorer(module.model, folder / WEIGHTS)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    wait_for_all_ranks()
    return folder


def _fit(
    run: Run,
    folder: Path,
    settings: ScorerSettings,
    config: ScorerConfig,
    train: Outfits,
    dataset: OutfitDataset,
    seed: int,
    name: str,
) -> CompatibilityModule:
    L.seed_everything(seed, verbose=False)
    module = CompatibilityModule(settings, config, name)
    data = CompatibilityDataModule(
        dataset.catalogue, train, dataset.outfits.of("valid"), config, run.config.data.num_workers, seed
    )
    best, each = checkpoints(folder / "checkpoints", f"{name}/valid_auc")
    callbacks: list[Callback] = [BatchSeed(seed), best, each]
    if config.patience:
        callbacks.append(EarlyStopping(f"{name}/valid_auc", mode="max", patience=config.patience))
    last = folder / "checkpoints" / "last.ckpt"
    trainer = build_trainer(
        run.config.trainer,
        loggers=run.loggers(name),
        callbacks=callbacks,
        max_epochs=config.epochs,
        check_val_every_n_epoch=1,
    )
    trainer.fit(module, data, ckpt_path=last if last.exists() else None)
    if best.best_model_path:
        weights = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(weights)
    return module
