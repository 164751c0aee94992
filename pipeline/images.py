"""Prepares the catalogue's images for models of images."""

from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing
from outfits.data.dataset import OutfitDataset
from outfits.encoders.packed import PackedImages, load_packed, pack_images, packing_key
from outfits.errors import DataError
from pipeline.dataset import image_policies, log_undecodable
from pipeline.run import Run


def prepared_images(run: Run, dataset: OutfitDataset, stage: str, image_size: int, background: str) -> PackedImages:
    """Prepares the catalogue's images, or loads them from the cache, and logs for ``stage`` which cannot be used.

    ``image_size`` and ``background`` are as of :func:`outfits.encoders.learned.prepare_image`.

    Raises:
        DataError: if an image cannot be used and the policy for that is ``error``.
    """
    policies = image_policies(run.config.data)
    key = packing_key(dataset.catalogue, image_size, background, policies)
    folder = run.cache / "images" / key[:32]
    if before_writing(lambda: load_packed(folder) is None):
        run.log(stage, f"preparing {len(dataset.catalogue):,} images → {folder}")
        workers = run.config.encoder.num_workers
        run_once(
            lambda _: pack_images(dataset.catalogue, folder, image_size, background, policies, workers),
            run.config.trainer,
        )
    packed = load_packed(folder)
    if packed is None:
        raise DataError(f"the prepared images in {folder} cannot be read back; is the disk full?")
    missing = int((~packed.present).sum())
    run.log(stage, f"{len(packed.present) - missing:,} images, {missing:,} items without a usable one")
    log_undecodable(run, stage, dataset.catalogue, packed.present)
    return packed
