"""Stage ``representation``: an image model trained on the catalogue's own images, without outfits."""

from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from numpy.typing import NDArray

from callbacks.batch_seed import BatchSeed
from datamodules.images import CollateImages, ImageDataModule
from lightning_modules.representation import RepresentationModule
from lightning_modules.trainer import build_trainer, checkpoints, is_rank_zero, wait_for_all_ranks
from outfits import run_files
from outfits.data.dataset import OutfitDataset
from outfits.encoders.packed import PackedImages, latents_of_images, load_packed, pack_images, packing_key
from outfits.errors import DataError
from outfits.report.representation.items import known_factors
from outfits.representations.base import ImageModel
from outfits.representations.store import (
    fit_components,
    load_representation,
    perceptual_features,
    save_representation,
    settings_of,
)
from pipeline.embeddings import count_undecodable, embed_catalogue, image_policies
from pipeline.run import Run

HELD_OUT = 0.05  # of the training items, where all items stand in training outfits
FEWEST_HELD_OUT = 16


def train_representation(run: Run, dataset: OutfitDataset) -> ImageModel:
    """Trains the configured image model, from the run's last checkpoint if it was interrupted, or loads it.

    It learns from the items of training outfits; the loss is watched on the others.

    Raises:
        ConfigError: if the report is to be about an attribute that the items do not have.
        DataError: if an image cannot be used, or there are too few.
    """
    config, path = run.config, run.folder / run_files.REPRESENTATION
    known_factors(dataset.catalogue, config.evaluate.representation.factors)  # a wrong name now, not after training
    images = prepared_images(run, dataset)
    missing = int((~images.present).sum())
    run.log("representation", f"{len(images.present) - missing:,} images, {missing:,} items without a usable one")
    count_undecodable(run, "representation", dataset.catalogue, images.present)
    if path.exists():
        run.log("representation", f"reusing {path}")
        return load_representation(path)[0]
    collate = image_collate(run, dataset, images)
    train, valid = items_to_learn_from(run, dataset, collate)
    L.seed_everything(config.seed, verbose=False)
    settings = settings_of(config.model.representation, len(dataset.catalogue.category_names), collate.texts.shape[1])
    features = perceptual_features(config.model.representation)
    module = RepresentationModule(settings, config.model.representation.augmented, config.optimizer, features)
    data = ImageDataModule(collate, train, valid, config.optimizer.batch_size, config.data.num_workers, config.seed)
    best = _fit(run, module, data, f"{len(train):,} images")
    if best:
        weights = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(weights)
    wait_for_all_ranks()
    if is_rank_zero():
        model = module.model.eval()
        fit_components(model, latents_of_images(model, images, train))
        save_representation(model, path)
    wait_for_all_ranks()
    return load_representation(path)[0]


def _fit(run: Run, module: RepresentationModule, data: ImageDataModule, what: str) -> str:
    """Trains and returns the path of the best checkpoint, empty where none was kept."""
    config = run.config
    best, each = checkpoints(run.folder / run_files.CHECKPOINTS, "representation/valid_loss", mode="min")
    callbacks: list[Callback] = [BatchSeed(config.seed), best, each]
    if config.optimizer.patience:
        patience = config.optimizer.patience
        callbacks.append(EarlyStopping("representation/valid_loss", mode="min", patience=patience))
    last = run.folder / run_files.CHECKPOINTS / run_files.LAST
    start = f"continuing from {last}" if last.exists() else f"training the {config.model.representation.kind}"
    run.log(
        "representation",
        f"{start} on {what}, {config.trainer.max_epochs} epochs → {run.folder / run_files.REPRESENTATION}",
    )
    trainer = build_trainer(config.trainer, loggers=run.loggers("representation"), callbacks=callbacks)
    trainer.fit(module, data, ckpt_path=last if last.exists() else None)
    return best.best_model_path


def prepared_images(run: Run, dataset: OutfitDataset) -> PackedImages:
    """The catalogue's images as the configured model sees them, from the cache or prepared by rank zero."""
    model, policies = run.config.model.representation, image_policies(run.config.data)
    key = packing_key(dataset.catalogue, model.image_size, model.background, policies)
    folder = run.cache / "images" / key[:32]
    packed = load_packed(folder)
    wait_for_all_ranks()  # nobody writes before everybody has looked
    if packed is None:
        run.log("representation", f"preparing {len(dataset.catalogue):,} images → {folder}")
        if is_rank_zero():
            pack_images(
                dataset.catalogue, folder, model.image_size, model.background, policies, run.config.encoder.num_workers
            )
        wait_for_all_ranks()
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
    if run.config.model.representation.kind == "contrastive":
        config = run.config
        alone = replace(config, encoder=replace(config.encoder, image="none"), stages=["embeddings"])
        texts = embed_catalogue(replace(run, config=alone), dataset).catalogue.require_embeddings.text
    _, text_ids = np.unique(np.array(catalogue.texts), return_inverse=True)
    return CollateImages(images, catalogue.categories, texts, text_ids.astype(np.int64))


def is_representation_run(folder: Path) -> bool:
    """Whether a run's folder holds a representation."""
    return (folder / run_files.REPRESENTATION).is_file()
