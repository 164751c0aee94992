"""Trains recommenders of outfits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torchmetrics import MeanMetric

from datamodules.personal import PersonalBatch
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.personal import PersonalConfig
from outfits.data.users import UserOutfits
from outfits.metrics.personal import rank_outfits
from outfits.models.hfgn import Hfgn


class PersonalModule(L.LightningModule):
    """Trains a recommender to prefer what users like; HFGN learns at once to tell outfits from random items.

    Args:
        graph: of :func:`outfits.graphs.user_graph.user_graph`.
        users: what they like.
        build: makes the model, a :class:`outfits.models.recommenders.Recommender`.
        config: loss and optimiser.
        name: prefix of logged metrics.
    """

    def __init__(
        self,
        graph: HeteroData,
        users: UserOutfits,
        build: Callable[[], nn.Module],
        config: PersonalConfig,
        name: str = "personal",
    ) -> None:
        super().__init__()
        self.graph = graph
        self.config = config
        self.name = name
        self.model: Any = build()
        self.wanted, self.known = users.matrix("valid"), users.matrix("train")
        self.log_scale = nn.Parameter(torch.tensor(config.scale).log())
        self.ndcg = MeanMetric()
        self._vectors: tuple[Any, Any] | None = None

    def on_fit_start(self) -> None:
        """Copies the graph to the device."""
        self.graph = self.graph.clone().to(self.device)

    def training_step(self, batch: PersonalBatch, batch_index: int) -> Tensor:
        """Prefers liked outfits to all others of the batch, and outfits to random sets of items."""
        scores = self.model.training_scores(self.graph, batch.users, batch.outfits) * self.log_scale.exp()
        liked, others = scores.diagonal()[:, None], scores.masked_fill(batch.liked, -torch.inf)
        if self.config.loss == "bpr":
            loss = F.softplus(others - liked).sum() / (~batch.liked).sum().clamp(min=1)
        else:
            loss = (torch.cat([liked, others], dim=1).logsumexp(1) - liked[:, 0]).mean()
        if batch.sets is not None and isinstance(self.model, Hfgn):
            members = self.model.members(self.model.items(self.graph), batch.sets)
            real, random = self.model.compatibility(members, batch.sets).chunk(2)
            loss = loss + self.config.compatibility_weight * F.softplus(random - real).mean()
        self.log(f"{self.name}/train_loss", loss, prog_bar=True, batch_size=len(batch.users))
        return loss

    @torch.no_grad()
    def on_validation_epoch_start(self) -> None:
        """Computes users and outfits."""
        self._vectors = tuple(part.float().cpu().numpy() for part in self.model.vectors(self.graph))

    def validation_step(self, batch: Tensor, batch_index: int) -> None:
        """Ranks all outfits but those of training for the users of a batch."""
        assert self._vectors is not None
        ranking = rank_outfits(*self._vectors, self.wanted, self.known, 0, batch.cpu().numpy())
        self.ndcg.update(torch.from_numpy(ranking.values()["ndcg@10"]))

    def on_validation_epoch_end(self) -> None:
        """Logs the true NDCG@10; torchmetrics gathers all ranks."""
        self.log(f"{self.name}/valid_ndcg", self.ndcg.compute(), prog_bar=True)
        self.ndcg.reset()
        self._vectors = None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        config = self.config if isinstance(self.model, Hfgn) else replace(self.config, lr=self.config.peer_lr)
        return adamw_with_warmup(self, config, "cosine")
