"""Stage ``parts``: trains GRNet to find an item seen otherwise, and measures it beside cosines of local features."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.parts import PartsDataModule
from lightning_modules.parts import PartsModule
from lightning_modules.sharded import run_shards
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.data.dataset import FurtherImage, OutfitDataset
from outfits.encoders.packed import PackedImages, first_copies
from outfits.encoders.pyramid import PyramidEncoder, build_network, fit_pyramids
from outfits.encoders.view_pyramids import (
    PyramidStore,
    ViewImages,
    ViewPyramids,
    plan_key,
    plan_views,
    pyramid_work,
    split_items,
)
from outfits.metrics.parts import rank_items
from outfits.models.frozen import load_grnet
from outfits.models.grnet import Grnet
from outfits.models.pyramid_similarity import CataloguePyramids
from outfits.report.parts.examples import examples
from outfits.report.parts.report import PartsResult, write_report
from outfits.storage import copy_file
from outfits.weights import save_network
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.dataset import record_dataset
from pipeline.embeddings import embed_dataset
from pipeline.images import prepared_images
from pipeline.reports import leave_report
from pipeline.run import Run, content_key

NOT_LEARNING = ("queries", "shares", "views", "copies", "network", "timm", "feature_dim")  # the pyramids' key has these
FIT_LIMIT = 256  # most images that the PCA of local features is fitted on


def learn_parts(run: Run, dataset: OutfitDataset) -> Grnet:
    """Trains GRNet, or finds it finished, and writes the report on it.

    Raises:
        DataError: if an image cannot be used, or too few differ.
    """
    if "embeddings" in run.config.stages:
        dataset = embed_dataset(run, dataset)
    else:
        record_dataset(run, dataset)
    images, encoder, views = _pyramids(run, dataset)
    path = run.folder / run_files.GRNET
    if not before_writing(path.exists):
        trained = _trained(run, dataset, views) / run_files.GRNET
        on_rank_zero(lambda: copy_file(trained, path))
    model = load_grnet(path)
    _report(run, dataset, ViewImages(views.plan, images, encoder.prepare, run.config.data.split.seed), views, model)
    on_rank_zero(lambda: _export(run, encoder, images, views))
    return model


def evaluate_parts(run: Run, dataset: OutfitDataset) -> None:
    """Measures a finished run again."""
    learn_parts(run, dataset)


def _pyramids(run: Run, dataset: OutfitDataset) -> tuple[PackedImages, PyramidEncoder, ViewPyramids]:
    """Prepared images, the encoder of local features, and pyramids of all items and views."""
    config, seed = run.config, run.config.data.split.seed
    network = build_network(config)
    images = prepared_images(run, dataset, "parts", network.image_size, network.background)
    first = first_copies(images)
    items = split_items(np.unique(first[first >= 0]), config.parts.shares, seed)
    run.log("parts", ", ".join(f"{len(some):,} {split}" for split, some in items.items()) + " items of distinct images")
    fitted = [np.array(images.pixels[item]) for item in items["train"][:: -(-len(items["train"]) // FIT_LIMIT)]]
    encoder = fit_pyramids(network, config.parts, fitted, run.cache / "encoders")
    plan = plan_views(items, _further(dataset, first), config.parts, seed)
    key = plan_key(plan, images, encoder, seed)
    store = PyramidStore(run.cache / "pyramids" / key[:32], len(plan))
    missing = before_writing(store.pending)
    if missing:
        run.log(
            "parts", f"local features of {len(plan):,} views, {len(missing)} of {len(store)} shards → {store.folder}"
        )
        inputs = ViewImages(plan, images, encoder.prepare, seed)
        run_shards(missing, pyramid_work(encoder, store), config.trainer, inputs, config.data.num_workers)
    return images, encoder, ViewPyramids(plan, store.all(), key)


def _further(dataset: OutfitDataset, first: NDArray[np.int64]) -> dict[int, list[FurtherImage]]:
    """Further images by item; those of items of one image belong to the first of them, which stands for all."""
    found: dict[int, list[FurtherImage]] = {}
    for image in dataset.further_images:
        found.setdefault(int(first[dataset.catalogue.positions[image.item_id]]), []).append(image)
    found.pop(-1, None)  # of items without an image of their own
    return found


def _trained(run: Run, dataset: OutfitDataset, views: ViewPyramids) -> Path:
    """Trains GRNet into the cache, or finds it there; returns its folder."""
    config, seed = run.config.parts, run.config.seed
    learning = {name: value for name, value in asdict(config).items() if name not in NOT_LEARNING}
    key = content_key(learning, views.key, dataset.catalogue.categories.tolist(), seed, *run.training_facts())
    folder = run.cache / "grnet" / key
    path = folder / run_files.GRNET
    with to_be_made(run, path, "parts", "GRNet") as missing:
        if missing:
            run.log("parts", f"training GRNet on {len(views.plan.view_rows('train')):,} views → {folder}")
            data = PartsDataModule(
                views, dataset.catalogue.categories, config, num_workers=run.config.data.num_workers, seed=seed
            )
            save = partial(save_network, path=path)
            fit_into_cache(run, folder, "parts", "top1", config, lambda: PartsModule(views, config), data, save)
    return folder


def _report(run: Run, dataset: OutfitDataset, images: ViewImages, views: ViewPyramids, model: Grnet) -> None:
    split, seed = run.config.evaluate.split, run.config.seed
    gallery, queries = views.gallery(split), views.queries(split)
    ranks = rank_items(model, gallery[1], queries, run.config.parts.candidates)
    result = PartsResult.of(ranks, dataset.name, split, seed)

    def write() -> None:
        shown = examples(views, split, images, model, ranks)
        leave_report(run, run_files.PARTS, result.table(), partial(write_report, result, shown))

    on_rank_zero(write)


def _export(run: Run, encoder: PyramidEncoder, images: PackedImages, views: ViewPyramids) -> None:
    """Writes what a stylist needs beside GRNet: the fit of local features, and pyramids of the catalogue."""
    folder = run.folder / run_files.STYLIST
    encoder.save(folder / run_files.STYLIST_PYRAMID_FIT)
    CataloguePyramids.of(images, views).save(folder / run_files.STYLIST_PYRAMIDS)
