"""Stage ``compatibility``: trains, measures and freezes S, and the judge beside it."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.compatibility import CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from lightning_modules.trainer import is_rank_zero, on_rank_zero
from outfits import run_files
from outfits.completion.context import MethodContext
from outfits.config.schema.scorer import ScorerConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.splits import judge_holdout
from outfits.errors import ArtifactError, ConfigError
from outfits.metrics.calibration import Calibration, fit_calibration, measure_calibration
from outfits.metrics.evaluate_scorer import (
    measure_compatibility,
    measure_given_scores,
    measure_probe,
    official_counts,
)
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import FrozenScorer, load_scorer
from outfits.models.published import load_published
from outfits.storage import copy_file, write_json
from outfits.weights import save_network, weights_digest
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.run import Run, content_key


@dataclass(frozen=True)
class Scorers:
    """Holds the frozen S, the judge (None without one), and metrics and calibration of S on the evaluated split."""

    scorer: FrozenScorer
    judge: FrozenScorer | None
    metrics: dict[str, Any]
    calibration: Calibration | None


def train_scorers(run: Run, dataset: OutfitDataset) -> Scorers:
    """Trains S, and the judge on training outfits that S never sees, or loads finished ones; measures S.

    Raises:
        DataError: if a split is empty.
    """
    config = run.config
    outfits_of_scorer, outfits_of_judge = scorer_and_judge_outfits(run, dataset)
    if config.scorer.weights is None:
        scorer = _train_one(run, dataset, outfits_of_scorer, config.scorer, config.seed, "scorer")
    else:
        scorer = _take_published(run, dataset, Path(config.scorer.weights))
    judge = None
    if len(outfits_of_judge):
        judge_config = replace(
            config.scorer,
            width=config.judge.width,
            layers=config.judge.layers,
            heads=config.judge.heads,
            feedforward=config.judge.feedforward,
            projected=True,  # its width is its own
        )
        judge_seed = config.seed + config.judge.seed_offset
        judge = _train_one(run, dataset, outfits_of_judge, judge_config, judge_seed, "judge")
    if is_rank_zero():
        copy_file(scorer / run_files.SCORER, run.folder / run_files.SCORER)
        if judge is not None:
            copy_file(judge / run_files.SCORER, run.folder / run_files.JUDGE)
    frozen = load_scorer(scorer / run_files.SCORER)
    frozen_judge = None if judge is None else load_scorer(judge / run_files.SCORER)
    return measure_scorers(run, dataset, frozen, frozen_judge, outfits_of_scorer)


def load_scorers(run: Run, dataset: OutfitDataset) -> Scorers:
    """Loads and measures S and the judge of a finished run; raises ArtifactError if a file is missing or changed."""
    recorded = json.loads((run.folder / run_files.COMPATIBILITY).read_text())
    scorer = load_scorer(run.folder / run_files.SCORER, recorded["sha256"])
    judge_sha256 = recorded["judge_sha256"]
    judge = load_scorer(run.folder / run_files.JUDGE, judge_sha256) if judge_sha256 else None
    outfits_of_scorer, _ = scorer_and_judge_outfits(run, dataset)
    return measure_scorers(run, dataset, scorer, judge, outfits_of_scorer)


def scorer_and_judge_outfits(run: Run, dataset: OutfitDataset) -> tuple[Outfits, Outfits]:
    """Splits the training outfits into those of S and those of the judge, which S never sees."""
    train, split = dataset.outfits.of("train"), run.config.data.split
    sets = [frozenset(outfit.tolist()) for outfit in train]
    kept_for_judge = judge_holdout(sets, run.config.judge.share, split.mode, split.overlap, split.seed)
    return train.take(np.flatnonzero(~kept_for_judge)), train.take(np.flatnonzero(kept_for_judge))


def measure_scorers(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, judge: FrozenScorer | None, train: Outfits
) -> Scorers:
    """Measures S, trained on ``train``, on the evaluated split; rank zero writes the metrics with both SHA-256."""
    config = run.config.evaluate
    questions = {"distractors": config.distractors, "draws": config.draws, "seed": run.config.seed}
    s = MethodContext(dataset.catalogue, scorer.module, search=run.config.targets).scorer
    metrics = measure_compatibility(s, dataset, train, config.split, **questions)
    metrics |= measure_probe(dataset, train, config.split, **questions)
    metrics |= measure_given_scores(s, dataset.outfits.of(config.split))
    outfits = dataset.outfits.of(config.split)
    calibration = None
    if outfits.scores is None:  # among outfits with scores S is to be the score, not the chance of being real
        calibration = measure_calibration(s, dataset.catalogue, outfits, run.config.seed, config.draws)
    stated = {} if calibration is None else calibration.to_json()
    known = {"calibration error": stated.get("error"), "raised by near-copies": stated.get("copies_raised")}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in (metrics | known).items() if value is not None)
    run.log("compatibility", f"{config.split} split: {shown}")
    digests = {"sha256": scorer.sha256, "judge_sha256": None if judge is None else judge.sha256}
    measured: dict[str, Any] = {"split": config.split, "distractors": config.distractors}
    measured["official"] = official_counts(dataset, config.split)
    written = {**metrics, "calibration": stated or None, **measured, **digests}
    on_rank_zero(lambda: write_json(run.folder / run_files.COMPATIBILITY, written))
    return Scorers(scorer, judge, metrics, calibration)


def _train_one(run: Run, dataset: OutfitDataset, train: Outfits, config: ScorerConfig, seed: int, name: str) -> Path:
    """Trains and exports one model, or finds it finished; returns its folder."""
    catalogue = dataset.catalogue
    features = catalogue.require_embeddings
    valid = dataset.outfits.of("valid")
    key = content_key(
        asdict(config),
        [features.image_dim, features.text_dim],
        features.key,
        catalogue.categories.tolist(),
        [train.items.tolist(), train.offsets.tolist(), valid.items.tolist(), valid.offsets.tolist()],
        [part.scores.tolist() for part in (train, valid) if part.scores is not None],
        seed,
        *run.training_facts(),
    )
    folder = run.cache / "scorers" / f"{name}-{key}"
    path = folder / run_files.SCORER

    def save(model: OutfitTransformer) -> None:
        if config.calibrate and train.scores is None:
            _calibrate(run, dataset, model, seed, name)
        save_network(model, path)

    with to_be_made(run, path, "compatibility", f"the {name}") as missing:
        if missing:
            run.require("compatibility", wanted_by=f"this run's {name}")
            watched = "auc" if train.scores is None else "spearman"
            if train.scores is None and not config.negatives.per_outfit:
                raise ConfigError(
                    ["scorer.negatives.per_outfit: is 0, but outfits have no given scores to be fitted to"]
                )
            run.log("compatibility", f"training the {name} on {len(train):,} outfits → {folder}")
            data = CompatibilityDataModule(dataset, config, train, num_workers=run.config.data.num_workers, seed=seed)
            fit_into_cache(
                run, folder, name, watched, config, lambda: CompatibilityModule(catalogue, config, name), data, save
            )
    return folder


def _take_published(run: Run, dataset: OutfitDataset, path: Path) -> Path:
    """Converts a published checkpoint to S, calibrated if configured, or finds it converted; returns its folder.

    Raises:
        ArtifactError: if the file is no checkpoint, or was trained on embeddings of other widths.
    """
    model = load_published(path)
    features, config = dataset.catalogue.require_embeddings, run.config.scorer
    if model.sizes != {"image_dim": features.image_dim, "text_dim": features.text_dim}:
        raise ArtifactError(
            f"scorer.weights: {path} reads image and text vectors of {model.sizes['image_dim']} numbers each, but the "
            f"encoder's have {features.image_dim} and {features.text_dim}; set `encoder` to the model that it was "
            "trained on (published ones: FashionCLIP for images and texts)"
        )
    valid = dataset.outfits.of("valid")
    calibrates = config.calibrate and valid.scores is None
    fitted_on = [features.key, valid.items.tolist(), valid.offsets.tolist()] if calibrates else None
    key = content_key(model.settings, weights_digest(model), fitted_on, run.config.seed)
    folder = run.cache / "scorers" / f"published-{key}"
    taken = folder / run_files.SCORER

    def export() -> None:
        if calibrates:
            _calibrate(run, dataset, model, run.config.seed, "scorer")
        save_network(model, taken)

    with to_be_made(run, taken, "compatibility", "the scorer") as missing:
        if missing:
            run.require("compatibility", wanted_by="this run's scorer")
            text = f"taking the scorer from {path}; which outfits it was trained on, the file does not say"
            run.log("compatibility", text)
            on_rank_zero(export)
    return folder


def _calibrate(run: Run, dataset: OutfitDataset, model: OutfitTransformer, seed: int, name: str) -> None:
    """Rescales the logits of a trained model on the validation split."""
    scorer = MethodContext(dataset.catalogue, model.eval()).scorer
    fitted = fit_calibration(scorer, dataset.catalogue, dataset.outfits.of("valid"), seed)
    if fitted is None:
        run.log("compatibility", f"the {name} is not calibrated: its logit says nothing on the validation split")
        return
    model.rescale(*fitted)
    scale, offset = fitted
    run.log("compatibility", f"calibrated the {name} on the validation split: {scale:.3f} x logit {offset:+.3f}")
