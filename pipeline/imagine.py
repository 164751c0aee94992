"""Stage ``imagine``: trains a decoder of the generator's latents, and measures the images of missing items."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.conditional import ConditionedImageDataModule
from lightning_modules.conditional import ConditionalModule
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.completion import complete_from_latents
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.data.category_rule import forbidden_categories
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.encoders import build_item_encoder
from outfits.errors import ArtifactError, ConfigError
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.decoder import beside, decoder_inputs, load_decoder, retrieval_vectors, save_decoder
from outfits.models.generator import Generator
from outfits.report.imaging.imagined import Imagined, measure_imagined
from outfits.report.imaging.report import write_imaging_report
from outfits.storage import Arrays, copy_file, read_arrays, write_arrays
from outfits.weights import weights_digest
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.compatibility import Scorers
from pipeline.dataset import encoder_source
from pipeline.images import prepared_images
from pipeline.reports import leave_report
from pipeline.run import Run, content_key

NAME = "imagine"
NOT_LEARNING = ("outfits", "shown")  # keys that the decoder does not depend on


def learn_decoder(run: Run, dataset: OutfitDataset, scorers: Scorers, generator: Generator) -> ConditionalGenerator:
    """Trains the decoder of the generator's latents, or finds it finished, and writes the report on imagined images.

    Raises:
        ConfigError: if the run's encoder sees no images.
        DataError: if an image cannot be used, or there are too few.
    """
    if not dataset.catalogue.require_embeddings.image_dim:
        raise ConfigError(["encoder.image: none sees no images, so that no item can be imagined; choose an encoder"])
    context = MethodContext(
        dataset.catalogue,
        scorer_module=scorers.scorer.module,
        judge_module=None if scorers.judge is None else scorers.judge.module,
        generator=generator,
        search=run.config.targets,
        index_config=run.config.index,
        seed=run.config.seed,
    )
    data = _data(run, dataset, context)
    path = run.folder / run_files.DECODER
    if not before_writing(path.exists):
        _train(run, dataset, data, context)
    decoder = load_decoder(path, generator)
    on_rank_zero(lambda: _report(run, dataset, context, decoder, data))
    return decoder


def _data(run: Run, dataset: OutfitDataset, context: MethodContext) -> ConditionedImageDataModule:
    config, catalogue = run.config.imagine, dataset.catalogue
    vectors = torch.from_numpy(retrieval_vectors(context.require_generator(), catalogue.require_embeddings))
    return ConditionedImageDataModule(
        dataset,
        prepared_images(run, dataset, NAME, config.image_size, config.background),
        decoder_inputs(vectors, catalogue.categories, context.num_categories).numpy(),
        batch_size=config.batch_size,
        num_workers=run.config.data.num_workers,
        seed=run.config.seed,
        split_seed=run.config.data.split.seed,
    )


def _answers(
    run: Run, context: MethodContext, outfits: Outfits, limit: int
) -> tuple[CompletionTasks, Tensor, NDArray[np.int64]]:
    """Tasks of so many outfits, the generator's latents ``[B, k, r]``, and the items that they find, ``[B, k]``."""
    tasks = make_tasks(outfits, run.config.model.k, 1, limit, run.config.seed)
    latents = context.latents(tasks)
    forbidden = forbidden_categories(tasks.given, context.categories, context.num_categories)
    return tasks, latents, complete_from_latents(latents, context.index, forbidden)


def _training_latents(run: Run, dataset: OutfitDataset, context: MethodContext, path: Path) -> Arrays:
    """Latents ``[m, r]`` of training outfits and the items ``[m]`` that they find, from a file that rank zero writes.

    Indexes need not find the same on all ranks, and ranks with different samples would wait for each other for ever.
    """

    def find() -> None:
        limit = -(-run.config.imagine.latents // run.config.model.k)
        _, latents, found = _answers(run, context, dataset.outfits.of("train"), limit)
        write_arrays(path, {"latents": latents.flatten(0, 1).numpy(), "items": found.flatten()})

    if before_writing(lambda: read_arrays(path) is None):
        on_rank_zero(find)
    arrays = read_arrays(path)
    if arrays is None:
        raise ArtifactError(f"{path} cannot be read; delete it and run stage imagine again")
    return arrays


def _train(run: Run, dataset: OutfitDataset, data: ConditionedImageDataModule, context: MethodContext) -> None:
    config, catalogue, taught = run.config.imagine, dataset.catalogue, dataset.outfits.of("train")
    generator = context.require_generator()
    key = content_key(
        {name: value for name, value in asdict(config).items() if name not in NOT_LEARNING},
        [data.images.key, *(data.items[split].tolist() for split in ("train", "valid"))],
        weights_digest(generator),
        [catalogue.require_embeddings.key, catalogue.categories.tolist()],
        [taught.items.tolist(), taught.offsets.tolist(), run.config.model.k, asdict(run.config.index)],
        run.config.seed,
        *run.training_facts(),
    )
    folder, path = run.cache / "imaging" / f"{NAME}-{key}", run.folder / run_files.DECODER
    trained = folder / run_files.DECODER
    with to_be_made(run, trained, NAME, "the decoder") as missing:
        if missing:
            images = len(data.items["train"])
            if config.latents:
                found = _training_latents(run, dataset, context, folder / "latents.npz")
                categories = catalogue.categories[found["items"]]
                inputs = decoder_inputs(torch.from_numpy(found["latents"]), categories, context.num_categories)
                data.add_conditions(inputs.numpy(), found["items"])
            latents = len(data.make_samples("train")) - images
            text = f"training the decoder on {images:,} images and {latents:,} latents that find one of them"
            run.log(NAME, f"{text}, {config.epochs} epochs → {folder}")
            fit_into_cache(
                run,
                folder,
                NAME,
                "-loss",
                config,
                lambda: ConditionalModule(
                    ConditionalGenerator(config, data.conditions.shape[1], config.image_size),
                    config,
                    config,
                    NAME,
                    draw=partial(beside, noise=config.noise, latent_dim=generator.latent_dim),
                ),
                data,
                lambda model: save_decoder(model, trained, generator),
            )
    on_rank_zero(lambda: copy_file(trained, path))


def _report(
    run: Run,
    dataset: OutfitDataset,
    context: MethodContext,
    decoder: ConditionalGenerator,
    data: ConditionedImageDataModule,
) -> None:
    config = run.config.imagine
    tasks, latents, chosen = _answers(run, context, dataset.outfits.of(run.config.evaluate.split), config.outfits)
    imagined = Imagined(
        context=context,
        encoder=build_item_encoder(encoder_source(run, dataset)),
        decoder=decoder,
        images=data.images,
        tasks=tasks,
        latents=latents,
        chosen=chosen,
    )
    result = measure_imagined(imagined, data.items, dataset.name, config, run.config.seed)
    leave_report(run, run_files.IMAGINE, result.text(), partial(write_imaging_report, result))
