"""What every completion method takes and returns."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from outfits.completion.candidates import CandidateScorer
from outfits.completion.completion import Completions, SearchTrace
from outfits.completion.tasks import CompletionTasks
from outfits.errors import ArtifactError
from outfits.index.category_index import CategoryIndex


@dataclass(frozen=True)
class Resources:
    """What methods may use; each takes what it needs.

    Attributes:
        categories: category of every catalogue item, shape ``[N]``.
        num_categories: ``C``.
        seed: seed of the experiment.
        scorer: frozen S over the catalogue, for methods that search with it.
        index: the catalogue in the generator's retrieval space.
        latents: from tasks to the generator's latents ``[B, k, r]``.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``.
        rerank_candidates: ``r`` of generator_rerank.
        rerank_joint: whether generator_rerank chooses among all unused latents at each step.
    """

    categories: NDArray[np.integer]
    num_categories: int
    seed: int = 0
    scorer: CandidateScorer | None = None
    index: CategoryIndex | None = None
    latents: Callable[[CompletionTasks], Tensor] | None = None
    selected: NDArray[np.integer] | None = None
    rerank_candidates: int = 64
    rerank_joint: bool = True

    def require_scorer(self) -> CandidateScorer:
        """The scorer; raises :class:`ArtifactError` without one."""
        if self.scorer is None:
            raise ArtifactError("this method needs the compatibility model S; run train.py with stages=[compatibility]")
        return self.scorer

    def require_generator(self) -> tuple[CategoryIndex, Callable[[CompletionTasks], Tensor]]:
        """Index and latents; raises :class:`ArtifactError` without a generator."""
        if self.index is None or self.latents is None:
            raise ArtifactError("this method needs a trained generator; run train.py with stages=[generator]")
        return self.index, self.latents

    def require_selected(self) -> NDArray[np.integer]:
        """Selection counts; raises :class:`ArtifactError` without mined targets."""
        if self.selected is None:
            raise ArtifactError("this method needs mined targets; run train.py with stages=[targets]")
        return self.selected


Method = Callable[[CompletionTasks, Resources], Completions]
"""A method: completes every task of a batch; registered under its name in :mod:`outfits.completion.registry`."""

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
) -> Completions:
    """The completions that a search with S found; ranks of the removed items are the trace's unless given."""
    return Completions(
        given=tasks.given,
        chosen=trace.chosen.astype(np.int64),
        calls=trace.calls,
        seconds=seconds,
        step_scores=expit(trace.logits.astype(np.float64)),
        removed_ranks=trace.ranks if removed_ranks is None else removed_ranks,
    )


def score(completions: Completions, scorer: CandidateScorer) -> Completions:
    """The same completions with S of the completed outfits, without the zero of sets that break the category rule."""
    logits = scorer.ragged_logits(completions.sets()).double().cpu().numpy()
    return completions.with_scores(expit(logits))
