"""Saves networks as safetensors with their architecture, identified by their SHA-256."""

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import nn

from outfits.errors import ArtifactError, one_line
from outfits.storage import write_atomically

# Raised when a file of weights is missing, truncated, or of another format.
READING_WEIGHTS = (OSError, SafetensorError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError)

COUNTERS = "num_batches_tracked"  # of batch normalisation, which some files leave out

A = TypeVar("A")
N = TypeVar("N", bound="Network[Any]")


class Network(nn.Module, Generic[A]):
    """A network that knows its architecture, so that its file can state it.

    Args:
        architecture: dataclass of the configuration keys that it is built from.
        config: a section that has these keys, perhaps among others; the attribute keeps the keys of ``architecture``.
        sizes: what the data decide, JSON values by the names of the constructor's arguments.
    """

    def __init__(self, architecture: type[A], config: A, **sizes: Any) -> None:
        super().__init__()
        self.config: A = architecture(**{field.name: getattr(config, field.name) for field in fields(architecture)})  # type: ignore[arg-type]
        self.sizes = sizes

    @property
    def settings(self) -> dict[str, Any]:
        """Architecture and sizes as JSON values by name, without unwritten keys at their defaults."""
        values = asdict(self.config)  # type: ignore[call-overload]
        kept = {name: value for name, value in values.items() if (name, value) not in _unwritten(type(self.config))}
        return {**kept, **self.sizes}


def file_sha256(path: Path) -> str:
    """Computes the SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(module: nn.Module) -> str:
    """Computes the SHA-256 over names and values of all parameters and buffers, as hex; the device does not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_network(network: Network[Any], path: Path, **facts: str) -> str:
    """Writes a network's weights, settings and further ``facts`` atomically; returns the SHA-256 of the file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # one metadata entry, since safetensors writes several in no fixed order, which changes the digest
    described = json.dumps({"settings": network.settings, **facts}, sort_keys=True)
    data = serialise(tensors, metadata={"described": described})
    write_atomically(path, lambda file: file.write(data))
    return file_sha256(path)


def load_network(
    build: Callable[..., N], architecture: type, path: Path, what: str, way_out: str
) -> tuple[N, dict[str, str], str]:
    """Loads a network in evaluation mode, without gradients on its parameters.

    Args:
        build: makes it from its architecture and, by name, its sizes.
        architecture: dataclass of the keys that it is built from.
        path: file written by :func:`save_network`.
        what: name of the network in messages.
        way_out: what to do about a file of another version, for messages.

    Returns:
        The network, the further facts in the file, and the SHA-256 of the file.

    Raises:
        ArtifactError: if the file is missing, cannot be read, or was written by another version of the network.
    """
    if not path.is_file():
        raise ArtifactError(f"{what} {path} does not exist; run train.py to make it")
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["described"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{what} {path} cannot be read ({error}); delete it and run train.py again") from error
    try:
        settings = facts.pop("settings")
        names = {field.name for field in fields(architecture)}
        network = build(_rebuilt(architecture, settings), **{n: v for n, v in settings.items() if n not in names})
        if network.settings != settings:
            raise ValueError("its settings are not those of this version")
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{what} {path} was made by another version of the network; {way_out}") from error
    return network.eval().requires_grad_(False), facts, file_sha256(path)


def load_foreign(network: nn.Module, path: Path, what: str) -> None:
    """Loads a state dict of another library into a network.

    Its tensors have the network's names, or, in a ``torch.save`` file, all its shapes in the same order under others.

    Args:
        network: the network, with every layer that the file has.
        path: ``.safetensors``, or a ``torch.save`` file of tensors alone.
        what: name of the network in messages.

    Raises:
        ArtifactError: if the file is missing, cannot be read, or belongs to another architecture.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        own = network.state_dict()
        if own.keys() != state.keys():
            names, given = ([name for name in part if not name.endswith(COUNTERS)] for part in (own, state))
            if set(names) == set(given):
                given = names
            elif safe or set(names) & set(given):  # safetensors sorts names, so their order means nothing
                raise ValueError(f"it lacks {(sorted(set(names) - set(given)) or names)[0]}")
            if [own[name].shape for name in names] != [state[name].shape for name in given]:
                missing = sorted(own.keys() - state.keys()) or sorted(state.keys() - own.keys())
                raise ValueError(f"{len(given)} tensors for {len(names)}, {missing[0]} is on one side alone")
            state = {**own, **{name: state[theirs] for name, theirs in zip(names, given, strict=True)}}
        network.load_state_dict(state)
    except (*READING_WEIGHTS, RuntimeError, AttributeError, IndexError) as error:
        raise ArtifactError(f"{path} holds no weights of {what} ({one_line(error, 200)})") from error


def _unwritten(kind: type) -> list[tuple[str, Any]]:
    """Keys of an architecture that files leave out at their defaults, and these."""
    return [(field.name, field.default) for field in fields(kind) if field.metadata.get("unwritten")]


def _rebuilt(kind: type, values: dict[str, Any]) -> Any:
    """Builds a dataclass, and those in its fields, from JSON values."""
    hints = get_type_hints(kind)
    values = {**dict(_unwritten(kind)), **values}
    parts = {field.name: values[field.name] for field in fields(kind)}
    return kind(**{n: _rebuilt(hints[n], value) if is_dataclass(hints[n]) else value for n, value in parts.items()})
