"""Loads frozen models from files: S, the generator, the student of S, the retriever and HFGN."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from outfits.config.schema.model import GeneratorArchitecture
from outfits.config.schema.parts import GrnetArchitecture
from outfits.config.schema.personal import HfgnArchitecture
from outfits.config.schema.retrieval import RetrieverArchitecture
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.targets import StudentArchitecture
from outfits.errors import ArtifactError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.models.grnet import Grnet
from outfits.models.hfgn import Hfgn
from outfits.models.retrieval import RetrievalTransformer
from outfits.models.student import TwoTower
from outfits.weights import Network, load_network, weights_digest

N = TypeVar("N", bound=Network[Any])


@dataclass(frozen=True)
class FrozenScorer:
    """A compatibility model whose weights never change.

    Attributes:
        module: the network, in evaluation mode, without gradients on its parameters.
        sha256: digest of its file.
        loaded_digest: digest of the weights when they were loaded.
    """

    module: OutfitTransformer
    sha256: str
    loaded_digest: str

    def unchanged(self) -> bool:
        """Tells whether the weights in memory are still those of the file."""
        return weights_digest(self.module) == self.loaded_digest


def load_scorer(path: Path, expected_sha256: str | None = None) -> FrozenScorer:
    """Loads a frozen scorer from a file of :func:`outfits.weights.save_network`.

    Raises:
        ArtifactError: if the file is missing, is no scorer of this version, or has another digest than expected.
    """
    module, _, sha256 = load_network(OutfitTransformer, ScorerArchitecture, path, "scorer", "train it again")
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise ArtifactError(
            f"scorer {path} has SHA-256 {sha256[:12]}…, expected {expected_sha256[:12]}…: its weights are not those "
            "that the targets and results were made with"
        )
    return FrozenScorer(module, sha256, weights_digest(module))


def load_generator(path: Path, scorer_sha256: str) -> Generator:
    """Loads a generator, in evaluation mode and frozen, from a file of :func:`outfits.weights.save_network`.

    Raises:
        ArtifactError: if the file is missing, is no generator of this version, or was trained with another scorer than
            that of digest ``scorer_sha256``.
    """
    return _load_taught(Generator, GeneratorArchitecture, path, scorer_sha256, "generator")


def load_recommender(path: Path) -> Hfgn:
    """Loads HFGN, in evaluation mode and frozen; raises :class:`ArtifactError` as :func:`load_network` does."""
    return load_network(Hfgn, HfgnArchitecture, path, "recommender", "delete it and run stage personal again")[0]


def load_grnet(path: Path) -> Grnet:
    """Loads GRNet, in evaluation mode and frozen; raises :class:`ArtifactError` as :func:`load_network` does."""
    return load_network(Grnet, GrnetArchitecture, path, "GRNet", "delete it and run stage parts again")[0]


def load_student(path: Path, scorer_sha256: str) -> TwoTower:
    """Loads a student; arguments and errors as of :func:`load_generator`."""
    return _load_taught(TwoTower, StudentArchitecture, path, scorer_sha256, "student")


def load_retriever(path: Path, scorer_sha256: str) -> RetrievalTransformer:
    """Loads a retriever; arguments and errors as of :func:`load_generator`."""
    return _load_taught(RetrievalTransformer, RetrieverArchitecture, path, scorer_sha256, "retriever")


def _load_taught(build: Callable[..., N], architecture: type, path: Path, scorer_sha256: str, what: str) -> N:
    way_out = "delete it and train it again"
    module, facts, _ = load_network(build, architecture, path, what, way_out)
    if facts.get("scorer_sha256") != scorer_sha256:
        raise ArtifactError(f"{what} {path} was taught by another scorer than {scorer_sha256[:12]}…; {way_out}")
    return module
