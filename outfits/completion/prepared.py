"""Models, index and catalogue of a run, ready on a device for methods to use."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.context import Resources
from outfits.completion.search.two_stage import Shortlists
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.graphs.completion_graph import completion_graph
from outfits.index.catalogue_index import index_catalogue
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator, latents_of
from outfits.models.similarity import TextSimilarity
from outfits.models.student import TwoTower
from outfits.scoring.candidates import CandidateScorer

COMPILE_FROM = 5_000_000
"""Calls of S from which on compiling it saves more time than it takes."""


def candidate_scorer(
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    search: TargetsConfig,
    device: torch.device | str,
    planned_calls: int = 0,
) -> CandidateScorer:
    """S over a catalogue, with the configured arithmetic and block size, compiled if so many calls are worth it."""
    compile = search.compile == "always" or (search.compile == "auto" and planned_calls >= COMPILE_FROM)
    features = catalogue.require_embeddings
    return CandidateScorer(
        scorer,
        features.vectors,
        features.present,
        catalogue.categories,
        device,
        search.precision,
        search.candidate_block,
        len(catalogue.category_names),
        compile,
    )


class PreparedRun:
    """What methods need, built on a device when :meth:`to` is called.

    Args:
        catalogue: items with embeddings.
        scorer: frozen S.
        judge: the second scorer that no method sees, or None.
        generator: trained generator in evaluation mode, or None.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``, or None.
        search: arithmetic and block size of S.
        seed: seed of the experiment.
        occurrences: how often each item stands in a training outfit, shape ``[N]``, or None.
        alternatives: how many answers methods keep per outfit.
        planned_calls: about how many calls of S there will be, which decides whether it is compiled.
        index: how the items nearest to latents are found; None: exactly.
        student: what ranks the catalogue for two-stage search, or None.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        scorer: OutfitTransformer,
        judge: OutfitTransformer | None,
        generator: Generator | None,
        selected: NDArray[np.integer] | None,
        search: TargetsConfig,
        seed: int,
        occurrences: NDArray[np.integer] | None = None,
        alternatives: int = 0,
        planned_calls: int = 0,
        index: IndexConfig | None = None,
        student: TwoTower | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.models = (scorer, judge, generator)
        self.selected = selected
        self.occurrences = occurrences
        self.search = search
        self.seed = seed
        self.alternatives = alternatives
        self.index = index
        self.student = student
        self.planned_calls = planned_calls
        self._device: torch.device | None = None

    def to(self, device: torch.device | str) -> "PreparedRun":
        """Builds scorers and index on the device, once."""
        device = torch.device(device)
        if device == self._device:
            return self
        scorer, judge, generator = self.models
        self._device = device
        self.scorer = candidate_scorer(scorer, self.catalogue, self.search, device, self.planned_calls)
        self.judge = None if judge is None else candidate_scorer(judge, self.catalogue, self.search, device)
        features = self.catalogue.require_embeddings
        self.methods = Resources(
            categories=self.scorer.categories,
            num_categories=self.scorer.num_categories,
            seed=self.seed,
            scorer=self.scorer,
            index=None if generator is None else index_catalogue(generator, self.catalogue, device, self.index),
            latents=None if generator is None else lambda tasks: self.latents(tasks, self.methods),
            selected=self.selected,
            occurrences=self.occurrences,
            items=features,
            similarity=TextSimilarity(features, device) if features.text_dim else None,
            alternatives=self.alternatives,
            shortlists=None if self.student is None else Shortlists(self.student, self.scorer, self.index),
        )
        return self

    def with_external(self, external: ItemEmbeddings, categories: NDArray[np.integer]) -> Resources:
        """What methods need for outfits that hold external items, at the positions from ``N`` on.

        Args:
            external: their embeddings, ``m`` items.
            categories: their categories, shape ``[m]``.

        Raises:
            RuntimeError: if :meth:`to` was not called.
        """
        if self._device is None:
            raise RuntimeError("call to(device) first")
        scorer = self.scorer.with_external(external.vectors, external.present, categories)
        hosting = replace(self.methods, scorer=scorer, categories=scorer.categories, external=external)
        if hosting.latents is None:
            return hosting
        return replace(hosting, latents=lambda tasks: self.latents(tasks, hosting))

    def latents(self, tasks: CompletionTasks, resources: Resources) -> Tensor:
        """The generator's latents for tasks, shape ``[B, k, r]``, in one pass.

        Raises:
            RuntimeError: without a generator on a device.
        """
        generator = self.models[2]
        if generator is None or self._device is None:
            raise RuntimeError("there is no generator on a device")
        graphs = []
        for row, given in enumerate(tasks.given):
            features = resources.embedded(given)
            conditions = (
                None if tasks.conditions is None else (tasks.conditions.allowed[row], tasks.conditions.texts[row])
            )
            graphs.append(
                completion_graph(features.vectors, features.present, resources.categories[given], conditions=conditions)
            )
        return latents_of(generator, graphs, tasks.k, self._device)
