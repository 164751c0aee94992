"""Trains an image model on a catalogue's images."""

from collections.abc import Iterable

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lightning_modules.companions import Companion, WithCompanions
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.model import OptimizerConfig
from outfits.config.schema.representation import RepresentationConfig
from outfits.representations.base import Features
from outfits.representations.batch import ImageBatch, augmented
from outfits.representations.store import build_model


class RepresentationModule(WithCompanions):
    """Trains any :class:`outfits.representations.base.ImageModel`, which defines its own losses.

    Args:
        config: the model, and how its training images are augmented.
        optimizer: learning rate and schedule.
        categories: number of categories of the catalogue.
        text_dim: width of the frozen text embeddings; 0 for models that see no texts.
        features: frozen features of the perceptual loss.
    """

    def __init__(
        self,
        config: RepresentationConfig,
        optimizer: OptimizerConfig,
        categories: int,
        text_dim: int,
        features: Features | None = None,
    ) -> None:
        super().__init__()
        self.model = build_model(config, categories, text_dim, features).to(memory_format=torch.channels_last)
        self.features = (features,)  # in a tuple, since checkpoints hold every network that is an attribute
        self.optimizer_config = optimizer
        self.means: dict[str, MeanMetric] = {}

    def companions(self) -> Iterable[Companion]:
        """The frozen features, where they are a network."""
        return [features for features in self.features if isinstance(features, nn.Module)]

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        """Computes the model's objective on augmented images."""
        progress = self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches))
        losses = self.model.losses(augmented(batch, self.model.config.augmented), progress)
        for name, value in losses.items():
            self.log(f"representation/train_{name}", value, prog_bar=name == "loss", batch_size=len(batch))
        return losses["loss"]

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Averages the same terms on images without augmentation, at the end of every schedule."""
        for name, value in self.model.losses(batch, 1.0).items():
            if name not in self.means:
                self.means[name] = MeanMetric().to(self.device)
            self.means[name].update(value, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the split; torchmetrics adds up sums and counts of all ranks."""
        for name, mean in self.means.items():
            self.log(f"representation/valid_{name}", mean.compute(), prog_bar=name == "loss")
            mean.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and the configured schedule."""
        return adamw_with_warmup(self, self.optimizer_config, self.optimizer_config.schedule)
