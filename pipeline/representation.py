"""Stage ``representation``: trains an image model on the catalogue's own images, without outfits."""

from dataclasses import replace

from datamodules.images import ImageDataModule
from lightning_modules.fitting import Checkpoints, fit_resumable
from lightning_modules.representation import RepresentationModule
from lightning_modules.trainer import on_rank_zero
from outfits import run_files
from outfits.config.schema.representation import IMAGE_MODELS
from outfits.data.dataset import OutfitDataset
from outfits.encoders.packed import PackedImages, latents_of_images
from outfits.report.representation.items import known_factors
from outfits.representations.base import ImageModel
from outfits.representations.store import fit_components, load_representation, perceptual_features
from outfits.weights import save_network
from pipeline.embeddings import embed_catalogue
from pipeline.images import prepared_images
from pipeline.representation_report import report_representation
from pipeline.run import Run


def learn_representation(run: Run, dataset: OutfitDataset) -> ImageModel:
    """Trains the configured image model, resuming from the run's last checkpoint, and writes its report.

    The items of training outfits are trained on, the others validate. A finished model is only reported.

    Raises:
        ConfigError: if the report is about an attribute that the items do not have.
        DataError: if an image cannot be used, or there are too few.
    """
    path = run.folder / run_files.REPRESENTATION
    known_factors(dataset.catalogue, run.config.evaluate.representation.factors)  # rejects wrong names before training
    model = run.config.model.representation
    images = prepared_images(run, dataset, "representation", model.image_size, model.background)
    data = _data(run, dataset, images)
    if path.exists():
        run.log("representation", f"reusing {path}")
    else:
        run.require("representation", wanted_by="a later stage")
        _train(run, len(dataset.catalogue.category_names), data)
    trained = load_representation(path)[0]
    report_representation(run, dataset, trained, data)
    return trained


def _train(run: Run, categories: int, data: ImageDataModule) -> None:
    config, path = run.config, run.folder / run_files.REPRESENTATION
    options, train, text_dim = config.model.representation, data.items["train"], data.texts.shape[1]
    kept = Checkpoints(
        run.folder / run_files.CHECKPOINTS, "representation/valid_loss", mode="min", patience=config.optimizer.patience
    )
    start = f"continuing from {kept.last}" if kept.last else f"training the {options.kind}"
    run.log("representation", f"{start} on {len(train):,} images, {config.trainer.max_epochs} epochs → {path}")
    module = fit_resumable(
        lambda: RepresentationModule(options, config.optimizer, categories, text_dim, perceptual_features(options)),
        data,
        config.trainer,
        kept,
        seed=config.seed,
        loggers=run.loggers("representation"),
    )

    def export() -> None:
        model = module.model.eval()
        fit_components(model, latents_of_images(model, data.images, train))
        save_network(model, path)

    on_rank_zero(export)


def _data(run: Run, dataset: OutfitDataset, images: PackedImages) -> ImageDataModule:
    """Batches images, with frozen embeddings of their texts where the configured model learns from texts."""
    config, texts = run.config, None
    if IMAGE_MODELS[config.model.representation.kind].texts:
        alone = replace(config, encoder=replace(config.encoder, image="none"), stages=["embeddings"])
        texts = embed_catalogue(replace(run, config=alone), dataset).catalogue.require_embeddings.text
    return ImageDataModule(
        dataset,
        images,
        texts,
        batch_size=config.optimizer.batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
        split_seed=config.data.split.seed,
    )
