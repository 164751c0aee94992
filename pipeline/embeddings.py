"""Stage ``embeddings``: a frozen vector for every item of the catalogue."""

from dataclasses import replace

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits.data.dataset import OutfitDataset
from outfits.encoders import build_item_encoder
from outfits.encoders.content import cache_key, content_hash
from outfits.encoders.store import EmbeddingStore, embedding_work
from pipeline.dataset import count_undecodable, encoder_source, image_policies, record_dataset
from pipeline.run import Run


def embed_dataset(run: Run, dataset: OutfitDataset) -> OutfitDataset:
    """The data set with embeddings, recorded in the run's folder or compared with what is recorded there.

    Raises:
        ArtifactError: if embeddings are missing and the stage was not asked for, or the data have changed.
        DataError: if an image cannot be used or an embedding is not finite.
    """
    embedded = embed_catalogue(run, dataset)
    record_dataset(run, embedded)
    return embedded


def embed_catalogue(run: Run, dataset: OutfitDataset) -> OutfitDataset:
    """The data set with its catalogue's embeddings, computed on every device of the trainer or read from the cache."""
    config, catalogue = run.config.encoder, dataset.catalogue
    policies = image_policies(run.config.data)
    encoder = build_item_encoder(encoder_source(run, dataset))
    key = content_hash([cache_key(encoder.key, catalogue), *policies.values()])
    store = EmbeddingStore(
        run.cache / "embeddings", key, len(catalogue), encoder.image_dim, encoder.text_dim, config.shard_size
    )
    embeddings = before_writing(store.load)
    if embeddings is None:
        run.require("embeddings", wanted_by="the compatibility stage")
        missing = before_writing(store.pending)
        run.log("embeddings", f"{len(catalogue):,} items, {len(missing)} of {len(store)} shards → {store.folder}")
        inputs = encoder.images(catalogue, config.shard_size, **policies)
        run_shards(missing, embedding_work(encoder, store), run.config.trainer, inputs, config.num_workers)
        on_rank_zero(store.finish)
        embeddings = store.finish()
    else:
        run.log("embeddings", f"reusing {len(catalogue):,} vectors in {store.folder}")
    embeddings = replace(embeddings, shared_space=config.shared_space)
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
