"""Frozen item encoders: pictures and texts to embeddings, and the embeddings' place on disk."""

from outfits.encoders.base import ImageEncoder, ItemEncoder, TextEncoder
from outfits.encoders.build import build_item_encoder
from outfits.encoders.content import cache_key
from outfits.encoders.images import ItemPictures, ItemShard, keep_shard
from outfits.encoders.store import EmbeddingStore

__all__ = [
    "EmbeddingStore",
    "ImageEncoder",
    "ItemEncoder",
    "ItemPictures",
    "ItemShard",
    "TextEncoder",
    "build_item_encoder",
    "cache_key",
    "keep_shard",
]
