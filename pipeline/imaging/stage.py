"""Stage ``imaging``: runs the configured model on the catalogue's images and reports what it makes."""

from datamodules.images import DistinctImageDataModule
from lightning_modules.trainer import on_rank_zero
from outfits import run_files
from outfits.config.load import save_config
from outfits.config.schema.imaging import IMAGING_MODELS
from outfits.data.dataset import OutfitDataset
from outfits.report.imaging.report import write_imaging_report
from outfits.report.imaging.result import ImagingResult
from outfits.storage import write_json, writing
from pipeline.dataset import record_dataset
from pipeline.images import prepared_images
from pipeline.imaging.work import ImagingWork
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
    folder = run.folder / run_files.REPORT / run_files.IMAGING_NETWORKS

    def write() -> None:
        save_config(run.config, folder / run_files.CONFIG)
        with writing(folder):
            config_yaml = (folder / run_files.CONFIG).read_text(encoding="utf-8")
            paths = write_imaging_report(result, folder, config_yaml)
        write_json(run.folder / run_files.IMAGING, {"kind": config.kind})  # last: evaluate.py goes by it
        print(f"\n{result.text()}\n")
        for name, path in paths.items():
            print(f"{name:>16}: {path}")

    on_rank_zero(write)
    return result
