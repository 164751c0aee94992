"""The report of stage ``representation``: what the latents of an image model hold, in RUN_DIR/report."""

import json
from functools import partial
from typing import Any

import torch
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits import run_files
from outfits.config.load import save_config
from outfits.data.dataset import OutfitDataset
from outfits.report.representation.items import known_factors
from outfits.report.representation.report import IMAGES, write_representation_report
from outfits.report.representation.result import RepresentationResult
from outfits.representations.base import ImageModel
from pipeline.representation import image_data, prepared_images
from pipeline.run import Run


def report_representation(run: Run, dataset: OutfitDataset, model: ImageModel) -> dict[str, Any]:
    """Measures an image model and writes metrics, images and page to ``RUN_DIR/report``.

    Args:
        run: the run.
        dataset: the data set that the model was trained on.
        model: the model, in evaluation mode.

    Returns:
        The metrics, as in ``results.json``; on every rank the same.

    Raises:
        ConfigError: if ``evaluate.representation.factors`` names an attribute that the items do not have.
    """
    known_factors(dataset.catalogue, run.config.evaluate.representation.factors)  # refused on every rank
    images = prepared_images(run, dataset)
    items = image_data(run, dataset, images).items
    folder = run.folder / run_files.REPORT
    if is_rank_zero():
        save_config(run.config, folder / run_files.CONFIG)  # evaluate.py may change evaluate.*
        result = write_representation_report(
            model,
            images,
            dataset.catalogue,
            items["train"],
            items["valid"],
            run.config.evaluate.representation,
            folder,
            dataset=dataset.name,
            seed=run.config.seed,
            training=_training(run),
            config_yaml=(folder / run_files.CONFIG).read_text(encoding="utf-8"),
            log=partial(run.log, "representation"),
        )
        print(f"\n{result.table()}\n")
        _log_to_wandb(run, result)
        run.log("representation", f"report → {folder / 'index.html'}")
    wait_for_all_ranks()
    metrics: dict[str, Any] = json.loads((folder / run_files.RESULTS).read_text(encoding="utf-8"))
    return metrics


def _training(run: Run) -> dict[str, int]:
    """Epochs that were trained and the one whose weights were kept, as far as the checkpoints are still there."""
    epochs = {"epochs": run.config.trainer.max_epochs}
    for name, file in (("epochs", run_files.LAST), ("kept_epoch", run_files.BEST)):
        path = run.folder / run_files.CHECKPOINTS / file
        if path.is_file():
            epochs[name] = int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
    return epochs


def _log_to_wandb(run: Run, result: RepresentationResult) -> None:
    for logger in run.loggers("report"):
        if isinstance(logger, WandbLogger):
            paths = [run.folder / run_files.REPORT / f"{name}.png" for name in IMAGES]
            board = logger.experiment
            board.log({f"representation/{path.stem}": wandb.Image(str(path)) for path in paths if path.exists()})
            board.log({"representation/factors": wandb.Table(dataframe=result.frame())})
            board.summary.update({"representation": result.to_json()})
