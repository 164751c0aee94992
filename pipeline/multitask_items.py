"""What stage ``multitask`` learns from: the CLIP model, and the items of every split as it takes them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.multitask import MultitaskItems
from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing
from outfits.config.schema.multitask import CAPTIONING, REFINEMENT
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import SPLITS
from outfits.data.refinements import (
    AttributeRefinements,
    GivenRefinements,
    Refinements,
    attribute_texts,
    parse_differences,
)
from outfits.encoders.content import content_hash, image_digests
from outfits.encoders.multitask.items import image_numbers, split_items
from outfits.encoders.multitask.settings import ClipSettings
from outfits.encoders.multitask.store import Backbone, open_backbone
from outfits.encoders.multitask.tokens import training_vocabulary
from outfits.encoders.packed import PackedImages, load_packed, pack_prepared
from outfits.errors import DataError
from pipeline.dataset import image_policies, log_undecodable
from pipeline.run import Run

STAGE = "multitask"


@dataclass(frozen=True)
class Prepared:
    """The CLIP model before anything is trained, and the items as it takes them."""

    backbone: Backbone
    items: MultitaskItems


def prepare_multitask(run: Run, dataset: OutfitDataset) -> Prepared:
    """Opens the CLIP model and prepares the items, whose images are taken from the cache where they are there.

    Raises:
        ConfigError: if the CLIP model has no towers to put adapters into, or the items lack an attribute.
        DataError: if an image cannot be used.
    """
    catalogue, config = dataset.catalogue, run.config.multitask
    digests = image_digests(catalogue.image_paths)
    image_ids = image_numbers(digests)
    differences: dict[str, list[str]] = {}
    if REFINEMENT in config.tasks and not dataset.refinements:
        differences = parse_differences(config.differences, catalogue)
    there = np.array([path is not None for path in catalogue.image_paths], dtype=np.bool_)
    learned = split_items(dataset, image_ids, there)["train"]
    backbone = open_backbone(config, training_vocabulary(_texts(dataset, learned, differences)))
    if CAPTIONING in config.tasks:
        backbone.tokens.require_words()
    images = _packed(run, dataset, backbone.settings, digests)
    log_undecodable(run, STAGE, catalogue, images.present)
    of_split = split_items(dataset, image_ids, images.present)
    refinements: dict[str, Refinements] = {}
    if REFINEMENT in config.tasks:
        for split in SPLITS:
            if dataset.refinements:
                rows = dataset.refinements.get(split, ())
                usable = [one for one in rows if images.present[one.reference] and images.present[one.target]]
                refinements[split] = GivenRefinements(usable, config.captions)
            else:
                distinct = of_split[split][np.unique(image_ids[of_split[split]], return_index=True)[1]]
                refinements[split] = AttributeRefinements(catalogue, np.sort(distinct), differences)
    items = MultitaskItems(images, image_ids, catalogue.texts, catalogue.categories, of_split, refinements)
    for split in SPLITS:
        sizes = ", ".join(f"{task} {items.size(task, split):,}" for task in config.tasks)
        run.log(STAGE, f"{split}: {sizes}")
    return Prepared(backbone, items)


def _texts(dataset: OutfitDataset, items: NDArray[np.int64], differences: dict[str, list[str]]) -> Iterable[str]:
    """All texts that are learned from."""
    yield from (dataset.catalogue.texts[item] for item in items.tolist())
    yield from sorted(attribute_texts(differences, dataset.catalogue, items))
    for one in dataset.refinements.get("train", ()):
        yield from one.captions


def _packed(run: Run, dataset: OutfitDataset, settings: ClipSettings, digests: list[bytes]) -> PackedImages:
    catalogue, policies = dataset.catalogue, image_policies(run.config.data)
    described = json.dumps(settings.preprocess, sort_keys=True)
    folder = run.cache / "images" / content_hash([described, *policies.values(), *digests])[:32]
    if before_writing(lambda: load_packed(folder) is None):
        run.log(STAGE, f"preparing {len(catalogue):,} images → {folder}")
        size: Any = settings.preprocess["size"]
        height, width = size if isinstance(size, list) else (size, size)
        workers = run.config.encoder.num_workers
        run_once(
            lambda _: pack_prepared(catalogue, folder, settings.prepare, (height, width, 3), policies, workers),
            run.config.trainer,
        )
    packed = load_packed(folder)
    if packed is None:
        raise DataError(f"the prepared images in {folder} cannot be read back; is the disk full?")
    return packed
