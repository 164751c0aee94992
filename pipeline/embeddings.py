"""Stage ``embeddings``: a frozen vector for every item of the catalogue."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits.config.schema.data import DataConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.naming import named
from outfits.encoders import build_item_encoder
from outfits.encoders.content import cache_key, content_hash
from outfits.encoders.embedding import CatalogueEmbedding
from outfits.encoders.store import EmbeddingStore
from pipeline.run import Run


def image_policies(config: DataConfig) -> dict[str, str]:
    """What is done with images that are missing or cannot be decoded, by the names of the readers' arguments."""
    return {"on_missing_image": config.on_missing_image, "on_corrupt_image": config.on_corrupt_image}


def count_undecodable(run: Run, stage: str, catalogue: Catalogue, present: NDArray[np.bool_]) -> dict[str, int]:
    """Logs and returns how many image files, by ``present`` ``[N]``, are masked as undecodable; nothing for none."""
    items = zip(catalogue.item_ids, catalogue.image_paths, present, strict=True)
    corrupt = [item_id for item_id, path, usable in items if path is not None and not usable]
    if corrupt:
        run.log(stage, f"{len(corrupt):,} images that cannot be decoded: of items {named(corrupt)}")
    return {"images that cannot be decoded": len(corrupt)} if corrupt else {}


def embed_catalogue(run: Run, dataset: OutfitDataset) -> OutfitDataset:
    """The data set with its catalogue's embeddings, computed on every device of the trainer or read from the cache.

    Raises:
        ArtifactError: if embeddings are missing and the stage was not asked for.
        DataError: if an image cannot be used or an embedding is not finite.
    """
    config, catalogue = run.config.encoder, dataset.catalogue
    policies = image_policies(run.config.data)
    train_items = np.unique(dataset.outfits.of("train").items)
    encoder = build_item_encoder(
        config, catalogue, train_items, run.cache / "encoders", **policies, background=config.background
    )
    key = content_hash([cache_key(encoder.key, catalogue), *policies.values()])
    store = EmbeddingStore(
        run.cache / "embeddings", key, len(catalogue), encoder.image_dim, encoder.text_dim, config.shard_size
    )
    embeddings = store.load()
    wait_for_all_ranks()  # nobody writes before everybody has looked
    if embeddings is None:
        run.require("embeddings", wanted_by="the compatibility stage")
        run.log(
            "embeddings", f"{len(catalogue):,} items, {len(store.pending())} of {len(store)} shards → {store.folder}"
        )
        work = CatalogueEmbedding(encoder, catalogue, store, **policies)
        run_shards(work, run.config.trainer, config.num_workers)
        if is_rank_zero():
            store.finish()
        wait_for_all_ranks()
        embeddings = store.finish()
    else:
        run.log("embeddings", f"reusing {len(catalogue):,} vectors in {store.folder}")
    embeddings = replace(embeddings, shared_space=config.image == config.text == "open_clip")
    masked = {
        "items without a usable image": int((~embeddings.present[:, 0]).sum()) if embeddings.image_dim else 0,
        "items without a usable text": int((~embeddings.present[:, 1]).sum()) if embeddings.text_dim else 0,
    }
    for what, count in masked.items():
        if count:
            run.log("embeddings", f"{what}: {count:,}")
    if embeddings.image_dim:
        masked |= count_undecodable(run, "embeddings", catalogue, embeddings.present[:, 0])
    return replace(dataset, catalogue=catalogue.with_embeddings(embeddings), counts={**dataset.counts, **masked})
