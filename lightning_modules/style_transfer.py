"""Trains the feed-forward network of style transfer on the loss that optimisation minimises."""

from collections.abc import Iterable

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from lightning_modules.companions import Companion, WithCompanions
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.imaging import ImagingConfig
from outfits.imaging.style import StyleObjective, inside
from outfits.imaging.style_network import StyleNetwork
from outfits.representations.batch import ImageBatch

MIXED = 0.5  # share of training images painted in a mixture of styles


class StyleTransferModule(WithCompanions):
    """Trains one network for several styles and their mixtures.

    Args:
        config: network and optimiser.
        objective: the loss.
        styles: number of styles.
        name: prefix of logged metrics.
    """

    def __init__(self, config: ImagingConfig, objective: StyleObjective, styles: int, name: str) -> None:
        super().__init__()
        self.config = config
        self.objective = objective
        self.styles = styles
        self.name = name
        self.model = StyleNetwork(config.style_transfer, styles)
        self.mean = MeanMetric()

    def companions(self) -> Iterable[Companion]:
        """The objective, with the frozen network."""
        return (self.objective,)

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        """Paints each image in a random style, or in a random mixture."""
        styles, count = self.styles, len(batch)
        single = torch.eye(styles)[torch.randint(styles, (count,))]
        mixed = torch.distributions.Dirichlet(torch.ones(styles)).sample((count,))
        weights = torch.where(torch.rand(count, 1) < MIXED, mixed, single).to(self.device)
        terms = self._terms(batch, weights)
        for name, values in terms.items():
            self.log(f"{self.name}/train_{name}", values.mean(), prog_bar=name == "loss", batch_size=count)
        return terms["loss"].mean()

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Paints each image in the styles in turn."""
        turn = torch.arange(len(batch)) + batch_index
        weights = torch.eye(self.styles)[turn % self.styles].to(self.device)
        self.mean.update(self._terms(batch, weights)["loss"])

    def _terms(self, batch: ImageBatch, weights: Tensor) -> dict[str, Tensor]:
        painted = inside(self.model(batch.images, weights), batch.images, batch.foreground)
        return self.objective(painted, self.objective.content_of(batch.images), batch.foreground, weights)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over the split; torchmetrics adds up sums and counts of all ranks."""
        self.log(f"{self.name}/valid_loss", self.mean.compute(), prog_bar=True)
        self.mean.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")
