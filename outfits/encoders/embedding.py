"""Embeds a data set in memory, and records facts about embeddings however they were made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader

from outfits.config.schema.encoder import EncoderConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.dataset import OutfitDataset
from outfits.encoders.base import EncoderSource, ItemEncoder
from outfits.encoders.build import build_item_encoder
from outfits.encoders.content import cache_key, content_hash
from outfits.encoders.images import keep_shard, undecodable


def embed(
    dataset: OutfitDataset,
    config: EncoderConfig | None = None,
    *,
    on_missing_image: str = "error",
    on_corrupt_image: str = "error",
    device: torch.device | str = "cpu",
) -> OutfitDataset:
    """Returns the data set with its catalogue's embeddings, computed in this process and in memory.

    Args:
        dataset: the data set; encoders are fitted on the items of its training outfits.
        config: encoders of images and texts; None: the defaults, which need no pretrained weights.
        on_missing_image: ``error`` or ``mask``.
        on_corrupt_image: ``error`` or ``mask``, for files that cannot be decoded.
        device: where pretrained encoders run.

    Raises:
        ArtifactError: if pretrained weights cannot be loaded.
        DataError: if an image cannot be used or an embedding is not finite.
    """
    config, catalogue = EncoderConfig() if config is None else config, dataset.catalogue
    policies = {"on_missing_image": on_missing_image, "on_corrupt_image": on_corrupt_image}
    with TemporaryDirectory() as fitted:
        train_items = dataset.outfits.of("train").items
        source = EncoderSource(config, catalogue, train_items, Path(fitted), policies)
        encoder = build_item_encoder(source).to(device)
    images, collate = encoder.images(catalogue, config.shard_size, **policies), cast(Any, keep_shard)
    shards = DataLoader(images, batch_size=None, num_workers=config.num_workers, collate_fn=collate)
    parts = [encoder.encode_shard(shard) for shard in shards]
    vectors, present = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    key = embeddings_key(encoder, catalogue, policies)
    return embedded(dataset, ItemEmbeddings(vectors, present, encoder.image_dim, encoder.text_dim, key), config)


def embeddings_key(encoder: ItemEncoder, catalogue: Catalogue, policies: Mapping[str, str]) -> str:
    """Returns the key of a catalogue's embeddings under these policies for images that cannot be used."""
    return content_hash([cache_key(encoder.key, catalogue), *policies.values()])


def embedded(dataset: OutfitDataset, embeddings: ItemEmbeddings, config: EncoderConfig) -> OutfitDataset:
    """Returns the data set with embeddings of its catalogue; counts items that lack a part."""
    masked = {
        "items without a usable image": int((~embeddings.present[:, 0]).sum()) if embeddings.image_dim else 0,
        "items without a usable text": int((~embeddings.present[:, 1]).sum()) if embeddings.text_dim else 0,
    }
    corrupt = undecodable(dataset.catalogue, embeddings.present[:, 0]) if embeddings.image_dim else []
    if corrupt:
        masked["images that cannot be decoded"] = len(corrupt)
    catalogue = dataset.catalogue.with_embeddings(replace(embeddings, shared_space=config.shared_space))
    return replace(dataset, catalogue=catalogue, counts={**dataset.counts, **masked})
