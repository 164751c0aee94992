"""Frozen models in files: S, the generator and the student, each with the settings it is built from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from outfits.errors import ArtifactError
from outfits.models.compatibility import OutfitTransformer, ScorerSettings
from outfits.models.generator import Generator
from outfits.models.student import TwoTower
from outfits.weights import load_weights, save_weights, weights_digest

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class FrozenScorer:
    """A compatibility model whose weights never change.

    Attributes:
        module: the network, in evaluation mode, without gradients on its parameters.
        settings: what it was built from.
        sha256: digest of the file that it came from.
        loaded_digest: digest of the weights as they were loaded.
    """

    module: OutfitTransformer
    settings: ScorerSettings
    sha256: str
    loaded_digest: str

    def unchanged(self) -> bool:
        """Whether the weights in memory are still those of the file."""
        return weights_digest(self.module) == self.loaded_digest


def save_scorer(module: OutfitTransformer, path: Path) -> str:
    """Writes weights and settings of a compatibility model, atomically.

    Returns:
        The SHA-256 of the file.
    """
    return save_weights(module, {"settings": module.settings}, path)


def load_scorer(path: Path, expected_sha256: str | None = None) -> FrozenScorer:
    """Loads a frozen scorer.

    Args:
        path: file written by :func:`save_scorer`.
        expected_sha256: digest that the file must have.

    Raises:
        ArtifactError: if the file is missing, is not a scorer, or has another digest.
    """
    described, weights, sha256 = load_weights(path, "scorer")
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise ArtifactError(
            f"scorer {path} has SHA-256 {sha256[:12]}…, expected {expected_sha256[:12]}…: its weights are not those "
            "that the targets and results were made with"
        )
    module = OutfitTransformer(**described["settings"])
    module.load_state_dict(weights)
    module.eval().requires_grad_(False)
    return FrozenScorer(module, described["settings"], sha256, weights_digest(module))


def save_generator(module: Generator, path: Path, scorer_sha256: str) -> str:
    """Writes weights and settings of a generator, and the SHA-256 of the scorer that taught it, atomically.

    Returns:
        The SHA-256 of the file.
    """
    return save_weights(module, {"settings": module.settings, "scorer_sha256": scorer_sha256}, path)


def load_generator(path: Path, scorer_sha256: str) -> Generator:
    """Loads a generator in evaluation mode.

    Args:
        path: file written by :func:`save_generator`.
        scorer_sha256: digest of the scorer that must have taught it.

    Raises:
        ArtifactError: if the file is missing, is not a generator of this version, or was taught by another scorer.
    """
    return _load_taught(Generator, path, scorer_sha256, "generator", "train it again")


def save_student(module: TwoTower, path: Path, scorer_sha256: str) -> str:
    """Writes weights and settings of a student, and the SHA-256 of the scorer that taught it, atomically.

    Returns:
        The SHA-256 of the file.
    """
    return save_weights(module, {"settings": module.settings, "scorer_sha256": scorer_sha256}, path)


def load_student(path: Path, scorer_sha256: str) -> TwoTower:
    """Loads a student in evaluation mode, without gradients on its parameters.

    Args:
        path: file written by :func:`save_student`.
        scorer_sha256: digest of the scorer that must have taught it.

    Raises:
        ArtifactError: if the file is missing, is not a student of this version, or was taught by another scorer.
    """
    return _load_taught(TwoTower, path, scorer_sha256, "student", "delete it").requires_grad_(False)


def _load_taught(kind: type[M], path: Path, scorer_sha256: str, what: str, way_out: str) -> M:
    """A model that this scorer taught, in evaluation mode."""
    described, weights, _ = load_weights(path, what)
    if described.get("scorer_sha256") != scorer_sha256:
        raise ArtifactError(f"{what} {path} was taught by another scorer than {scorer_sha256[:12]}…; {way_out}")
    try:
        module = kind(**described["settings"])
        module.load_state_dict(weights)
    except (TypeError, RuntimeError) as error:
        raise ArtifactError(f"{what} {path} was made by another version of the network; {way_out}") from error
    return module.eval()
