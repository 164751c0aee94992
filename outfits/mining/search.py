"""Mining of targets: greedy search with the frozen S, shard by shard."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.completion.completion import SearchTrace
from outfits.completion.conditions import conditions_of_items
from outfits.completion.context import MethodContext
from outfits.completion.methods import search_by_size
from outfits.completion.search.expansion import SearchQuery
from outfits.completion.search.greedy import greedy_k_step
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.data.category_rule import available_categories, feasible_categories
from outfits.mining.targets import TargetStore
from outfits.models.compatibility import OutfitTransformer
from outfits.models.student import TwoTower
from outfits.shards import ShardWork


def condition_tasks(tasks: CompletionTasks, kind: str, catalogue: Catalogue, alpha: float) -> CompletionTasks:
    """Tasks conditioned on the items that were removed, without those for which ``kind`` is no condition at all.

    The category rule forbids a condition where a real outfit has two items of one category.

    Args:
        tasks: tasks without conditions.
        kind: ``categories``, ``texts`` or ``categories_texts``.
        alpha: weight of S against the texts.

    Returns:
        Tasks of which all conditions can be fulfilled together, in their order; there may be none.
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


@dataclass(frozen=True)
class TwoStage:
    """The student, and ``c``, how many of its best items S scores at each step."""

    student: TwoTower
    candidates: int


class Miner:
    """k-step greedy search for tasks, over the whole catalogue or in two stages, on one device.

    Where the category rule leaves room for fewer items than are missing, but for as many as were removed, search
    selects as many as there is room for.

    Args:
        config: candidates kept, arithmetic and block size.
        two_stage: the student and the length of its shortlists; None: S scores the whole catalogue.
        steps: steps of search to come on all devices, which decide whether S is compiled.
    """

    def __init__(
        self,
        scorer: OutfitTransformer,
        catalogue: Catalogue,
        config: TargetsConfig,
        device: torch.device,
        two_stage: TwoStage | None = None,
        *,
        steps: int = 0,
    ) -> None:
        self.context = MethodContext(
            catalogue,
            scorer_module=scorer,
            student=None if two_stage is None else two_stage.student,
            search=config,
            planned_calls=steps * (len(catalogue) if two_stage is None else two_stage.candidates + 1),
            device=device,
        )
        self._two_stage = two_stage
        self._kept = config.candidates

    def narrowed(self, query: SearchQuery) -> SearchQuery:
        """Restricts the query to the student's shortlists in two-stage search."""
        if self._two_stage is None:
            return query
        return self.context.shortlists.narrowed(query, self._two_stage.candidates)

    def mine(self, tasks: CompletionTasks) -> SearchTrace:
        """Searches for tasks, in their order.

        Raises:
            DataError: if the category rule leaves room for fewer items than were removed.
        """
        room = available_categories(tasks.given, self.context.categories, self.context.num_categories).sum(axis=1)
        steps = np.clip(room, min(tasks.removed.shape[1], tasks.k), tasks.k)  # search refuses what has too little room
        parts = [np.flatnonzero(steps == asked) for asked in np.unique(steps)]
        traces = [_with_steps(self._greedy(tasks.take(rows), int(steps[rows[0]])), tasks.k) for rows in parts]
        return SearchTrace.concatenate(traces).take(np.argsort(np.concatenate(parts), kind="stable"))

    def _greedy(self, tasks: CompletionTasks, k: int) -> SearchTrace:
        def mining(query: SearchQuery, rows: NDArray[np.int64]) -> SearchTrace:
            return greedy_k_step(self.narrowed(replace(query, k=k, candidates_kept=self._kept)))

        return search_by_size(tasks, self.context, mining)[0]


def mining_work(
    store: TargetStore,
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    config: TargetsConfig,
    two_stage: TwoStage | None = None,
) -> ShardWork:
    """Greedy search for every task of a store, see :class:`Miner`.

    The work raises :class:`DataError` where the category rule leaves room for fewer items than were removed.
    """
    tasks = store.tasks

    def start(device: torch.device) -> Callable[[int], None]:
        miner = Miner(scorer, catalogue, config, device, two_stage, steps=len(tasks) * tasks.k)
        return lambda shard: store.write_trace(shard, miner.mine(store.shard_tasks(shard)))

    return start


def _with_steps(trace: SearchTrace, k: int) -> SearchTrace:
    """Pads the trace to ``k`` steps; steps that search did not take have no item."""
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
