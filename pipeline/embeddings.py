"""Stage ``embeddings``: computes a frozen vector for every item of the catalogue."""

from lightning_modules.trainer import before_writing, on_rank_zero
from outfits.data.dataset import OutfitDataset
from outfits.encoders import build_item_encoder
from outfits.encoders.embedding import embedded, embeddings_key
from outfits.encoders.store import EmbeddingStore, embedding_work
from pipeline.dataset import encoder_source, image_policies, log_undecodable, record_dataset
from pipeline.run import Run
from pipeline.shards import compute_shards


def embed_dataset(run: Run, dataset: OutfitDataset) -> OutfitDataset:
    """Embeds the data set, and records it in the run's folder or compares it with the record.

    Raises:
        ArtifactError: if the data have changed.
        DataError: if an image cannot be used or an embedding is not finite.
    """
    dataset = embed_catalogue(run, dataset)
    record_dataset(run, dataset)
    return dataset


def embed_catalogue(run: Run, dataset: OutfitDataset) -> OutfitDataset:
    """Adds the catalogue's embeddings, computed on every device of the trainer or read from the cache."""
    config, catalogue = run.config.encoder, dataset.catalogue
    policies = image_policies(run.config.data)
    encoder = build_item_encoder(encoder_source(run, dataset))
    key = embeddings_key(encoder, catalogue, policies)
    store = EmbeddingStore(
        run.cache / "embeddings", key, len(catalogue), encoder.image_dim, encoder.text_dim, config.shard_size
    )
    if before_writing(lambda: store.load() is None):
        run.require("embeddings", wanted_by="the compatibility stage")
        missing = before_writing(store.pending)
        run.log("embeddings", f"{len(catalogue):,} items, {len(missing)} of {len(store)} shards → {store.folder}")
        inputs = encoder.images(catalogue, config.shard_size, **policies)
        compute_shards(run, "embeddings", store, embedding_work(encoder, store), inputs)
        on_rank_zero(store.finish)
    else:
        run.log("embeddings", f"reusing {len(catalogue):,} vectors in {store.folder}")
    embeddings = store.finish()
    result = embedded(dataset, embeddings, config)
    for what, count in result.counts.items():
        if count and what.startswith("items without a usable"):
            run.log("embeddings", f"{what}: {count:,}")
    if embeddings.image_dim:
        log_undecodable(run, "embeddings", catalogue, embeddings.present[:, 0])
    return result
