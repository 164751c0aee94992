"""Stage ``imaging``: runs the configured model on the catalogue's images and reports what it makes."""

from functools import partial

from datamodules.images import DistinctImageDataModule
from lightning_modules.trainer import on_rank_zero
from outfits import run_files
from outfits.config.schema.imaging import IMAGING_MODELS
from outfits.data.dataset import OutfitDataset
from outfits.report.imaging.report import write_imaging_report
from outfits.report.imaging.result import ImagingResult
from outfits.storage import write_json
from pipeline.dataset import record_dataset
from pipeline.images import prepared_images
from pipeline.imaging.work import ImagingWork
from pipeline.reports import leave_report
from pipeline.run import Run


def make_images(run: Run, dataset: OutfitDataset) -> ImagingResult:
    """Trains the configured model, or finds its networks finished, and writes its report.

    Raises:
        DataError: if an image cannot be used, or there are too few.
        ConfigError: if the frozen network lacks a layer.
    """
    record_dataset(run, dataset)
    config = run.config.model.imaging
    images = prepared_images(run, dataset, "imaging", config.image_size, config.background)
    data = DistinctImageDataModule(
        dataset,
        images,
        batch_size=config.batch_size,
        num_workers=run.config.data.num_workers,
        seed=run.config.seed,
        split_seed=run.config.data.split.seed,
    )
    counts = ", ".join(f"{len(items):,} {split}" for split, items in data.items.items())
    run.log("imaging", f"{config.kind}: different images: {counts}")
    result: ImagingResult = IMAGING_MODELS[config.kind].load()(ImagingWork(run, dataset, data))

    def write() -> None:
        leave_report(run, run_files.IMAGING_NETWORKS, result.text(), partial(write_imaging_report, result))
        write_json(run.folder / run_files.IMAGING, {"kind": config.kind})  # last: evaluate.py goes by it

    on_rank_zero(write)
    return result
