"""Stage ``compatibility``: S, and the judge beside it, trained, measured and frozen."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from callbacks.epoch_seed import EpochSeed
from datamodules.compatibility import CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from lightning_modules.stages.run import Run, content_key
from lightning_modules.trainer import build_trainer, is_rank_zero, wait_for_all_ranks
from outfits.completion.prepared import candidate_scorer
from outfits.config.schema import ScorerConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.splits import fold
from outfits.metrics.measure import measure_compatibility
from outfits.models.compatibility import ScorerSettings
from outfits.models.frozen import FrozenScorer, load_scorer, save_scorer

WEIGHTS = "scorer.safetensors"
JUDGE_WEIGHTS = "judge.safetensors"
FIGURES = "figures.json"
FIGURES_COPY = "compatibility.json"


@dataclass(frozen=True)
class Scorers:
    """The frozen S, the judge (None without one) and the figures of S on the test split."""

    scorer: FrozenScorer
    judge: FrozenScorer | None
    figures: dict[str, Any]


def train_scorers(run: Run, dataset: OutfitDataset) -> Scorers:
    """Trains S on its fold of the training outfits and the judge on the other, or loads what is there.

    Raises:
        ArtifactError: if a model is missing and the stage was not asked for.
        DataError: if a split is empty.
    """
    config = run.config
    train = dataset.outfits.of("train")
    share, split = config.judge.share, config.data.split
    sets = [frozenset(outfit.tolist()) for outfit in train]
    kept_from_scorer = fold(sets, share, split.mode, split.overlap, split.seed)
    scorer = _train_one(
        run, dataset, train.take((~kept_from_scorer).nonzero()[0]), config.scorer, config.seed, "scorer"
    )
    judge = None
    if share > 0:
        judge_config = replace(
            config.scorer,
            width=config.judge.width,
            layers=config.judge.layers,
            heads=config.judge.heads,
            feedforward=config.judge.feedforward,
        )
        fold_of_judge = train.take(kept_from_scorer.nonzero()[0])
        judge_seed = config.seed + config.judge.seed_offset
        judge = _train_one(run, dataset, fold_of_judge, judge_config, judge_seed, "judge")
    figures = json.loads((scorer.folder / FIGURES).read_text())
    if is_rank_zero():
        shutil.copyfile(scorer.folder / WEIGHTS, run.folder / WEIGHTS)
        if judge is not None:
            shutil.copyfile(judge.folder / WEIGHTS, run.folder / JUDGE_WEIGHTS)
        (run.folder / FIGURES_COPY).write_text(json.dumps(figures, indent=2) + "\n")
    wait_for_all_ranks()
    return Scorers(scorer.frozen, None if judge is None else judge.frozen, figures)


@dataclass(frozen=True)
class _Trained:
    folder: Path
    frozen: FrozenScorer


def _train_one(
    run: Run, dataset: OutfitDataset, train: Outfits, config: ScorerConfig, seed: int, name: str
) -> _Trained:
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
        [train.items.tolist(), train.offsets.tolist(), valid.items.tolist(), valid.offsets.tolist()],
        seed,
        [trainer_config.precision, trainer_config.gradient_clip_val, trainer_config.accumulate_grad_batches],
        [trainer_config.limit_train_batches, trainer_config.fast_dev_run, world_size],
    )
    folder = run.cache / "scorers" / f"{name}-{key}"
    if not (folder / FIGURES).exists():
        run.require("compatibility", wanted_by=f"this run's {name}")
        run.say("compatibility", f"training the {name} on {len(train):,} outfits → {folder}")
        module = _fit(run, folder, settings, config, train, dataset, seed, name)
        if is_rank_zero():
            save_scorer(module.model, folder / WEIGHTS)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        wait_for_all_ranks()
        frozen = load_scorer(folder / WEIGHTS)
        scorer = candidate_scorer(frozen.module, catalogue, run.config.targets, "cpu")
        figures = measure_compatibility(
            scorer, dataset, train, "test", run.config.evaluate.distractors, run.config.seed
        )
        if is_rank_zero():
            unfinished = folder / f"{FIGURES}.tmp"
            unfinished.write_text(json.dumps(figures | {"sha256": frozen.sha256}, indent=2) + "\n")
            unfinished.replace(folder / FIGURES)
        wait_for_all_ranks()
    else:
        run.say("compatibility", f"reusing the {name} in {folder}")
    sha256 = json.loads((folder / FIGURES).read_text())["sha256"]
    return _Trained(folder, load_scorer(folder / WEIGHTS, sha256))


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
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor=f"{name}/valid_auc", mode="max", save_last=True)
    callbacks: list[Callback] = [EpochSeed(seed), best]
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
