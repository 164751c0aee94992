"""Exports a run for its stylist to ``RUN_DIR/stylist``, so that it loads without parsing the data set again.

``catalogue.parquet`` has the items, ``outfits.parquet`` the outfits, ``users.parquet`` what users like; beside them are
the encoders that were made from data. ``manifest.json``, written last, has absolute paths of embeddings and images, so
that neither the working folder nor the location of the run's folder matters.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from outfits import run_files
from outfits.config.schema.encoder import EncoderConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.users import UserOutfits
from outfits.encoders.base import EncoderSource, ItemEncoder
from outfits.encoders.build import build_item_encoder, keep_fitted
from outfits.encoders.store import EmbeddingStore
from outfits.errors import ArtifactError
from outfits.storage import write_atomically, write_text


@dataclass(frozen=True)
class StylistManifest:
    """Paths to what a run shares with others, with the key, dimensions and categories of its catalogue.

    Attributes:
        embeddings_dir: folder of all cached embeddings, of an exported run relative to its folder.
        data_root: folder of the data set; images lie in it. None: there are no images.
        key: content key of the catalogue's embeddings.
    """

    embeddings_dir: str
    data_root: str | None
    key: str
    image_dim: int
    text_dim: int
    categories: list[str]


def is_exported(run_dir: Path, key: str) -> bool:
    """Whether the run has a complete export of a catalogue with embeddings of this key."""
    path = run_dir / run_files.STYLIST / run_files.STYLIST_MANIFEST
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("key") == key


def export(run_dir: Path, dataset: OutfitDataset, data_root: Path, cache_dir: Path, encoders: EncoderSource) -> None:
    """Writes everything that a stylist needs beside the models; ``encoders`` is what the item encoder is built from."""
    folder, catalogue, outfits = run_dir / run_files.STYLIST, dataset.catalogue, dataset.outfits
    images = [None if path is None else _relative(path, data_root) for path in catalogue.image_paths]
    items = pd.DataFrame(
        {
            "item_id": pd.Series(list(catalogue.item_ids), dtype=str),
            "category": catalogue.categories,
            "text": pd.Series(list(catalogue.texts), dtype=str),
            "image": pd.Series(images, dtype=object),
        }
    )
    sets = pd.DataFrame(
        {
            "outfit_id": pd.Series(list(outfits.outfit_ids), dtype=str),
            "split": outfits.split,
            "items": [items.tolist() for items in outfits],
        }
    )
    write_atomically(folder / run_files.STYLIST_CATALOGUE, lambda file: items.to_parquet(file, index=False))
    write_atomically(folder / run_files.STYLIST_OUTFITS, lambda file: sets.to_parquet(file, index=False))
    if dataset.users is not None:
        users = dataset.users
        pairs = pd.DataFrame(
            {
                "user_id": pd.Series([users.user_ids[user] for user in users.users.tolist()], dtype=str),
                "outfit": users.outfits,
                "split": users.split,
            }
        )
        write_atomically(folder / run_files.STYLIST_USERS, lambda file: pairs.to_parquet(file, index=False))
    keep_fitted(encoders, folder)
    write_manifest(run_dir, dataset, data_root, cache_dir)


def write_manifest(run_dir: Path, dataset: OutfitDataset, data_root: Path, cache_dir: Path) -> None:
    """Writes the paths of embeddings and images; arguments as in :func:`export`."""
    features = dataset.catalogue.require_embeddings
    manifest = StylistManifest(
        os.path.abspath(cache_dir / run_files.EMBEDDINGS),
        os.path.abspath(data_root),
        features.key,
        features.image_dim,
        features.text_dim,
        list(dataset.catalogue.category_names),
    )
    save_manifest(run_dir, manifest)


def save_manifest(run_dir: Path, manifest: StylistManifest) -> None:
    """Writes a manifest into a run's folder, unless it is there already."""
    path, text = run_dir / run_files.STYLIST / run_files.STYLIST_MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_manifest(run_dir: Path) -> StylistManifest:
    """Reads the paths of a run; raises :class:`ArtifactError` if it exported none."""
    path = run_dir / run_files.STYLIST / run_files.STYLIST_MANIFEST
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; `python evaluate.py run={run_dir}` writes it")
    manifest = StylistManifest(**json.loads(path.read_text(encoding="utf-8")))
    return replace(manifest, embeddings_dir=str(run_dir / manifest.embeddings_dir))


def read_catalogue(run_dir: Path, manifest: StylistManifest, encoder: EncoderConfig) -> Catalogue:
    """Reads the catalogue with its embeddings memory-mapped; raises :class:`ArtifactError` if these were moved."""
    items = pd.read_parquet(run_dir / run_files.STYLIST / run_files.STYLIST_CATALOGUE)
    store = EmbeddingStore(
        Path(manifest.embeddings_dir),
        manifest.key,
        len(items),
        manifest.image_dim,
        manifest.text_dim,
        encoder.shard_size,
    )
    found = store.load()
    if found is None:
        raise ArtifactError(
            f"the run's embeddings are not in {store.folder}; say where its cache lies now with cache_dir, or run "
            f"`python evaluate.py run={run_dir} cache_dir=DIR`, which embeds what is missing"
        )
    root = None if manifest.data_root is None else Path(manifest.data_root)
    return Catalogue(
        items["item_id"].tolist(),
        items["category"].to_numpy(dtype=np.int32),
        manifest.categories,
        items["text"].tolist(),
        [root / path if root is not None and isinstance(path, str) else None for path in items["image"].tolist()],
        ItemEmbeddings(found.vectors, found.present, found.image_dim, found.text_dim, found.key, encoder.shared_space),
    )


def read_outfits(run_dir: Path) -> Outfits:
    """Reads the outfits of all splits."""
    sets = pd.read_parquet(run_dir / run_files.STYLIST / run_files.STYLIST_OUTFITS)
    return Outfits.from_lists(sets["outfit_id"].tolist(), sets["items"].tolist(), sets["split"].to_numpy(dtype=np.int8))


def read_users(run_dir: Path, outfits: Outfits) -> UserOutfits:
    """Reads what users like; raises :class:`ArtifactError` if the run exported none."""
    path = run_dir / run_files.STYLIST / run_files.STYLIST_USERS
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: the data of this run have no users; train a run on data that have")
    pairs = pd.read_parquet(path)
    numbers, user_ids = pd.factorize(pairs["user_id"])
    split = pairs["split"].to_numpy(dtype=np.int8)
    return UserOutfits(user_ids.tolist(), numbers.astype(np.int64), pairs["outfit"].to_numpy(), split, len(outfits))


def read_encoder(run_dir: Path, config: EncoderConfig, catalogue: Catalogue) -> ItemEncoder:
    """Reads the run's item encoder; loads pretrained weights from where they were loaded before.

    Raises:
        ArtifactError: if what was made from data is missing, or pretrained weights cannot be loaded.
        ConfigError: if a package is not installed.
    """
    folder = run_dir / run_files.STYLIST
    return build_item_encoder(EncoderSource(config, catalogue, np.zeros(0, dtype=np.int64), folder, kept=folder))


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(os.path.abspath(path), os.path.abspath(root))).as_posix()
