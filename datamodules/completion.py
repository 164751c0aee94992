"""Batches of outfit graphs for training the generator."""

from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data

from datamodules.base import OutfitLoaders
from outfits.graphs.completion_graph import CompletionGraphs


class CompletionDataModule(OutfitLoaders):
    """Completion graphs with greedy targets, batched by PyG.

    Args:
        train: training tasks.
        valid: validation tasks.
        batch_size: graphs per batch and rank.
        num_workers: loader processes per rank.
        seed: seed of the training order.
    """

    def __init__(
        self, train: CompletionGraphs, valid: CompletionGraphs, batch_size: int, num_workers: int, seed: int
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.train = train
        self.valid = valid

    def train_dataloader(self) -> DataLoader[Data]:
        """Training graphs."""
        return self.loader(self.train, "train", Batch.from_data_list)

    def val_dataloader(self) -> DataLoader[Data]:
        """Validation graphs, in order."""
        return self.loader(self.valid, "valid", Batch.from_data_list)
