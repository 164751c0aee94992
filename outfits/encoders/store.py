"""Stores embeddings: shards while they are computed, one memory-mapped array afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.data.catalogue import ItemEmbeddings
from outfits.encoders.base import ItemEncoder
from outfits.encoders.images import ItemShard
from outfits.errors import ArtifactError, DataError
from outfits.shards import ShardStore, ShardWork
from outfits.storage import READING_ERRORS, Arrays, write_atomically, write_json

MANIFEST = "manifest.json"


class EmbeddingStore(ShardStore):
    """Embeddings of one catalogue by one encoder, in ``folder/KEY``.

    Any number of processes may call :meth:`finish`; ``manifest.json``, written last, marks embeddings as complete.

    Args:
        folder: folder of all cached embeddings.
        key: content key from :func:`outfits.encoders.content.cache_key`.
        image_dim, text_dim: widths of the two parts.
        shard_size: items per shard; shards of another size are left alone and not used.
    """

    def __init__(self, folder: Path, key: str, items: int, image_dim: int, text_dim: int, shard_size: int) -> None:
        super().__init__(folder / key[:32], items, shard_size, "embeddings")
        self.key = key
        self.image_dim = image_dim
        self.text_dim = text_dim

    def path(self, shard: int) -> Path:
        """File of a shard; its name gives the items it holds, whatever the shard size."""
        start, stop = self.bounds(shard)
        return self.folder / "shards" / f"{start:09d}-{stop:09d}.npz"

    def pending(self) -> list[int]:
        """Lists shards still to compute, none once the embeddings are complete."""
        return [] if self.load() is not None else super().pending()

    def fits(self, shard: int, arrays: Arrays) -> bool:
        """Tells whether a file holds vectors of this encoder for the shard's items."""
        if not {"key", "vectors", "present"} <= arrays.keys() or str(arrays["key"]) != self.key:
            return False
        vectors, present, items = arrays["vectors"], arrays["present"], len(self.rows_of(shard))
        shapes = (vectors.shape, present.shape) == ((items, self.image_dim + self.text_dim), (items, 2))
        return shapes and vectors.dtype == np.float32 and present.dtype == np.bool_

    def write_vectors(self, shard: int, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> None:
        """Stores one shard: vectors ``[B, image_dim + text_dim]``, present ``[B, 2]``.

        Raises:
            ValueError: if the shapes are not those of this shard.
            DataError: if a vector is not finite.
        """
        start, stop = self.bounds(shard)
        if vectors.shape != (stop - start, self.image_dim + self.text_dim) or present.shape != (stop - start, 2):
            raise ValueError(f"shard {shard} cannot hold arrays of shapes {vectors.shape} and {present.shape}")
        if not np.isfinite(vectors).all():
            bad = start + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise DataError(
                f"the embedding of the item at catalogue position {bad} is not finite. Set encoder.precision=fp32."
            )
        arrays = {"key": np.array(self.key), "vectors": vectors.astype(np.float32), "present": present.astype(np.bool_)}
        self.write(shard, arrays)

    def finish(self) -> ItemEmbeddings:
        """Joins the shards to one memory-mapped array and removes them; ArtifactError if one is missing or damaged."""
        done = self.load()
        if done is not None:
            return done
        vectors = np.empty((self.rows, self.image_dim + self.text_dim), dtype=np.float32)
        present = np.empty((self.rows, 2), dtype=np.bool_)
        for shard in range(len(self)):
            start, stop = self.bounds(shard)
            arrays = self.read(shard)
            if arrays is None:
                # Another process may have finished meanwhile and removed the shards.
                done = self.load()
                if done is not None:
                    return done
                raise ArtifactError(
                    f"embeddings {self.folder}: the shard of items {start} to {stop - 1} is missing or damaged. "
                    "Run the embeddings stage again: it computes only what is missing."
                )
            vectors[start:stop], present[start:stop] = arrays["vectors"], arrays["present"]
        write_atomically(self.folder / "embeddings.npy", lambda file: np.save(file, vectors))
        write_atomically(self.folder / "present.npy", lambda file: np.save(file, present))
        manifest = {
            "key": self.key,
            "items": self.rows,
            "image_dim": self.image_dim,
            "text_dim": self.text_dim,
            "items_with_image": int(present[:, 0].sum()),
            "items_with_text": int(present[:, 1].sum()),
        }
        write_json(self.folder / MANIFEST, manifest)
        done = self.load()
        if done is None:
            raise ArtifactError(f"embeddings {self.folder} cannot be read back; is the disk full?")
        for path in (self.folder / "shards").glob("*.npz"):
            path.unlink(missing_ok=True)
        return done

    def load(self) -> ItemEmbeddings | None:
        """Maps the complete embeddings read-only; None if they are incomplete or do not match the key."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            vectors = np.load(self.folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
            present = np.load(self.folder / "present.npy", allow_pickle=False)
        except READING_ERRORS:
            return None
        facts = {"key": self.key, "items": self.rows, "image_dim": self.image_dim, "text_dim": self.text_dim}
        if any(manifest.get(name) != value for name, value in facts.items()):
            return None
        if vectors.shape != (self.rows, self.image_dim + self.text_dim) or present.shape != (self.rows, 2):
            return None
        return ItemEmbeddings(vectors, present, self.image_dim, self.text_dim, self.key)


def embedding_work(encoder: ItemEncoder, store: EmbeddingStore) -> ShardWork:
    """Work of embedding every item of a catalogue; its inputs are ``encoder.images``, decoded in loader workers.

    Raises :class:`outfits.errors.DataError` if an image cannot be used or an embedding is not finite.
    """

    def start(device: torch.device) -> Callable[[ItemShard], None]:
        encoder.to(device)
        return lambda shard: store.write_vectors(shard.shard, *encoder.encode_shard(shard))

    return start
