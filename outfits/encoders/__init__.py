"""Embeds images and texts of items with frozen encoders and stores the embeddings."""

from outfits.encoders.base import EncoderSource, ImageEncoder, ItemEncoder, TextEncoder
from outfits.encoders.build import build_item_encoder
from outfits.encoders.content import cache_key
from outfits.encoders.embedding import embed
from outfits.encoders.images import ItemImages, ItemShard, keep_shard
from outfits.encoders.store import EmbeddingStore

__all__ = [
    "EmbeddingStore",
    "EncoderSource",
    "ImageEncoder",
    "ItemEncoder",
    "ItemImages",
    "ItemShard",
    "TextEncoder",
    "build_item_encoder",
    "cache_key",
    "embed",
    "keep_shard",
]
