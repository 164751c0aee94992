"""Mining of targets: greedy search with the frozen S, shard by shard."""

import torch
from torch.utils.data import Dataset

from outfits.completion.candidates import CandidateScorer
from outfits.completion.greedy import greedy_k_step
from outfits.completion.method import search_by_size
from outfits.completion.prepared import candidate_scorer
from outfits.completion.targets import TargetStore
from outfits.config.schema import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.models.compatibility import OutfitTransformer


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

    def pending(self) -> list[int]:
        """Shards still to be mined."""
        return self.store.pending()

    def to(self, device: torch.device) -> None:
        """Puts S and the catalogue's tokens on the device."""
        self.search = candidate_scorer(self.scorer, self.catalogue, self.config, device)

    def run(self, batch: tuple[int]) -> None:
        """Mines one shard and writes it.

        Raises:
            RuntimeError: if :meth:`to` was not called.
        """
        if self.search is None:
            raise RuntimeError("call to(device) first")
        (shard,) = batch
        tasks = self.store.shard_tasks(shard)
        search, kept = self.search, self.config.candidates
        self.store.write(shard, search_by_size(tasks, lambda _, given: greedy_k_step(search, given, tasks.k, kept)))
