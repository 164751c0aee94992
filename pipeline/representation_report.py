"""Writes the report of stage ``representation``, on what an image model's latents hold, to RUN_DIR/report."""

from typing import Any

import torch
import wandb

from callbacks.loggers import log_to_boards
from datamodules.images import ImageDataModule
from lightning_modules.trainer import on_rank_zero
from outfits import run_files
from outfits.config.load import save_config
from outfits.data.dataset import OutfitDataset
from outfits.report.representation.items import encoded_items
from outfits.report.representation.report import IMAGES, measure_representation, write_representation_report
from outfits.report.representation.result import RepresentationResult
from outfits.representations.base import ImageModel
from outfits.storage import writing
from pipeline.run import Run


def report_representation(run: Run, dataset: OutfitDataset, model: ImageModel, data: ImageDataModule) -> None:
    """Measures an image model, in evaluation mode, and writes metrics, images and page to ``RUN_DIR/report``."""
    config = run.config.evaluate.representation
    folder = run.folder / run_files.REPORT

    def write() -> None:
        save_config(run.config, folder / run_files.CONFIG)  # evaluate.py may change evaluate.*
        train, valid = data.items["train"], data.items["valid"]
        items = encoded_items(model, data.images, dataset.catalogue, train, valid, config.factors, run.config.seed)
        run.log("representation", f"{len(items):,} items encoded, {len(items.distinct()):,} different images")
        result = measure_representation(
            items, config.items, dataset=dataset.name, seed=run.config.seed, training=_training(run)
        )
        run.log("representation", "drawing")
        config_yaml = (folder / run_files.CONFIG).read_text(encoding="utf-8")
        with writing(folder):
            write_representation_report(result, items, config, folder, config_yaml)
        print(f"\n{result.table()}\n")
        _log_to_wandb(run, result)
        run.log("representation", f"report → {folder / run_files.PAGE}")

    on_rank_zero(write)


def _training(run: Run) -> dict[str, int]:
    """Reads the last and the kept epoch from the checkpoints, as far as they still exist."""
    epochs = {"epochs": run.config.trainer.max_epochs}
    for name, file in (("epochs", run_files.LAST), ("kept_epoch", run_files.BEST)):
        path = run.folder / run_files.CHECKPOINTS / file
        if path.is_file():
            epochs[name] = int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
    return epochs


def _log_to_wandb(run: Run, result: RepresentationResult) -> None:
    paths = [run.folder / run_files.REPORT / f"{name}.png" for name in IMAGES]

    def log(board: Any) -> None:
        board.log({f"representation/{path.stem}": wandb.Image(str(path)) for path in paths if path.exists()})
        board.log({"representation/factors": wandb.Table(dataframe=result.frame())})
        board.summary.update({"representation": result.to_json()})

    log_to_boards(run.loggers("report"), log)
