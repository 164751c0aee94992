"""Makes the samples of a data set in ``setup`` and batches them: LightningDataModules."""

from datamodules.compatibility import CompatibilityDataModule
from datamodules.completion import CompletionDataModule
from datamodules.images import DistinctImageDataModule, ImageDataModule

__all__ = ["CompatibilityDataModule", "CompletionDataModule", "DistinctImageDataModule", "ImageDataModule"]
