"""Trains networks from conditions to an image and its mask."""

from collections.abc import Callable
from typing import cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from datamodules.conditional import ConditionedBatch
from lightning_modules.optim import TrainingSchedule, adamw_with_warmup
from outfits.config.schema.imaging_conditional import ConditionalLoss
from outfits.imaging.conditional import ConditionalGenerator, image_and_mask_loss
from outfits.imaging.views import Views

TERMS = ("image", "mask", "loss")


class ConditionalModule(L.LightningModule):
    """Trains a conditional generator on weighted squared errors.

    With ``views`` training images are moved, enlarged and brightened at random, and the network is told how; with
    ``draw`` training draws conditions about those of a batch.

    Args:
        model: the network.
        optimizer: learning rate and schedule.
        loss: weights of the loss.
        name: prefix of logged metrics.
        views: what a view does; None for a network without views.
        draw: draws conditions ``[B, d]`` about given ones; None: those given.
    """

    def __init__(
        self,
        model: ConditionalGenerator,
        optimizer: TrainingSchedule,
        loss: ConditionalLoss,
        name: str,
        views: Views | None = None,
        draw: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer_config = optimizer
        self.loss = loss
        self.name = name
        self.views = views
        self.draw = draw
        self.means = torch.nn.ModuleDict({term: MeanMetric() for term in TERMS})

    def training_step(self, batch: ConditionedBatch, batch_index: int) -> Tensor:
        """Computes the loss on images under drawn views, or from conditions about those given."""
        images, masks, conditions, view = batch.images, batch.masks, batch.conditions, None
        if self.views is not None:
            view = self.views.draw(len(batch)).to(images)
            images, masks = self.views.apply(images, masks, view)
        if self.draw is not None:
            conditions = self.draw(conditions)
        terms = image_and_mask_loss(self.model(conditions, view), images, masks, self.loss)
        for term, values in terms.items():
            self.log(f"{self.name}/train_{term}", values.mean(), prog_bar=term == "loss", batch_size=len(batch))
        return terms["loss"].mean()

    def validation_step(self, batch: ConditionedBatch, batch_index: int) -> None:
        """Averages the same terms on images as they are."""
        drawn = self.model(batch.conditions)
        for term, values in image_and_mask_loss(drawn, batch.images, batch.masks, self.loss).items():
            cast(MeanMetric, self.means[term]).update(values)

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the split; torchmetrics adds up sums and counts of all ranks."""
        for term, mean in self.means.items():
            assert isinstance(mean, MeanMetric)
            self.log(f"{self.name}/valid_{term}", mean.compute(), prog_bar=term == "loss")
            mean.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.optimizer_config, "cosine")
