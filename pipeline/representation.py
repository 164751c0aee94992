"""Stage ``representation``: an image model trained on the catalogue's own images, without outfits."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from datamodules.images import CollateImages, ImageDataModule
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.representation import RepresentationModule
from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.config.schema.representation import IMAGE_MODELS
from outfits.data.dataset import OutfitDataset
from outfits.encoders.packed import PackedImages, latents_of_images, load_packed, pack_images, packing_key
from outfits.errors import DataError
from outfits.report.representation.items import known_factors
from outfits.representations.base import ImageModel
from outfits.representations.store import fit_components, load_representation, perceptual_features
from outfits.weights import save_network
from pipeline.dataset import count_undecodable, image_policies
from pipeline.embeddings import embed_catalogue
from pipeline.representation_report import report_representation
from pipeline.run import Run

HELD_OUT = 0.05  # of the training items, where all items stand in training outfits
FEWEST_HELD_OUT = 16


def learn_representation(run: Run, dataset: OutfitDataset) -> ImageModel:
    """The configured image model, trained from the run's last checkpoint if it was interrupted, and its report.

    It learns from the items of training outfits; the loss is watched on the others. A finished one is reported anew.

    Raises:
        ArtifactError: if it is missing and the stage was not asked for.
        ConfigError: if the report is to be about an attribute that the items do not have.
        DataError: if an image cannot be used, or there are too few.
    """
    path = run.folder / run_files.REPRESENTATION
    known_factors(dataset.catalogue, run.config.evaluate.representation.factors)  # a wrong name now, not after training
    images = prepared_images(run, dataset)
    missing = int((~images.present).sum())
    run.log("representation", f"{len(images.present) - missing:,} images, {missing:,} items without a usable one")
    count_undecodable(run, "representation", dataset.catalogue, images.present)
    collate = image_collate(run, dataset, images)
    train, valid = items_to_learn_from(run, dataset, collate)
    if path.exists():
        run.log("representation", f"reusing {path}")
    else:
        run.require("representation", wanted_by="a later stage")
        _train(run, len(dataset.catalogue.category_names), collate, train, valid)
    model = load_representation(path)[0]
    report_representation(run, dataset, model, images, train, valid)
    return model


def _train(
    run: Run, categories: int, collate: CollateImages, train: NDArray[np.int64], valid: NDArray[np.int64]
) -> None:
    config, path = run.config, run.folder / run_files.REPRESENTATION
    options = config.model.representation
    kept = Checkpoints(
        run.folder / run_files.CHECKPOINTS, "representation/valid_loss", mode="min", patience=config.optimizer.patience
    )
    start = f"continuing from {kept.last}" if kept.last else f"training the {options.kind}"
    run.log("representation", f"{start} on {len(train):,} images, {config.trainer.max_epochs} epochs → {path}")
    module = fit_resumable(
        lambda: RepresentationModule(
            options, config.optimizer, categories, collate.texts.shape[1], perceptual_features(options)
        ),
        ImageDataModule(collate, train, valid, config.optimizer.batch_size, config.data.num_workers, config.seed),
        config.trainer,
        kept,
        seed=config.seed,
        loggers=run.loggers("representation"),
    )

    def export() -> None:
        model = module.model.eval()
        fit_components(model, latents_of_images(model, collate.images, train))
        save_network(model, path)

    on_rank_zero(export)


def prepared_images(run: Run, dataset: OutfitDataset) -> PackedImages:
    """The catalogue's images as the configured model sees them, from the cache or prepared now."""
    model, policies = run.config.model.representation, image_policies(run.config.data)
    key = packing_key(dataset.catalogue, model.image_size, model.background, policies)
    folder = run.cache / "images" / key[:32]
    packed = before_writing(partial(load_packed, folder))
    if packed is None:
        run.log("representation", f"preparing {len(dataset.catalogue):,} images → {folder}")
        workers = run.config.encoder.num_workers
        run_once(
            lambda _: pack_images(dataset.catalogue, folder, model.image_size, model.background, policies, workers),
            run.config.trainer,
        )
        packed = load_packed(folder)
    if packed is None:
        raise DataError(f"the prepared images in {folder} cannot be read back; is the disk full?")
    return packed


def items_to_learn_from(
    run: Run, dataset: OutfitDataset, collate: CollateImages
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Catalogue positions of the training items and of those that the loss is watched on.

    Raises:
        DataError: if fewer than two items can be learned from.
    """
    usable = collate.images.present.copy()
    if collate.texts.shape[1]:
        usable &= collate.texts.any(axis=1)
    learned = np.zeros(len(usable), dtype=np.bool_)
    learned[dataset.outfits.of("train").items] = True
    train, valid = np.flatnonzero(learned & usable), np.flatnonzero(~learned & usable)
    if len(valid) < FEWEST_HELD_OUT:
        rng = np.random.default_rng([run.config.data.split.seed, len(train)])
        held = rng.choice(train, max(1, round(HELD_OUT * len(train))), replace=False) if len(train) else train
        train, valid = np.setdiff1d(train, held), np.union1d(valid, held)
    if len(train) < 2:
        raise DataError(
            f"{len(train)} item(s) of training outfits have a usable image"
            f"{' and text' if collate.texts.shape[1] else ''}; a representation needs at least 2"
        )
    return train, valid


def image_collate(run: Run, dataset: OutfitDataset, images: PackedImages) -> CollateImages:
    """Makes batches of the catalogue's images, of a contrastive model with frozen embeddings of their texts."""
    catalogue = dataset.catalogue
    texts = np.zeros((len(catalogue), 0), dtype=np.float32)
    if IMAGE_MODELS[run.config.model.representation.kind].texts:
        config = run.config
        alone = replace(config, encoder=replace(config.encoder, image="none"), stages=["embeddings"])
        texts = embed_catalogue(replace(run, config=alone), dataset).catalogue.require_embeddings.text
    _, text_ids = np.unique(np.array(catalogue.texts), return_inverse=True)
    return CollateImages(images, catalogue.categories, texts, text_ids.astype(np.int64))
