"""Batches outfit graphs for training the generator."""

from torch_geometric.data import Batch

from datamodules.base import OutfitLoaders
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.schema.model import ModelConfig
from outfits.data.dataset import OutfitDataset
from outfits.graphs.completion_graph import CompletionGraphs, TrainingGraphs
from outfits.mining.mined import MinedTargets
from outfits.mining.targets import Targets


class CompletionDataModule(OutfitLoaders):
    """Loads completion tasks as outfit graphs; an epoch has an outfit once in each kind of task.

    Args:
        dataset: data set with embeddings.
        targets: what search selected for training and validation tasks; None: only the test split can be set up.
        test: tasks that are tested; None: all test outfits, with as many items removed as in validation.
        seed: seed of the training order, of what is given, and of the items that are removed from test outfits.
        prefix_share: share of the training tasks whose first targets are given too.
    """

    def __init__(
        self,
        dataset: OutfitDataset,
        targets: MinedTargets | None,
        test: CompletionTasks | None = None,
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        prefix_share: float = ModelConfig.prefix_share,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.dataset = dataset
        self.targets = targets
        self.test = test
        self.prefix_share = prefix_share
        self.collate = Batch.from_data_list

    def make_samples(self, split: str) -> CompletionGraphs | TrainingGraphs:
        """Makes graphs of a split's tasks; raises ValueError if they need targets and there are none."""
        if split == "test" and self.test is not None:
            return self._graphs(self.test)
        if self.targets is None:
            raise ValueError(f"{split} tasks need targets; mine them with outfits.mining.mine")
        valid = self.targets.valid
        if split == "train":
            parts = [self._graphs(part.tasks, part) for part in self.targets.parts]
            return TrainingGraphs(parts, self.targets.k_max, self.prefix_share, self.seed)
        if split == "valid":
            return self._graphs(valid.tasks, valid)
        return self._graphs(make_tasks(self.dataset.outfits.of("test"), valid.tasks.k, 1, None, self.seed))

    def _graphs(self, tasks: CompletionTasks, targets: Targets | None = None) -> CompletionGraphs:
        return CompletionGraphs(
            self.dataset.catalogue,
            tasks.given,
            tasks.removed,
            None if targets is None else targets.graph_targets(),
            None if targets is None else targets.graph_conditions(),
        )
