"""Batches of outfit graphs for training the generator."""

from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data

from datamodules.base import OutfitLoaders
from outfits.graphs.completion_graph import CompletionGraphs, TrainingGraphs


class CompletionDataModule(OutfitLoaders):
    """Completion graphs with greedy targets, batched by PyG.

    Args:
        train: training tasks, with and without conditions, or None where nothing is trained.
        valid: validation tasks, or None.
        batch_size: graphs per batch and rank.
        num_workers: loader processes per rank.
        seed: seed of the training order.
        test: tasks that are tested, or None.
    """

    def __init__(
        self,
        train: CompletionGraphs | TrainingGraphs | None,
        valid: CompletionGraphs | None,
        batch_size: int,
        num_workers: int,
        seed: int,
        test: CompletionGraphs | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.graphs: dict[str, CompletionGraphs | TrainingGraphs | None] = {
            "train": train,
            "valid": valid,
            "test": test,
        }

    def train_dataloader(self) -> DataLoader[Data]:
        """Training graphs."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Data]:
        """Validation graphs, in order."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[Data]:
        """Test graphs, in order."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Data]:
        graphs = self.graphs[split]
        if graphs is None:
            raise ValueError(f"this data module has no {split} tasks")
        return self.loader(graphs, split, Batch.from_data_list)
