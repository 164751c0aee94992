"""Embeddings on disk: shards while they are computed, one memory-mapped array afterwards."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.data.catalogue import ItemEmbeddings
from outfits.errors import ArtifactError, DataError
from outfits.storage import READING_ERRORS, read_arrays, write_arrays, write_atomically, write_text

MANIFEST = "manifest.json"


class EmbeddingStore:
    """Embeddings of one catalogue by one encoder, in ``folder/KEY``.

    Several processes may write different shards at once, and any number may call :meth:`finish`: every file is written
    beside its place and moved there, and ``manifest.json``, which says that the embeddings are complete, comes last.

    Args:
        folder: folder of all cached embeddings.
        key: content key from :func:`outfits.encoders.content.cache_key`.
        items: number of items.
        image_dim: width of the image part.
        text_dim: width of the text part.
        shard_size: items per shard; shards of another size are left alone and not used.
    """

    def __init__(self, folder: Path, key: str, items: int, image_dim: int, text_dim: int, shard_size: int) -> None:
        if items < 1 or shard_size < 1:
            raise ValueError(f"items and shard_size must be positive, not {items} and {shard_size}")
        self.folder = folder / key[:32]
        self.key = key
        self.items = items
        self.image_dim = image_dim
        self.text_dim = text_dim
        self.shard_size = shard_size

    def __len__(self) -> int:
        """Number of shards."""
        return -(-self.items // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """First catalogue position of a shard and the one after its last."""
        if not 0 <= shard < len(self):
            raise IndexError(f"shard {shard} of {len(self)}")
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.items)

    def shard_path(self, shard: int) -> Path:
        """File of a shard; its name says which items it holds, whatever the shard size."""
        start, stop = self.bounds(shard)
        return self.folder / "shards" / f"{start:09d}-{stop:09d}.npz"

    def pending(self) -> list[int]:
        """Shards still to compute; a shard that cannot be read back whole counts as not computed."""
        if self.load() is not None:
            return []
        return [shard for shard in range(len(self)) if self._read(shard) is None]

    def write(self, shard: int, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> None:
        """Stores one shard.

        Args:
            shard: its number.
            vectors: float32, shape ``[B, image_dim + text_dim]``.
            present: bool, shape ``[B, 2]``.

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
        write_arrays(self.shard_path(shard), arrays)

    def _read(self, shard: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        start, stop = self.bounds(shard)
        arrays = read_arrays(self.shard_path(shard))
        if arrays is None or not {"key", "vectors", "present"} <= arrays.keys():
            return None
        key, vectors, present = str(arrays["key"]), arrays["vectors"], arrays["present"]
        shapes = (vectors.shape, present.shape) == ((stop - start, self.image_dim + self.text_dim), (stop - start, 2))
        types = vectors.dtype == np.float32 and present.dtype == np.bool_
        return (vectors, present) if key == self.key and shapes and types else None

    def finish(self) -> ItemEmbeddings:
        """Joins the shards to one memory-mappable array and removes them.

        Returns:
            The embeddings, memory-mapped.

        Raises:
            ArtifactError: if a shard is missing or damaged.
        """
        done = self.load()
        if done is not None:
            return done
        vectors = np.empty((self.items, self.image_dim + self.text_dim), dtype=np.float32)
        present = np.empty((self.items, 2), dtype=np.bool_)
        for shard in range(len(self)):
            start, stop = self.bounds(shard)
            arrays = self._read(shard)
            if arrays is None:
                # Another process may have finished meanwhile and removed the shards.
                done = self.load()
                if done is not None:
                    return done
                raise ArtifactError(
                    f"embeddings {self.folder}: the shard of items {start} to {stop - 1} is missing or damaged. "
                    "Run the embeddings stage again: it computes only what is missing."
                )
            vectors[start:stop], present[start:stop] = arrays
        write_atomically(self.folder / "embeddings.npy", lambda file: np.save(file, vectors))
        write_atomically(self.folder / "present.npy", lambda file: np.save(file, present))
        manifest = {
            "key": self.key,
            "items": self.items,
            "image_dim": self.image_dim,
            "text_dim": self.text_dim,
            "items_with_image": int(present[:, 0].sum()),
            "items_with_text": int(present[:, 1].sum()),
        }
        text = json.dumps(manifest, indent=2) + "\n"
        write_text(self.folder / MANIFEST, text)
        done = self.load()
        if done is None:
            raise ArtifactError(f"embeddings {self.folder} cannot be read back; is the disk full?")
        for path in (self.folder / "shards").glob("*.npz"):
            path.unlink(missing_ok=True)
        return done

    def load(self) -> ItemEmbeddings | None:
        """The complete embeddings, memory-mapped read-only; None if they are not complete or do not match the key."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            vectors = np.load(self.folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
            present = np.load(self.folder / "present.npy", allow_pickle=False)
        except READING_ERRORS:
            return None
        facts = {"key": self.key, "items": self.items, "image_dim": self.image_dim, "text_dim": self.text_dim}
        if any(manifest.get(name) != value for name, value in facts.items()):
            return None
        if vectors.shape != (self.items, self.image_dim + self.text_dim) or present.shape != (self.items, 2):
            return None
        return ItemEmbeddings(vectors, present, self.image_dim, self.text_dim, self.key)
