"""The report of stage ``representation``: what the codes of a picture model hold, in RUN_DIR/report."""

import json
from functools import partial
from typing import Any

import torch
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits.config.load import save_config
from outfits.data.dataset import OutfitDataset
from outfits.report.representation.items import known_factors
from outfits.report.representation.report import PICTURES, write_representation_report
from outfits.report.representation.result import RepresentationResult
from outfits.representations.base import PictureModel
from pipeline.representation import CHECKPOINTS, items_to_learn_from, picture_collate, prepared_pictures
from pipeline.run import CONFIG_FILE, Run

RESULTS = "results.json"


def report_representation(run: Run, dataset: OutfitDataset, model: PictureModel) -> dict[str, Any]:
    """Measures a picture model and writes figures, pictures and page to ``RUN_DIR/report``.

    Args:
        run: the run.
        dataset: the data set that the model was trained on.
        model: the model, in evaluation mode.

    Returns:
        The figures, as in ``results.json``; on every rank the same.

    Raises:
        ConfigError: if ``evaluate.representation.factors`` names an attribute that the items do not have.
    """
    known_factors(dataset.catalogue, run.config.evaluate.representation.factors)  # refused on every rank
    pictures = prepared_pictures(run, dataset)
    train, valid = items_to_learn_from(run, dataset, picture_collate(run, dataset, pictures))
    folder = run.folder / "report"
    if is_rank_zero():
        save_config(run.config, folder / CONFIG_FILE)  # evaluate.py may have been given other evaluate.* than the run
        result = write_representation_report(
            model,
            pictures,
            dataset.catalogue,
            train,
            valid,
            run.config.evaluate.representation,
            folder,
            dataset=dataset.name,
            seed=run.config.seed,
            training=_training(run),
            config_yaml=(folder / CONFIG_FILE).read_text(encoding="utf-8"),
            say=partial(run.say, "representation"),
        )
        print(f"\n{result.table()}\n")
        _log_to_wandb(run, result)
        run.say("representation", f"report → {folder / 'index.html'}")
    wait_for_all_ranks()
    figures: dict[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return figures


def _training(run: Run) -> dict[str, int]:
    """Epochs that were trained and the one whose weights were kept, as far as the checkpoints are still there."""
    epochs = {"epochs": run.config.trainer.max_epochs}
    for name, file in (("epochs", "last.ckpt"), ("kept_epoch", "best.ckpt")):
        path = run.folder / CHECKPOINTS / file
        if path.is_file():
            epochs[name] = int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
    return epochs


def _log_to_wandb(run: Run, result: RepresentationResult) -> None:
    for logger in run.loggers("report"):
        if isinstance(logger, WandbLogger):
            paths = [run.folder / "report" / f"{name}.png" for name in PICTURES]
            board = logger.experiment
            board.log({f"representation/{path.stem}": wandb.Image(str(path)) for path in paths if path.exists()})
            board.log({"representation/factors": wandb.Table(dataframe=result.frame())})
            board.summary.update({"representation": result.to_json()})
