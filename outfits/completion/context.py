"""What every completion method takes and returns."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.completion import MethodOutcome, SearchTrace
from outfits.completion.gradient.projection import ItemSpace
from outfits.completion.search.two_stage import Shortlists
from outfits.completion.tasks import CompletionTasks
from outfits.data.catalogue import ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.index.item_index import ItemIndex
from outfits.models.similarity import TextSimilarity
from outfits.scoring.candidates import CandidateScorer


@dataclass(frozen=True)
class Resources:
    """What methods may use; each takes what it needs.

    Attributes:
        categories: category of every catalogue item and, after them, of every external item, shape ``[N + m]``.
        num_categories: ``C``.
        seed: seed of the experiment.
        scorer: frozen S over the catalogue, for methods that search with it.
        index: the catalogue in the generator's retrieval space, in this process or in a store outside it.
        latents: from tasks to the generator's latents ``[B, k, r]``.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``.
        occurrences: how often each item stands in a training outfit, shape ``[N]``.
        items: embeddings of the catalogue, ``N`` items.
        external: embeddings of the external items, which stand in outfits but cannot be chosen; None: none.
        similarity: similarity of the catalogue to texts.
        alternatives: how many answers to keep per outfit, for methods that find more than one.
        shortlists: the catalogue as a student of S ranks it.
    """

    categories: NDArray[np.integer]
    num_categories: int
    seed: int = 0
    scorer: CandidateScorer | None = None
    index: ItemIndex | None = None
    latents: Callable[[CompletionTasks], Tensor] | None = None
    selected: NDArray[np.integer] | None = None
    occurrences: NDArray[np.integer] | None = None
    items: ItemEmbeddings | None = None
    external: ItemEmbeddings | None = None
    similarity: TextSimilarity | None = None
    alternatives: int = 0
    shortlists: Shortlists | None = None

    @property
    def catalogue_categories(self) -> NDArray[np.integer]:
        """Category of every item that can be chosen, shape ``[N]``."""
        external = 0 if self.external is None else len(self.external.vectors)
        return self.categories[: len(self.categories) - external]

    def require_scorer(self) -> CandidateScorer:
        """The scorer; raises :class:`ArtifactError` without one."""
        if self.scorer is None:
            raise ArtifactError("this method needs the compatibility model S; run train.py with stages=[compatibility]")
        return self.scorer

    def require_generator(self) -> tuple[ItemIndex, Callable[[CompletionTasks], Tensor]]:
        """Index and latents; raises :class:`ArtifactError` without a generator."""
        if self.index is None or self.latents is None:
            raise ArtifactError("this method needs a trained generator; run train.py with stages=[generator]")
        return self.index, self.latents

    def require_shortlists(self) -> Shortlists:
        """The student's rankings; raises :class:`ArtifactError` without a student."""
        if self.shortlists is None:
            raise ArtifactError(
                "this method needs a student of S, and the run has none; name the method in evaluate.methods of "
                "train.py or evaluate.py, which teach one"
            )
        return self.shortlists

    def require_selected(self) -> NDArray[np.integer]:
        """Selection counts; raises :class:`ArtifactError` without mined targets."""
        if self.selected is None:
            raise ArtifactError("this method needs mined targets; run train.py with stages=[targets]")
        return self.selected

    def require_occurrences(self) -> NDArray[np.integer]:
        """Occurrence counts; raises :class:`ArtifactError` without training outfits."""
        if self.occurrences is None:
            raise ArtifactError("this method needs to know the training outfits; run it through evaluate.py")
        return self.occurrences

    def require_items(self) -> ItemEmbeddings:
        """Embeddings of the catalogue; raises :class:`ArtifactError` without them."""
        if self.items is None:
            raise ArtifactError("this method needs item embeddings; run train.py with stages=[embeddings]")
        return self.items

    @cached_property
    def space(self) -> ItemSpace:
        """The catalogue as the gradient method moves in it and projects to it, made at the first use."""
        device = self.require_scorer().device
        return ItemSpace(self.require_items(), self.catalogue_categories, self.num_categories, device)

    def embedded(self, positions: NDArray[np.integer]) -> ItemEmbeddings:
        """Embeddings of catalogue items and external items at these positions, shape ``[n]``.

        Raises:
            ArtifactError: without embeddings.
        """
        items = self.require_items()
        is_external = positions >= len(items.vectors)
        found = items.take(np.where(is_external, 0, positions))
        if self.external is not None and is_external.any():
            rows = positions[is_external] - len(items.vectors)
            found.vectors[is_external], found.present[is_external] = (
                self.external.vectors[rows],
                self.external.present[rows],
            )
        return found


Method = Callable[[CompletionTasks, Resources, Any], MethodOutcome]
"""A method: completes every task of a batch, with the options of its section of the configuration (None where it has
none); registered under its name in :mod:`outfits.completion.methods`."""

Search = Callable[[NDArray[np.int64], Tensor], SearchTrace]
"""A search with S: from rows of the batch and their given items ``[b, n]`` to a trace."""


def search_by_size(tasks: CompletionTasks, search: Search) -> SearchTrace:
    """Searches for tasks with equally many given items together; the trace is in the order of the tasks."""
    groups = list(tasks.by_size())
    trace = SearchTrace.concatenate([search(rows, outfits) for rows, outfits in groups])
    return trace.take(np.argsort(np.concatenate([rows for rows, _ in groups]), kind="stable"))


class Stopwatch:
    """Wall time since it was made, shared equally by a batch; waits for queued GPU work."""

    def __init__(self) -> None:
        self._wait()
        self._start = time.perf_counter()

    def shares(self, batch: int) -> NDArray[np.float64]:
        """Seconds, shape ``[batch]``."""
        self._wait()
        return np.full(batch, (time.perf_counter() - self._start) / max(1, batch))

    @staticmethod
    def _wait() -> None:
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()


def completions_of(
    tasks: CompletionTasks,
    trace: SearchTrace,
    seconds: NDArray[np.float64],
    removed_ranks: NDArray[np.int64] | None = None,
) -> MethodOutcome:
    """The outcome that a search with S found; ranks of the removed items are the trace's unless given."""
    return MethodOutcome(
        tasks,
        chosen=trace.by_condition,
        calls=trace.calls,
        seconds=seconds,
        step_scores=expit(trace.logits.astype(np.float64)),
        removed_ranks=trace.ranks if removed_ranks is None else removed_ranks,
        alternatives=trace.alternatives,
    )
