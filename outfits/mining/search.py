"""Mining of targets: greedy search with the frozen S, shard by shard."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import conditions_of_items
from outfits.completion.context import search_by_size
from outfits.completion.prepared import candidate_scorer
from outfits.completion.search.greedy import greedy_k_step
from outfits.completion.search.two_stage import Shortlists, greedy_two_stage
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.data.category_rule import available_categories, feasible_categories
from outfits.mining.targets import TargetStore
from outfits.models.compatibility import OutfitTransformer
from outfits.models.similarity import TextSimilarity
from outfits.models.student import TwoTower
from outfits.shards import ShardWork


def condition_tasks(tasks: CompletionTasks, kind: str, catalogue: Catalogue, alpha: float) -> CompletionTasks:
    """Tasks with conditions for just the items that were removed, without the tasks for which that is no condition at
    all.

    The category rule bars a condition where a real outfit has two items of one category.

    Args:
        tasks: tasks without conditions.
        kind: ``categories``, ``texts`` or ``categories_texts``.
        catalogue: items with embeddings.
        alpha: weight of S against the texts.

    Returns:
        Tasks of which every condition can be fulfilled beside the others, in their order; none if there are none.
    """
    categories, num_categories = catalogue.categories, len(catalogue.category_names)
    conditions = conditions_of_items(
        kind, tasks.removed, categories, num_categories, catalogue.require_embeddings, alpha
    )
    fulfilled = ~conditions.allowed.all(axis=(1, 2)) | conditions.has_text.any(axis=1)
    available = available_categories(tasks.given, categories, num_categories)
    missing = np.ones(conditions.k, dtype=np.bool_)
    rows = [
        row
        for row in np.flatnonzero(fulfilled)
        if feasible_categories(conditions.allowed[row], missing, available[row]).any(axis=1).all()
    ]
    return tasks.conditioned(conditions).take(np.array(rows, dtype=np.int64))


def conditions_have_texts(tasks: CompletionTasks) -> bool:
    """Whether any task has a text of the condition."""
    return tasks.conditions is not None and bool(tasks.conditions.has_text.any())


@dataclass(frozen=True)
class TwoStage:
    """How to search in two stages.

    Attributes:
        student: what ranks the catalogue.
        candidates: ``c``, its best items that S scores at each step.
    """

    student: TwoTower
    candidates: int


class Miner:
    """k-step greedy search for tasks, over the whole catalogue or in two stages, on one device.

    Where the category rule leaves room for fewer items than are asked for, but for as many as were removed, search
    selects as many as there is room for.

    Args:
        scorer: frozen S.
        catalogue: items with embeddings.
        config: candidates kept, arithmetic and block size.
        device: where the search runs.
        two_stage: the student and the length of its shortlists; None: S scores the whole catalogue.
        texts: whether texts are asked for.
        steps: steps of search to come on all devices, from which follows whether compiling S is worth it.
    """

    def __init__(
        self,
        scorer: OutfitTransformer,
        catalogue: Catalogue,
        config: TargetsConfig,
        device: torch.device,
        two_stage: TwoStage | None = None,
        *,
        texts: bool = False,
        steps: int = 0,
    ) -> None:
        self.candidates = 0 if two_stage is None else two_stage.candidates
        calls = steps * (len(catalogue) if two_stage is None else two_stage.candidates + 1)
        self.search = candidate_scorer(scorer, catalogue, config, device, calls)
        self.similarity = TextSimilarity(catalogue.require_embeddings, device) if texts else None
        self.shortlists = None if two_stage is None else Shortlists(two_stage.student, self.search)
        self._kept = config.candidates

    def mine(self, tasks: CompletionTasks) -> SearchTrace:
        """What search selects for tasks, in their order.

        Raises:
            DataError: if the category rule leaves room for fewer items than were removed.
        """
        categories = self.search.categories
        room = available_categories(tasks.given, categories, self.search.num_categories).sum(axis=1)
        steps = np.clip(room, min(tasks.removed.shape[1], tasks.k), tasks.k)  # too little room is for search to refuse
        parts = [np.flatnonzero(steps == asked) for asked in np.unique(steps)]
        traces = [_with_steps(self._greedy(tasks.take(rows), int(steps[rows[0]])), tasks.k) for rows in parts]
        return SearchTrace.concatenate(traces).take(np.argsort(np.concatenate(parts), kind="stable"))

    def _greedy(self, tasks: CompletionTasks, k: int) -> SearchTrace:
        def of_size(rows: NDArray[np.int64], given: Tensor) -> SearchTrace:
            conditions = None if tasks.conditions is None else tasks.conditions.take(rows)
            if self.shortlists is None:
                return greedy_k_step(
                    self.search, given, k, self._kept, conditions=conditions, similarity=self.similarity
                )
            return greedy_two_stage(
                self.search,
                self.shortlists,
                given,
                k,
                self.candidates,
                self._kept,
                conditions=conditions,
                similarity=self.similarity,
            )

        return search_by_size(tasks, of_size)


def mining_work(
    store: TargetStore,
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    config: TargetsConfig,
    two_stage: TwoStage | None = None,
) -> ShardWork:
    """Greedy search for every task of a store, see :class:`Miner`.

    It raises :class:`outfits.errors.DataError` where the category rule leaves room for fewer items than were removed.
    """
    tasks = store.tasks

    def start(device: torch.device) -> Callable[[int], None]:
        texts, steps = conditions_have_texts(tasks), len(tasks) * tasks.k
        miner = Miner(scorer, catalogue, config, device, two_stage, texts=texts, steps=steps)
        return lambda shard: store.write_trace(shard, miner.mine(store.shard_tasks(shard)))

    return start


def _with_steps(trace: SearchTrace, k: int) -> SearchTrace:
    """The trace with ``k`` steps, those that search did not take without an item."""
    more = k - trace.chosen.shape[1]
    if not more:
        return trace
    steps, lists = ((0, 0), (0, more)), ((0, 0), (0, more), (0, 0))
    return replace(
        trace,
        chosen=np.pad(trace.chosen, steps, constant_values=-1),
        logits=np.pad(trace.logits, steps, constant_values=-np.inf),
        candidates=np.pad(trace.candidates, lists, constant_values=-1),
        candidate_logits=np.pad(trace.candidate_logits, lists, constant_values=-np.inf),
    )
