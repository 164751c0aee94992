"""Loads the models, catalogue and outfits of a run from its folder, without its data set and without the network."""

import json
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from outfits import run_files
from outfits.completion.context import MethodContext
from outfits.config.load import read_config
from outfits.config.schema import Config
from outfits.data.catalogue import Catalogue
from outfits.data.outfits import SPLITS, Outfits
from outfits.errors import ArtifactError, ConfigError
from outfits.hub import hub_folder, on_hub
from outfits.mining.targets import read_selected
from outfits.models.frozen import load_generator, load_recommender, load_retriever, load_scorer, load_student
from outfits.models.hfgn import Hfgn
from outfits.stylist.changes import CatalogueChanges, ChangeStore
from outfits.stylist.export import read_catalogue, read_manifest, read_outfits


@dataclass(frozen=True)
class LoadedRun:
    """A run on a device.

    Attributes:
        folder: the run's folder.
        config: its configuration.
        catalogue: its items.
        outfits: its outfits.
        context: its models, without a generator where the run has none yet.
        changes: where changes of the catalogue are kept.
        recommender: HFGN; None where the run has none, and once the catalogue has changed.
    """

    folder: Path
    config: Config
    catalogue: Catalogue
    outfits: Outfits
    context: MethodContext
    changes: ChangeStore
    recommender: Hfgn | None


def load_run(run_dir: str | Path, device: str, cache_dir: str | Path | None, data_root: str | Path | None) -> LoadedRun:
    """Loads a run that has at least a compatibility model, with the catalogue as it was exported.

    Arguments and errors are those of :meth:`Stylist.load`.
    """
    folder = hub_folder(str(run_dir), "model", "run") if on_hub(run_dir) else Path(run_dir).expanduser()
    if not (folder / run_files.CONFIG).is_file():
        raise ArtifactError(f"{folder} holds no run: {run_files.CONFIG} is missing; name the folder of a finished run")
    if not (folder / run_files.COMPATIBILITY).is_file():
        way_out = f"finish it with train.py resume={folder}, naming what it lacks in stages=[…]"
        raise ArtifactError(f"run {folder} lacks {run_files.COMPATIBILITY}; {way_out}")
    config = read_config(folder / run_files.CONFIG)
    manifest = read_manifest(folder)
    if cache_dir is not None:
        manifest = replace(manifest, embeddings_dir=str(Path(cache_dir).expanduser() / run_files.EMBEDDINGS))
    if data_root is not None:
        manifest = replace(manifest, data_root=str(Path(data_root).expanduser()))
    catalogue = read_catalogue(folder, manifest, config.encoder)
    outfits = read_outfits(folder)
    recorded = json.loads((folder / run_files.COMPATIBILITY).read_text(encoding="utf-8"))
    scorer = load_scorer(folder / run_files.SCORER, recorded["sha256"])
    selected = folder / run_files.SELECTED
    taught: dict[str, Any] = {
        name: load(folder / file, scorer.sha256)
        for name, file, load in (
            ("generator", run_files.GENERATOR, load_generator),
            ("student", run_files.STUDENT, load_student),
            ("retriever", run_files.RETRIEVER, load_retriever),
        )
        if (folder / file).is_file()
    }
    train = outfits.split == SPLITS.index("train")
    judge_file = folder / run_files.JUDGE
    judged = recorded["judge_sha256"]  # None where there is no judge; a file of one is then another run's
    judge = load_scorer(judge_file, judged).module if judged and judge_file.is_file() else None
    context = MethodContext(
        catalogue,
        scorer_module=scorer.module,
        judge_module=judge,
        **taught,
        selected=read_selected(selected, catalogue) if selected.is_file() else None,
        occurrences=np.bincount(outfits.items[np.repeat(train, outfits.sizes)], minlength=len(catalogue)),
        search=config.targets,
        index_config=config.index,
        seed=config.seed,
        device=_device(device),
    )
    recommends = (folder / run_files.RECOMMENDER).is_file()
    recommender = load_recommender(folder / run_files.RECOMMENDER) if recommends else None
    changes = ChangeStore(folder / run_files.STYLIST, manifest.key)
    return LoadedRun(folder, config, catalogue, outfits, context, changes, recommender)


def changed_run(run: LoadedRun, changes: CatalogueChanges) -> LoadedRun:
    """Applies changes to a run's exported catalogue.

    Items that stay keep their order, those that joined follow. Outfits with an item that left are left out.
    """
    catalogue, features = run.catalogue, run.catalogue.require_embeddings
    stays = np.ones(len(catalogue), dtype=np.bool_)
    stays[[catalogue.positions[item_id] for item_id in changes.gone if item_id in catalogue.positions]] = False
    kept, added = np.flatnonzero(stays), changes.added
    # a selection of all would copy a large catalogue once more
    every = slice(None) if stays.all() else kept
    outfits = run.outfits
    if every is kept:
        place = np.full(len(catalogue), -1, dtype=np.int32)
        place[kept] = np.arange(len(kept))
        outfits = outfits.take([row for row, outfit in enumerate(outfits) if stays[outfit].all()])
        outfits = replace(outfits, items=place[outfits.items])
    vectors = [item.vector[None] for item in added]
    present = [item.present[None] for item in added]
    categories = np.array([item.category for item in added], dtype=np.int32)
    changed = Catalogue(
        [*compress(catalogue.item_ids, stays), *(item.item_id for item in added)],
        np.concatenate([catalogue.categories[every], categories]),
        catalogue.category_names,
        [*compress(catalogue.texts, stays), *(item.text for item in added)],
        [
            *compress(catalogue.image_paths, stays),
            *(None if item.image is None else run.changes.images / item.image for item in added),
        ],
        replace(
            features,
            vectors=np.concatenate([features.vectors[every], *vectors]),
            present=np.concatenate([features.present[every], *present]),
        ),
    )
    return replace(
        run,
        catalogue=changed,
        outfits=outfits,
        context=run.context.over(changed, kept),
        recommender=None,
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError([f"device: {name!r} names no device; cpu, cuda, cuda:1 or mps do"]) from None
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, True) or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError([f"device: this machine has no device {device}; use device=cpu"])
    return device
