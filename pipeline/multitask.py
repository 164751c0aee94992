"""Stage ``multitask``: trains one model for several tasks, models for a task each, and measures all alike."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.multitask import MultitaskDataModule, MultitaskItems
from lightning_modules.multitask import MultitaskModule
from lightning_modules.trainer import before_writing, build_trainer, on_rank_zero
from outfits import run_files
from outfits.config.schema.multitask import RETRIEVAL, SMALL, MultitaskArchitecture, MultitaskConfig
from outfits.data.dataset import OutfitDataset
from outfits.encoders.content import weights_sha256
from outfits.encoders.multitask.store import Backbone, StoredNetwork, load_multitask, plain, save_multitask
from outfits.errors import ConfigError
from outfits.metrics.multitask import Gallery, measure
from outfits.report.multitask.report import MultitaskResult, examples, write_report
from outfits.storage import copy_file
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.dataset import record_dataset
from pipeline.multitask_items import STAGE, prepare_multitask
from pipeline.reports import leave_report
from pipeline.run import Run, content_key

ALL, PLAIN = "multitask", "plain"  # rows of the report
NOT_LEARNING = ("single_tasks", "beam", "small", "model", "pretrained")  # keys that training depends on otherwise


def learn_multitask(run: Run, dataset: OutfitDataset) -> StoredNetwork:
    """Trains the model, and those that it is compared with or taught by, or finds them, and writes the report.

    Raises:
        ConfigError: if the CLIP model has no towers to put adapters into, or the items lack an attribute.
        DataError: if a task has too few samples in a split.
    """
    record_dataset(run, dataset)
    path = run.folder / run_files.MULTITASK
    finished = load_multitask(path) if before_writing(path.exists) else None
    if finished is None:
        run.require(STAGE, wanted_by="a later stage")
    config, prepared = run.config.multitask, prepare_multitask(run, dataset)
    prepared.items.require(config.tasks, run.config.evaluate.split)  # before anything is trained
    names = dataset.catalogue.category_names
    backbone = _trained_backbone(run, prepared.backbone, prepared.items, names, finished)
    trainings = Trainings(run, prepared.items, names, backbone)
    singles = list(config.tasks) if len(config.tasks) > 1 and (config.single_tasks or config.distil > 0) else []
    alone = {task: trainings.file(task, replace(config, tasks=[task], distil=0.0)) for task in singles}
    if finished is None:
        trained = trainings.file(ALL, config, alone if config.distil > 0 else {})
        on_rank_zero(lambda: copy_file(trained, path))
        before_writing(path.exists)
    models = {ALL: finished or load_multitask(path)} | {task: load_multitask(file) for task, file in alone.items()}
    network = trainings.backbone.network(plain(config), len(names)).eval().requires_grad_(False)
    models[PLAIN] = StoredNetwork(network, trainings.backbone.tokens, names, "")
    _report(run, dataset, prepared.items, models)
    return models[ALL]


def evaluate_multitask(run: Run, dataset: OutfitDataset) -> None:
    """Measures a finished run again."""
    learn_multitask(run, dataset)


def _trained_backbone(
    run: Run, backbone: Backbone, items: MultitaskItems, names: Sequence[str], finished: StoredNetwork | None
) -> Backbone:
    """The CLIP model with weights: a small one is that of a finished network, or trained if it is not in the cache."""
    config, small = run.config.multitask, run.config.multitask.small
    if config.model != SMALL:
        return backbone
    if finished is not None and config.backbone == "frozen":
        same = np.array_equal(finished.network.vocabulary.numpy(), backbone.vocabulary)
        if same and finished.network.clip_settings == backbone.settings:
            return replace(backbone, weights=finished.network.clip)
    if items.size(RETRIEVAL, "train") < 2:
        text = f"is {SMALL}, a model trained on the items' texts, and those of the training split have none"
        raise ConfigError([f"multitask.model: {text}; name a pretrained one, as in docs/multitask.md"])
    contrastive = replace(config, tasks=[RETRIEVAL], backbone="trained", epochs=small.epochs, lr=small.lr, distil=0.0)
    file = Trainings(run, items, names, backbone).file(PLAIN, contrastive, architecture=plain(config))
    return replace(backbone, weights=load_multitask(file).network.clip)


class Trainings:
    """Trains networks around one CLIP model on the same items, each into the cache."""

    def __init__(self, run: Run, items: MultitaskItems, names: Sequence[str], backbone: Backbone) -> None:
        self.run, self.items, self.names, self.backbone = run, items, names, backbone

    def file(
        self,
        name: str,
        config: MultitaskConfig,
        teachers: dict[str, Path] | None = None,
        architecture: MultitaskArchitecture | None = None,
    ) -> Path:
        """Trains a network, or finds it in the cache; returns its file.

        Args:
            name: of the network, in the log and of its folder.
            config: what it learns, and how.
            teachers: files of the networks that teach it, by task.
            architecture: of its adapters; None: that of ``config``.
        """
        run, items, backbone, teachers = self.run, self.items, self.backbone, teachers or {}
        texts_and_numbers = json.dumps([list(items.texts), items.image_ids.tolist(), items.categories.tolist()])
        key = content_key(
            {key: value for key, value in asdict(config).items() if key not in NOT_LEARNING},
            backbone.settings.to_json(),
            None if backbone.weights is None else weights_sha256(backbone.weights),
            backbone.vocabulary.tolist(),
            items.images.key,
            hashlib.sha256(texts_and_numbers.encode()).hexdigest(),
            [items.items[split].tolist() for split in ("train", "valid")],
            [items.refinements[split].facts() for split in ("train", "valid") if split in items.refinements],
            sorted(file.parent.name for file in teachers.values()),
            run.config.seed,
            *run.training_facts(),
        )
        folder = run.cache / STAGE / f"{name}-{key}"
        path = folder / run_files.MULTITASK
        with to_be_made(run, path, STAGE, name) as missing:
            if missing:
                run.log(STAGE, f"training {name}: {', '.join(config.tasks)} → {folder}")
                taught_by = {task: load_multitask(file).network for task, file in teachers.items()}
                built = architecture or config
                fit_into_cache(
                    run,
                    folder,
                    name,
                    "score",
                    config,
                    lambda: MultitaskModule(lambda: backbone.network(built, len(self.names)), config, name, taught_by),
                    MultitaskDataModule(
                        items, backbone.tokens, config, num_workers=run.config.data.num_workers, seed=run.config.seed
                    ),
                    lambda model: save_multitask(model, self.names, path),
                )
        return path


def _report(run: Run, dataset: OutfitDataset, items: MultitaskItems, models: dict[str, StoredNetwork]) -> None:
    """Measures models on the evaluated split and writes page and tables."""
    config, split, seed = run.config.multitask, run.config.evaluate.split, run.config.seed
    gallery = Gallery(
        items.images.pixels,
        items.image_ids,
        items.texts,
        items.categories,
        items.items[split],
        items.refinements.get(split),
        by_category=bool(dataset.refinements),
    )
    device = build_trainer(run.config.trainer).strategy.root_device
    rows = {}
    for name, model in models.items():
        model.network.to(device)
        tasks = config.tasks if name in (ALL, PLAIN) else [name]
        rows[name] = (model.network, measure(model, gallery, tasks, config.beam, seed))
    result = MultitaskResult.of(rows, dataset.name, split, seed)
    shown = examples(models[ALL], gallery, dataset.catalogue, config.beam, seed)
    write = partial(write_report, result, shown)
    on_rank_zero(lambda: leave_report(run, run_files.MULTITASK_REPORT, result.table(), write))
