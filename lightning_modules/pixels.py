"""Trains models of images pixel by pixel on their likelihood."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.imaging import ImagingConfig
from outfits.imaging.logistic_mixture import bits_per_dimension
from outfits.imaging.pixel_model import PixelModel
from outfits.representations.batch import ImageBatch


class PixelModule(L.LightningModule):
    """Trains a PixelCNN or PixelRNN.

    Args:
        config: network and optimiser.
        network: class of the network.
        categories: number of categories of the catalogue.
        name: prefix of logged metrics.
    """

    def __init__(self, config: ImagingConfig, network: type[PixelModel[Any]], categories: int, name: str) -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.model = network(config.pixels, categories, config.image_size)
        self.bits = MeanMetric()

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        """Computes bits per dimension."""
        loss = self._bits(batch).mean()
        self.log(f"{self.name}/train_bits", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Averages bits per dimension over the split."""
        self.bits.update(self._bits(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the mean; torchmetrics adds up sums and counts of all ranks."""
        self.log(f"{self.name}/valid_bits", self.bits.compute(), prog_bar=True)
        self.bits.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: object, **__: object) -> None:
        """Clips the gradient's norm to 1: a mixture that becomes narrow has steep gradients."""
        self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")

    def _bits(self, batch: ImageBatch) -> Tensor:
        nats = -self.model.log_likelihood(batch.images, batch.categories).sum(dim=(1, 2))
        return bits_per_dimension(nats, batch.images[0].numel())
