"""Weights in files: safetensors with the settings that a network is built from, known by their SHA-256."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from outfits.errors import ArtifactError
from outfits.storage import write_atomically

# What reading a file of weights raises that is missing, cut short, or no such file.
READING_WEIGHTS = (OSError, SafetensorError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names and values of all parameters and buffers, as hex; the device does not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_weights(module: nn.Module, described: dict[str, Any], path: Path) -> str:
    """Writes a network's parameters and buffers with a JSON-serialisable description, atomically.

    Returns:
        The SHA-256 of the file.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    # one metadata entry: safetensors writes several in no fixed order, and the digest would change
    data = serialise(tensors, metadata={"described": json.dumps(described, sort_keys=True)})
    write_atomically(path, lambda file: file.write(data))
    return file_sha256(path)


def load_weights(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Description, tensors and SHA-256 of a file of :func:`save_weights`.

    Args:
        path: the file.
        what: how messages call it.

    Raises:
        ArtifactError: if the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ArtifactError(f"{what} {path} does not exist; run train.py to make it")
    try:
        with safe_open(path, framework="pt") as file:
            described: dict[str, Any] = json.loads(file.metadata()["described"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{what} {path} cannot be read ({error}); delete it and run train.py again") from error
    return described, weights, file_sha256(path)
