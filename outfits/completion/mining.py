"""Mining of targets: greedy search with the frozen S, shard by shard."""

from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset

from outfits.completion.candidates import CandidateScorer
from outfits.completion.completion import SearchTrace
from outfits.completion.greedy import greedy_k_step
from outfits.completion.method import search_by_size
from outfits.completion.prepared import candidate_scorer
from outfits.completion.rules import available_categories, open_categories
from outfits.completion.targets import TargetStore
from outfits.completion.tasks import CompletionTasks
from outfits.completion.wishes import wishes_of_items
from outfits.config.schema import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.models.compatibility import OutfitTransformer
from outfits.models.similarity import TextSimilarity


def wish_tasks(tasks: CompletionTasks, kind: str, catalogue: Catalogue, alpha: float) -> CompletionTasks:
    """Tasks with wishes for just the items that were removed, without the tasks for which that is no wish at all.

    The category rule bars a wish where a real outfit has two items of one category.

    Args:
        tasks: tasks without wishes.
        kind: ``categories``, ``texts`` or ``categories_texts``, see :func:`outfits.completion.wishes.wishes_of_items`.
        catalogue: items with embeddings.
        alpha: weight of S against the texts.

    Returns:
        Tasks of which every wish can be fulfilled beside the others, in their order; none if there are none.
    """
    categories, num_categories = catalogue.categories, len(catalogue.category_names)
    wishes = wishes_of_items(kind, tasks.removed, categories, num_categories, catalogue.features, alpha)
    wished = ~wishes.allowed.all(axis=(1, 2)) | wishes.has_text.any(axis=1)
    available = available_categories(tasks.given, categories, num_categories)
    missing = np.ones(wishes.k, dtype=np.bool_)
    rows = [
        row
        for row in np.flatnonzero(wished)
        if open_categories(wishes.allowed[row], missing, available[row]).any(axis=1).all()
    ]
    return tasks.wishing(wishes).take(np.array(rows, dtype=np.int64))


class ShardNumbers(Dataset[tuple[int]]):
    """Inputs of sharded work that needs nothing but the shard's number."""

    def __init__(self, shards: int) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return self.shards

    def __getitem__(self, index: int) -> tuple[int]:
        return (index,)


class TargetMining:
    """k-step greedy search for every task of a store, as work in shards.

    Where the category rule leaves room for fewer items than are asked for, but for as many as were removed, search
    selects as many as there is room for.

    Args:
        store: tasks, and where their targets go.
        scorer: frozen S.
        catalogue: items with embeddings.
        config: arithmetic and block size.
    """

    def __init__(
        self, store: TargetStore, scorer: OutfitTransformer, catalogue: Catalogue, config: TargetsConfig
    ) -> None:
        self.store = store
        self.scorer = scorer
        self.catalogue = catalogue
        self.config = config
        self.shards = store.shards
        self.inputs = ShardNumbers(store.shards)
        self.search: CandidateScorer | None = None
        self.similarity: TextSimilarity | None = None

    def pending(self) -> list[int]:
        """Shards still to be mined."""
        return self.store.pending()

    def to(self, device: torch.device) -> None:
        """Puts S, the catalogue's tokens and, where texts are wished, its texts on the device."""
        self.search = candidate_scorer(self.scorer, self.catalogue, self.config, device)
        wishes = self.store.tasks.wishes
        if wishes is not None and wishes.has_text.any():
            self.similarity = TextSimilarity(self.catalogue.features, device)

    def run(self, batch: tuple[int]) -> None:
        """Mines one shard and writes it.

        Raises:
            RuntimeError: if :meth:`to` was not called.
            DataError: if the category rule leaves room for fewer items than were removed.
        """
        (shard,) = batch
        tasks = self.store.shard_tasks(shard)
        categories, num_categories = self.catalogue.categories, len(self.catalogue.category_names)
        room = available_categories(tasks.given, categories, num_categories).sum(axis=1)
        steps = np.clip(room, min(tasks.removed.shape[1], tasks.k), tasks.k)  # too little room is for search to refuse
        parts = [np.flatnonzero(steps == asked) for asked in np.unique(steps)]
        traces = [_with_steps(self._greedy(tasks.take(rows), int(steps[rows[0]])), tasks.k) for rows in parts]
        order = np.argsort(np.concatenate(parts), kind="stable")
        self.store.write(shard, SearchTrace.concatenate(traces).take(order))

    def _greedy(self, tasks: CompletionTasks, k: int) -> SearchTrace:
        search, kept, similarity, wishes = self.search, self.config.candidates, self.similarity, tasks.wishes
        if search is None:
            raise RuntimeError("call to(device) first")
        return search_by_size(
            tasks,
            lambda rows, given: greedy_k_step(
                search, given, k, kept, wishes=None if wishes is None else wishes.take(rows), similarity=similarity
            ),
        )


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
