"""Opens the data set of a run, describes its encoder's inputs, and records what the data are."""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from lightning_modules.trainer import is_rank_zero
from outfits import run_files
from outfits.config.schema.data import DataConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.files import root_of
from outfits.data.load import load_dataset
from outfits.data.outfits import SPLITS
from outfits.encoders import EncoderSource
from outfits.encoders.images import undecodable
from outfits.errors import ArtifactError
from outfits.naming import named
from outfits.storage import write_json
from outfits.stylist.export import export, is_exported, write_manifest
from pipeline.run import Run


def open_dataset(run: Run) -> OutfitDataset:
    """Reads the run's data set and logs its size, its split and what was left out of it."""
    dataset = load_dataset(run.config.data)
    counts = {split: int((dataset.outfits.split == code).sum()) for code, split in enumerate(SPLITS)}
    sizes = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    run.log("data", f"{dataset.name}: {len(dataset.catalogue):,} items, outfits: {sizes}")
    for note in dataset.notes:
        run.log("data", note)
    facts = dataset.split_facts
    seen = f"{facts['pairs_seen']:.1%} of the item pairs of a test outfit also stand in a training outfit"
    near_duplicates = f"{facts['twin_share']:.1%} of the test outfits have a near duplicate in training"
    run.log("data", f"split {facts['mode']}: {seen}; {near_duplicates}")
    for what, count in dataset.counts.items():
        if count or dataset.counts.get(what.replace("kept", "read")):  # also logs that none of some was kept
            run.log("data", f"{what}: {count:,}")
    return dataset


def image_policies(config: DataConfig) -> dict[str, str]:
    """Returns the policies for missing and undecodable images, by the names of the readers' arguments."""
    return {"on_missing_image": config.on_missing_image, "on_corrupt_image": config.on_corrupt_image}


def log_undecodable(run: Run, stage: str, catalogue: Catalogue, present: NDArray[np.bool_]) -> None:
    """Logs how many images, by ``present`` ``[N]``, are masked since they cannot be decoded."""
    corrupt = undecodable(catalogue, present)
    if corrupt:
        run.log(stage, f"{len(corrupt):,} images that cannot be decoded: of items {named(corrupt)}")


def encoder_source(run: Run, dataset: OutfitDataset) -> EncoderSource:
    """Collects the inputs of the run's item encoder, which is fitted on items of training outfits alone."""
    train_items, state_dir = dataset.outfits.of("train").items, run.cache / "encoders"
    return EncoderSource(run.config.encoder, dataset.catalogue, train_items, state_dir, image_policies(run.config.data))


def record_dataset(run: Run, dataset: OutfitDataset) -> None:
    """Records the run's data and, if embedded, exports what a stylist needs, or checks them against the record.

    Raises:
        ArtifactError: if catalogue, outfits, splits or embeddings differ from those that the run was made with.
    """
    path = run.folder / run_files.DATASET
    facts: dict[str, object] = {
        "items": len(dataset.catalogue),
        "outfits": len(dataset.outfits),
    }
    if dataset.catalogue.embeddings is not None:
        facts["embeddings"] = dataset.catalogue.embeddings.key
    facts["digest"] = _digest(dataset)
    if path.exists():
        recorded = json.loads(path.read_text())
        differing = [name for name, value in facts.items() if recorded.get(name) != value]
        if differing:
            raise ArtifactError(
                f"{path}: the data set now differs from that of the run in {', '.join(differing)}; "
                "restore it, or train a new run"
            )
    elif is_rank_zero():
        found = {"split": dict(dataset.split_facts), "counts": dict(dataset.counts)}
        write_json(path, {"name": dataset.name} | facts | found)
    if is_rank_zero() and dataset.catalogue.embeddings is not None:
        _export_for_stylist(run, dataset)


def _export_for_stylist(run: Run, dataset: OutfitDataset) -> None:
    root, cache = root_of(run.config.data), run.cache
    if is_exported(run.folder, dataset.catalogue.require_embeddings.key):
        write_manifest(run.folder, dataset, root, cache)
    else:
        export(run.folder, dataset, root, cache, encoder_source(run, dataset))


def _digest(dataset: OutfitDataset) -> str:
    catalogue, outfits = dataset.catalogue, dataset.outfits
    digest = hashlib.sha256(json.dumps([list(catalogue.item_ids), list(catalogue.category_names)]).encode())
    for array in (catalogue.categories, outfits.items, outfits.offsets, outfits.split):
        digest.update(np.ascontiguousarray(array).tobytes())
    if dataset.users is not None:
        digest.update(json.dumps(list(dataset.users.user_ids)).encode())
        for array in (dataset.users.users, dataset.users.outfits, dataset.users.split):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
