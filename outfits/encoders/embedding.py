"""Embedding of a catalogue, shard by shard."""

import torch

from outfits.data.catalogue import Catalogue
from outfits.encoders.base import ItemEncoder
from outfits.encoders.images import ItemShard
from outfits.encoders.store import EmbeddingStore


class CatalogueEmbedding:
    """An encoder applied to every item of a catalogue, as work in shards; images are decoded in loader workers.

    Args:
        encoder: what embeds items.
        catalogue: the items.
        store: where shards go.
        on_missing_image: policy for image files that are missing, ``error`` or ``mask``.
        on_corrupt_image: policy for image files that cannot be decoded, ``error`` or ``mask``.
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        catalogue: Catalogue,
        store: EmbeddingStore,
        on_missing_image: str = "error",
        on_corrupt_image: str = "error",
    ) -> None:
        self.encoder = encoder
        self.store = store
        self.shards = len(store)
        self.inputs = encoder.images(
            catalogue, store.shard_size, on_missing_image=on_missing_image, on_corrupt_image=on_corrupt_image
        )

    def pending(self) -> list[int]:
        """Shards still to compute."""
        return self.store.pending()

    def to(self, device: torch.device) -> None:
        """Moves the encoder's weights."""
        self.encoder.to(device)

    def run(self, batch: ItemShard) -> None:
        """Embeds one shard and writes it.

        Raises:
            DataError: if an image could not be used, or an embedding is not finite.
        """
        vectors, present = self.encoder.encode_shard(batch)
        self.store.write(batch.shard, vectors, present)
