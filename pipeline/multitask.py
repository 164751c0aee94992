"""Stage ``multitask``: trains one model for several tasks, models for a task each, and measures all alike."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.multitask import MultitaskDataModule, MultitaskItems
from lightning_modules.multitask import MultitaskModule
from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.config.load import save_config
from outfits.config.schema.multitask import REFINEMENT, RETRIEVAL, SMALL, MultitaskConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import SPLITS
from outfits.data.refinements import (
    AttributeRefinements,
    GivenRefinements,
    Refinements,
    attribute_texts,
    parse_differences,
)
from outfits.encoders.content import content_hash, image_digests, weights_sha256
from outfits.encoders.multitask.items import image_numbers, split_items
from outfits.encoders.multitask.network import MultitaskNetwork
from outfits.encoders.multitask.settings import ClipSettings
from outfits.encoders.multitask.store import (
    Backbone,
    StoredNetwork,
    load_multitask,
    open_backbone,
    plain,
    save_multitask,
)
from outfits.encoders.multitask.tokens import training_vocabulary
from outfits.encoders.packed import PackedImages, load_packed, pack_prepared
from outfits.errors import DataError
from outfits.metrics.multitask import Gallery, measure
from outfits.report.multitask.report import MultitaskResult, examples, write_report
from outfits.storage import write_atomically, writing
from pipeline.cached import fit_into_cache
from pipeline.dataset import image_policies, log_undecodable, record_dataset
from pipeline.run import Run, content_key

STAGE = "multitask"
ALL, PLAIN = "multitask", "plain"  # rows of the report
NOT_LEARNING = ("single_tasks", "beam", "captions", "small", "model", "pretrained")  # keys that no training depends on
FOLDER = "multitask"  # of the cache


def learn_multitask(run: Run, dataset: OutfitDataset) -> StoredNetwork:
    """Trains the model, and those that it is compared with or taught by, or finds them, and writes the report.

    Raises:
        ConfigError: if the CLIP model has no towers to put adapters into, or the items lack an attribute.
        DataError: if a task has too few samples in a split.
    """
    record_dataset(run, dataset)
    path = run.folder / run_files.MULTITASK
    if not before_writing(path.exists):
        run.require(STAGE, wanted_by="a later stage")
    work = _Work(run, dataset)
    trained = {ALL: work.trained(ALL)}
    trained |= {name: work.trained(name) for name in work.singles}
    if work.config.model == SMALL:
        trained[PLAIN] = work.plain_file()
    on_rank_zero(lambda: write_atomically(path, lambda file: file.write(trained[ALL].read_bytes())))
    before_writing(path.exists)
    models = {name: load_multitask(file) for name, file in trained.items()}
    models.setdefault(PLAIN, work.plain_model())
    work.report(models)
    return models[ALL]


def evaluate_multitask(run: Run, dataset: OutfitDataset) -> None:
    """Measures a finished run again."""
    learn_multitask(run, dataset)


class _Work:
    """The items of a run, the CLIP model around which adapters are put, and what is trained of them."""

    def __init__(self, run: Run, dataset: OutfitDataset) -> None:
        self.run, self.dataset, self.config = run, dataset, run.config.multitask
        catalogue = dataset.catalogue
        self.digests = image_digests(catalogue.image_paths)
        self.image_ids = image_numbers(self.digests)
        self.differences: dict[str, list[str]] = {}
        if REFINEMENT in self.config.tasks and not dataset.refinements:
            self.differences = parse_differences(self.config.differences, catalogue)
        there = np.array([path is not None for path in catalogue.image_paths])
        self.backbone = open_backbone(self.config, training_vocabulary(self._texts(there)))
        self.images = self._packed(self.backbone.settings)
        log_undecodable(run, STAGE, catalogue, self.images.present)
        self.items = self._items(self.images.present)
        sizes = {split: {task: self.items.size(task, split) for task in self.config.tasks} for split in SPLITS}
        for split, counts in sizes.items():
            run.log(STAGE, f"{split}: " + ", ".join(f"{task} {count:,}" for task, count in counts.items()))
        if self.backbone.weights is None:
            network = load_multitask(self.plain_file()).network
            self.backbone = replace(self.backbone, weights=network.clip)

    @property
    def singles(self) -> list[str]:
        """Tasks for which a model of its own is trained."""
        wanted = (self.config.single_tasks or self.config.distil > 0) and len(self.config.tasks) > 1
        return list(self.config.tasks) if wanted else []

    def plain_file(self) -> Path:
        """The file of the small CLIP, which is trained if it is not there."""
        small = self.config.small
        config = replace(
            self.config, tasks=[RETRIEVAL], backbone="trained", epochs=small.epochs, lr=small.lr, distil=0.0
        )
        backbone = replace(self.backbone, weights=None)
        return self._fitted(PLAIN, config, backbone, plain(config))

    def plain_model(self) -> StoredNetwork:
        """The CLIP model alone."""
        backbone = self.backbone
        network = backbone.network(plain(self.config), len(self.dataset.catalogue.category_names))
        frozen = network.eval().requires_grad_(False)
        return StoredNetwork(frozen, backbone.tokens, self.dataset.catalogue.category_names, "")

    def trained(self, name: str) -> Path:
        """The file of the model for all tasks or one, which is trained if it is not there."""
        if name != ALL:
            config = replace(self.config, tasks=[name], distil=0.0)
            return self._fitted(name, config, self.backbone, config)
        taught = {task: self.trained(task) for task in self.singles} if self.config.distil > 0 else {}
        return self._fitted(ALL, self.config, self.backbone, self.config, taught)

    def report(self, models: dict[str, StoredNetwork]) -> None:
        """Measures models on the evaluated split and writes page and tables."""
        run, dataset, split = self.run, self.dataset, self.run.config.evaluate.split
        gallery = self.gallery(split)
        rows = {}
        for name, model in models.items():
            tasks = self.config.tasks if name in (ALL, PLAIN) else [name]
            rows[name] = (model.network, measure(model, gallery, tasks, self.config.beam, run.config.seed))
        result = MultitaskResult.of(rows, dataset.name, split, run.config.seed)
        shown = examples(models[ALL], gallery, dataset.catalogue, self.config.beam, run.config.seed)

        def write() -> None:
            folder = run.folder / run_files.REPORT / run_files.MULTITASK_REPORT
            save_config(run.config, folder / run_files.CONFIG)
            with writing(folder):
                config_yaml = (folder / run_files.CONFIG).read_text(encoding="utf-8")
                paths = write_report(result, shown, folder, config_yaml)
            print(f"\n{result.table()}\n")
            for name, path in paths.items():
                print(f"{name:>16}: {path}")

        on_rank_zero(write)

    def gallery(self, split: str) -> Gallery:
        """The images and texts of a split."""
        items, catalogue = self.items, self.dataset.catalogue
        refinements = items.refinements.get(split)
        return Gallery(
            items.images.pixels,
            items.image_ids,
            catalogue.texts,
            catalogue.categories,
            items.items[split],
            refinements,
            by_category=bool(self.dataset.refinements),
        )

    def _texts(self, usable: NDArray[Any]) -> Iterable[str]:
        """All texts that are learned from."""
        catalogue = self.dataset.catalogue
        train = split_items(self.dataset, self.image_ids, usable)["train"]
        yield from (catalogue.texts[item] for item in train.tolist())
        yield from sorted(attribute_texts(self.differences, catalogue))
        for one in self.dataset.refinements.get("train", ()):
            yield from one.captions

    def _items(self, usable: NDArray[Any]) -> MultitaskItems:
        dataset = self.dataset
        items = split_items(dataset, self.image_ids, usable)
        refinements: dict[str, Refinements] = {}
        if REFINEMENT in self.config.tasks:
            for split in SPLITS:
                refinements[split] = self._refinements(split, items[split], usable)
        return MultitaskItems(
            self.images, self.image_ids, dataset.catalogue.texts, dataset.catalogue.categories, items, refinements
        )

    def _refinements(self, split: str, items: NDArray[Any], usable: NDArray[Any]) -> Refinements:
        given = self.dataset.refinements
        if given:
            rows = [one for one in given.get(split, ()) if usable[one.reference] and usable[one.target]]
            return GivenRefinements(rows, self.config.captions)
        distinct = np.sort(items[np.unique(self.image_ids[items], return_index=True)[1]])
        return AttributeRefinements(self.dataset.catalogue, distinct, self.differences)

    def _packed(self, settings: ClipSettings) -> PackedImages:
        run, catalogue, policies = self.run, self.dataset.catalogue, image_policies(self.run.config.data)
        described = json.dumps(settings.preprocess, sort_keys=True)
        key = content_hash([described, *policies.values(), *self.digests])
        folder = run.cache / "images" / key[:32]
        packed = before_writing(partial(load_packed, folder))
        if packed is None:
            run.log(STAGE, f"preparing {len(catalogue):,} images → {folder}")
            size = settings.preprocess["size"]
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

    def _fitted(
        self,
        name: str,
        config: MultitaskConfig,
        backbone: Backbone,
        architecture: MultitaskConfig,
        taught: dict[str, Path] | None = None,
    ) -> Path:
        """Trains a network into the cache, or finds it there; returns its file."""
        run, catalogue, items = self.run, self.dataset.catalogue, self.items
        learned = {key: value for key, value in asdict(config).items() if key not in NOT_LEARNING}
        split_of = [items.items[split].tolist() for split in ("train", "valid")]
        key = content_key(
            learned,
            backbone.settings.to_json(),
            None if backbone.weights is None else weights_sha256(backbone.weights),
            backbone.vocabulary.tolist(),
            hashlib.sha256(json.dumps([list(items.texts), items.image_ids.tolist()]).encode()).hexdigest(),
            items.categories.tolist(),
            split_of,
            sorted(str(path.parent.name) for path in (taught or {}).values()),
            run.config.seed,
            *run.training_facts(),
        )
        folder = run.cache / FOLDER / f"{name}-{key}"
        path = folder / run_files.MULTITASK
        if before_writing(path.exists):
            run.log(STAGE, f"reusing {name} in {folder}")
            return path
        run.log(STAGE, f"training {name}: {', '.join(config.tasks)} → {folder}")
        teachers: dict[str, MultitaskNetwork] = {
            task: load_multitask(file).network for task, file in (taught or {}).items()
        }
        names = catalogue.category_names
        fit_into_cache(
            run,
            folder,
            name,
            "score",
            config,
            lambda: MultitaskModule(lambda: backbone.network(architecture, len(names)), config, name, teachers),
            MultitaskDataModule(
                items, backbone.tokens, config, num_workers=run.config.data.num_workers, seed=run.config.seed
            ),
            lambda model: save_multitask(model, names, path),
        )
        return path
