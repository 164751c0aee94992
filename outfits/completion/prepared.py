"""Models, index and catalogue of a run, ready on a device for methods to use."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch

from outfits.completion.candidates import CandidateScorer
from outfits.completion.method import Resources
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.graphs.completion_graph import completion_graph
from outfits.index.catalogue_index import index_catalogue
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator


def candidate_scorer(
    scorer: OutfitTransformer, catalogue: Catalogue, search: TargetsConfig, device: torch.device | str
) -> CandidateScorer:
    """S over a catalogue, with the configured arithmetic and block size."""
    features = catalogue.features
    return CandidateScorer(
        scorer,
        features.vectors,
        features.present,
        catalogue.categories,
        device,
        search.precision,
        search.candidate_block,
        len(catalogue.category_names),
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
        rerank_candidates: shortlist per latent of ``generator_rerank``.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        scorer: OutfitTransformer,
        judge: OutfitTransformer | None,
        generator: Generator | None,
        selected: NDArray[np.int64] | None,
        search: TargetsConfig,
        seed: int,
        rerank_candidates: int,
    ) -> None:
        self.catalogue = catalogue
        self.models = (scorer, judge, generator)
        self.selected = selected
        self.search = search
        self.seed = seed
        self.rerank_candidates = rerank_candidates
        self._device: torch.device | None = None

    def to(self, device: torch.device | str) -> "PreparedRun":
        """Builds scorers and index on the device, once."""
        device = torch.device(device)
        if device == self._device:
            return self
        scorer, judge, generator = self.models
        self._device = device
        self.scorer = candidate_scorer(scorer, self.catalogue, self.search, device)
        self.judge = None if judge is None else candidate_scorer(judge, self.catalogue, self.search, device)
        self.methods = Resources(
            categories=self.scorer.categories,
            num_categories=self.scorer.num_categories,
            seed=self.seed,
            scorer=self.scorer,
            index=None if generator is None else index_catalogue(generator, self.catalogue, device),
            latents=None if generator is None else self.latents,
            selected=self.selected,
            rerank_candidates=self.rerank_candidates,
        )
        return self

    def latents(self, tasks: CompletionTasks) -> Tensor:
        """The generator's latents for tasks, shape ``[B, k, r]``, in one pass.

        Raises:
            RuntimeError: without a generator on a device.
        """
        generator = self.models[2]
        if generator is None or self._device is None:
            raise RuntimeError("there is no generator on a device")
        graphs = [
            completion_graph(self.catalogue, given, removed, number)
            for number, (given, removed) in enumerate(zip(tasks.given, tasks.removed, strict=True))
        ]
        with torch.inference_mode():
            latents: Tensor = generator(Batch.from_data_list(graphs).to(self._device))
        return latents.float().cpu()
