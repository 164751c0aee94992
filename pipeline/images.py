"""Prepares the images of a catalogue for image networks, once for all runs."""

from functools import partial

from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing
from outfits.data.dataset import OutfitDataset
from outfits.encoders.packed import PackedImages, load_packed, pack_images, packing_key
from outfits.errors import DataError
from pipeline.dataset import image_policies
from pipeline.run import Run


def packed_images(run: Run, dataset: OutfitDataset, image_size: int, background: str, stage: str) -> PackedImages:
    """Prepares the catalogue's images as :func:`outfits.encoders.packed.pack_images` does, or maps them."""
    policies = image_policies(run.config.data)
    key = packing_key(dataset.catalogue, image_size, background, policies)
    folder = run.cache / "images" / key[:32]
    packed = before_writing(partial(load_packed, folder))
    if packed is None:
        run.log(stage, f"preparing {len(dataset.catalogue):,} images → {folder}")
        workers = run.config.encoder.num_workers
        run_once(
            lambda _: pack_images(dataset.catalogue, folder, image_size, background, policies, workers),
            run.config.trainer,
        )
        packed = load_packed(folder)
    if packed is None:
        raise DataError(f"the prepared images in {folder} cannot be read back; is the disk full?")
    return packed
