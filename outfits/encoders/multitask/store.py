"""Builds multi-task networks from pretrained or new CLIP models and loads them from files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.config.schema.multitask import SMALL, MultitaskArchitecture, MultitaskConfig
from outfits.encoders.multitask.network import MultitaskNetwork
from outfits.encoders.multitask.settings import ClipSettings, pretrained_clip, small_settings
from outfits.encoders.multitask.tokens import Tokens
from outfits.weights import load_network, save_network

WAY_OUT = "delete it and run stage multitask again"


@dataclass(frozen=True)
class Backbone:
    """A CLIP model to put adapters around; ``weights`` are its own, None where it is still to be trained."""

    settings: ClipSettings
    vocabulary: NDArray[np.int64]
    weights: torch.nn.Module | None

    @cached_property
    def tokens(self) -> Tokens:
        """Its tokenizer."""
        return Tokens(self.settings, self.vocabulary)

    def network(self, config: MultitaskArchitecture, categories: int) -> MultitaskNetwork:
        """Builds a network with these tasks around it."""
        network = MultitaskNetwork(config, self.settings.to_json(), categories, len(self.vocabulary))
        network.begin_from(torch.from_numpy(self.vocabulary), self.weights)
        return network


def open_backbone(config: MultitaskConfig, vocabulary: NDArray[np.int64]) -> Backbone:
    """The configured CLIP model; ``small`` without weights.

    Raises:
        ConfigError: if it has towers without the layers that adapters need.
        ArtifactError: if its weights cannot be loaded.
    """
    if config.model == SMALL:
        return Backbone(small_settings(config.small, len(vocabulary)), vocabulary, None)
    settings, weights = pretrained_clip(config)
    return Backbone(settings, vocabulary, weights)


def plain(config: MultitaskArchitecture) -> MultitaskArchitecture:
    """The architecture of a network without adapters, that is of a CLIP model alone."""
    return replace(config, tasks=[])


@dataclass(frozen=True)
class StoredNetwork:
    """A trained network with what is needed to use it.

    Attributes:
        network: in evaluation mode, without gradients.
        tokens: its tokenizer.
        categories: names of its categories.
        sha256: digest of its file.
    """

    network: MultitaskNetwork
    tokens: Tokens
    categories: Sequence[str]
    sha256: str


def save_multitask(network: MultitaskNetwork, categories: Sequence[str], path: Path) -> str:
    """Writes a network with the names of its categories; returns the SHA-256 of the file."""
    return save_network(network, path, categories=json.dumps(list(categories)))


def load_multitask(path: Path) -> StoredNetwork:
    """Loads a network; raises :class:`ArtifactError` as :func:`outfits.weights.load_network` does."""
    network, facts, sha256 = load_network(MultitaskNetwork, MultitaskArchitecture, path, "multi-task model", WAY_OUT)
    tokens = Tokens(network.clip_settings, network.vocabulary.numpy())
    return StoredNetwork(network, tokens, json.loads(facts["categories"]), sha256)
