"""Trains super-resolution on images and their shrunk copies."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from lightning_modules.companions import Companion, WithCompanions
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.imaging import ImagingConfig
from outfits.imaging.cropping import garment_crops
from outfits.imaging.super_resolution import SuperResolution, shrunk
from outfits.metrics.images import fidelity
from outfits.representations.batch import ImageBatch
from outfits.representations.losses import perceptual_loss
from outfits.representations.perceptual import FrozenFeatures


class SuperResolutionModule(WithCompanions):
    """Trains the network that enlarges images.

    Args:
        config: network, losses and optimiser.
        loss: ``pixel`` or ``perceptual``.
        features: the frozen network.
        name: prefix of logged metrics.
    """

    def __init__(self, config: ImagingConfig, loss: str, features: FrozenFeatures, name: str) -> None:
        super().__init__()
        self.config = config
        self.loss = loss
        self.name = name
        self.model = SuperResolution(config.super_resolution).to(memory_format=torch.channels_last)
        self.features = (features,)  # in a tuple, since checkpoints hold every network that is an attribute
        self.means = torch.nn.ModuleDict({metric: MeanMetric() for metric in ("psnr", "ssim", "distance")})

    def companions(self) -> Iterable[Companion]:
        """The frozen features."""
        return self.features

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        """Compares enlarged crops with the originals."""
        options = self.config.super_resolution
        originals = garment_crops(batch, options.crop)
        enlarged = self.model(shrunk(originals, options.factor))
        loss = F.mse_loss(enlarged, originals)
        if self.loss == "perceptual":
            (features,) = self.features
            with torch.no_grad():
                targets = features(originals)
            loss = options.pixel_weight * loss + perceptual_loss(features(enlarged), targets)
        self.log(f"{self.name}/train_loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Measures whole enlarged images."""
        enlarged = self.model.enlarge(shrunk(batch.images, self.config.super_resolution.factor))
        for metric, values in fidelity(enlarged, batch.images, self.features[0]).items():
            mean = self.means[metric]
            assert isinstance(mean, MeanMetric)
            mean.update(values)

    def on_validation_epoch_end(self) -> None:
        """Logs the means over the split; torchmetrics adds up sums and counts of all ranks."""
        for metric, mean in self.means.items():
            assert isinstance(mean, MeanMetric)
            self.log(f"{self.name}/valid_{metric}", mean.compute(), prog_bar=metric == "psnr")
            mean.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")
