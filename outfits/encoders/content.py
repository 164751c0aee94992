"""Hashes the content that a cached product was computed from, independent of folder names."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from outfits.data.catalogue import Catalogue
from outfits.data.image_files import image_content, image_exists, is_inside

# Raise this when the meaning of stored embeddings changes: order of parts, normalisation.
FORMAT = 1
# Change this when an image file would be decoded to other pixels.
DECODING = b"2"


def content_hash(parts: Iterable[str | bytes]) -> str:
    """Hashes strings with SHA-256, hexadecimal; each with its length, so ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _file_digest(path: Path | None) -> bytes:
    if path is None or not image_exists(path):
        return b""
    if is_inside(path):
        return hashlib.sha256(DECODING + image_content(path)).digest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha256(DECODING)).digest()


def image_digests(paths: Sequence[Path | None]) -> list[bytes]:
    """Hashes every image file with SHA-256, after :data:`DECODING`; empty for a missing file or an item without one.

    Reads every byte: by its date a copied file would seem changed, by its size an edited one might seem unchanged.
    Threads hide the file system's latency; a warm disk gives some 10,000 small images a second.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_file_digest, paths, chunksize=64))


def cache_key(encoder_key: str, catalogue: Catalogue) -> str:
    """Hashes a catalogue's embeddings: :attr:`ItemEncoder.key`, texts and the bytes of the images, item by item.

    The key does not depend on ``data.root``, file names or item ids. Reads every image file once, see
    :func:`image_digests`.
    """
    digests = image_digests(catalogue.image_paths)
    items = (part for text, digest in zip(catalogue.texts, digests, strict=True) for part in (text, digest))
    return content_hash([f"embeddings {FORMAT}", encoder_key, str(len(catalogue)), *items])


def weights_sha256(module: torch.nn.Module) -> str:
    """Hashes a module's parameters and buffers with SHA-256, hexadecimal: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
