"""Trains GRNet to tell whether two images show the same item."""

from collections.abc import Sequence

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from datamodules.parts import PartsBatch
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.parts import PartsConfig
from outfits.encoders.view_pyramids import ViewPyramids
from outfits.metrics.parts import rank_items
from outfits.models.grnet import Grnet


class PartsModule(L.LightningModule):
    """Trains GRNet on views and items; validation ranks the validation items anew for each of their views.

    Args:
        views: pyramids of items and views.
        config: architecture, loss and optimiser.
    """

    def __init__(self, views: ViewPyramids, config: PartsConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Grnet(config, views.pyramids.shape[2])
        self.gallery, self.queries = views.gallery("valid")[1], views.queries("valid")
        self.found = MeanMetric()

    def training_step(self, batch: PartsBatch, batch_index: int) -> Tensor:
        """Prefers each view's item to what else it is compared with."""
        logits = self.logits(batch)
        loss = listwise_loss(logits, batch.same) if self.config.loss == "listwise" else pairs_loss(logits, batch.same)
        self.log("parts/train_loss", loss, prog_bar=True, batch_size=len(batch.views))
        return loss

    def logits(self, batch: PartsBatch) -> Tensor:
        """r of each view and each item that it is compared with, ``[B, c]``."""
        others = batch.others
        views = batch.views[:, None].expand_as(others)
        found: Tensor = self.model(views.flatten(0, 1), others.flatten(0, 1)).view(others.shape[:2])
        return found

    def validation_step(self, batch: Sequence[tuple[str, int]], batch_index: int) -> None:
        """Ranks the candidates of some queries."""
        for kind in dict.fromkeys(kind for kind, _ in batch):
            rows = [row for other, row in batch if other == kind]
            true, pyramids = self.queries[kind]
            asked = {kind: (true[rows], pyramids[rows])}
            ranks = rank_items(self.model, self.gallery, asked, self.config.candidates)
            self.found.update(torch.from_numpy(ranks.found("grnet", kind, 1)))

    def on_validation_epoch_end(self) -> None:
        """Logs the share of queries whose item is found first; torchmetrics gathers all ranks."""
        self.log("parts/valid_top1", self.found.compute(), prog_bar=True)
        self.found.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")


def listwise_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of every same item among itself and all others, ``[B, c]``; the mean over same items."""
    others = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    per_pair = F.softplus(others - logits)  # -log(e^r / (e^r + sum of e^others))
    return per_pair[same].mean()


def pairs_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of same or not, pair by pair; same and other pairs weigh alike."""
    per_pair = F.binary_cross_entropy_with_logits(logits, same.to(logits), reduction="none")
    return (per_pair[same].mean() + per_pair[~same].mean()) / 2
