"""Trains complementary retrieval."""

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric

from datamodules.retrieval import RetrievalBatch
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.retrieval import RetrievalConfig
from outfits.data.catalogue import Catalogue
from outfits.metrics.retrieval import RECALL_AT, expected_hits
from outfits.models.losses import set_wise_ranking
from outfits.models.retrieval import RetrievalQuery


class RetrievalModule(L.LightningModule):
    """Trains a retriever to rank the item that was taken out of an outfit first among others.

    Args:
        catalogue: items with embeddings, the candidates of validation.
        build: makes the model, a :class:`outfits.models.retrieval.Retriever`.
        config: loss, conditions and optimiser; None: the defaults.
        name: prefix of logged metrics.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        build: Callable[[], nn.Module],
        config: RetrievalConfig | None = None,
        name: str = "retrieval",
    ) -> None:
        super().__init__()
        self.config = RetrievalConfig() if config is None else config
        self.model: Any = build()
        self.name = name
        self.categories = len(catalogue.category_names)
        self.catalogue = catalogue
        learned = self.config.loss == "listwise"
        self.log_temperature = nn.Parameter(torch.tensor(self.config.temperature).log(), requires_grad=learned)
        self.recall = MeanMetric()
        self._features: Tensor | None = None

    def training_step(self, batch: RetrievalBatch, batch_index: int) -> Tensor:
        """Ranks the wanted item among those drawn of its category and among the other outfits' wanted items.

        A query that knows no category has the other outfits' wanted items of all categories as wrong ones.
        """
        config, rows = self.config, len(batch.replaced)
        knows_category = torch.rand(rows, device=self.device) < config.category_share
        knows_text = torch.rand(rows, device=self.device) < config.text_share
        query, wanted = self._query(batch, knows_category, knows_text), batch.wanted
        candidates = torch.cat([wanted[:, None], batch.candidates, wanted.expand(rows, -1)], dim=1)  # [B, 1 + c + B]
        features = self.model.item_features(batch.vectors, batch.present)
        categories = batch.categories[candidates]
        scores = self.model.scores(query, features[candidates], categories) / self.log_temperature.exp()
        other = categories[:, 1:] != categories[:, :1]
        absent = other & knows_category[:, None]  # told the category, it never meets another one
        outfit = batch.sets[:, :1].masked_fill(batch.padding[:, None], -1)
        absent |= (candidates[:, 1:, None] == outfit).any(-1)  # the outfit's own items, the wanted one among them
        true, wrong = scores[:, 0], scores[:, 1:]
        if config.loss == "hinge":
            loss = set_wise_ranking(true, wrong, absent, config.margin)
        else:
            ranked = torch.cat([true[:, None], wrong.masked_fill(absent, -torch.inf)], dim=1)
            loss = F.cross_entropy(ranked, torch.zeros(rows, dtype=torch.long, device=self.device))
        self.log(f"{self.name}/train_loss", loss, prog_bar=True, batch_size=rows)
        return loss

    @torch.no_grad()
    def on_validation_epoch_start(self) -> None:
        """Computes the features of the whole catalogue."""
        items = self.catalogue.require_embeddings
        parts = [
            self.model.item_features(
                torch.from_numpy(np.array(items.vectors[start : start + 4096])).to(self.device),
                torch.from_numpy(np.array(items.present[start : start + 4096])).to(self.device),
            )
            for start in range(0, len(self.catalogue), 4096)
        ]
        self._features = torch.cat(parts)

    def validation_step(self, batch: RetrievalBatch, batch_index: int) -> None:
        """Updates the recall of the wanted item at the smallest depth, among all items of its category."""
        assert self._features is not None
        rows = len(batch.replaced)
        told = torch.ones(rows, dtype=torch.bool, device=self.device)
        query, wanted = self._query(batch, told, ~told), batch.wanted
        of_catalogue = torch.from_numpy(self.catalogue.categories.astype(np.int64)).to(self.device)
        for row in range(rows):
            own = batch.categories[wanted[row]]
            members = (of_catalogue == own).nonzero()[:, 0]
            asked = RetrievalQuery(*(part[row : row + 1] for part in vars(query).values()))
            scores = self.model.scores(asked, self._features[members][None], own.expand(1, len(members)))[0]
            given = batch.items[batch.sets[row, 0][~batch.not_given[row]]]
            scores = scores.masked_fill(torch.isin(members, given), -torch.inf)
            true = int((members == batch.items[wanted[row]]).nonzero())
            hits = expected_hits(scores.double().cpu().numpy()[None], np.array([true]), RECALL_AT[0])
            self.recall.update(float(hits[0]))

    def on_validation_epoch_end(self) -> None:
        """Logs the recall; torchmetrics gathers all ranks."""
        self.log(f"{self.name}/valid_recall", self.recall.compute(), prog_bar=True)
        self.recall.reset()
        self._features = None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")

    def _query(self, batch: RetrievalBatch, knows_category: Tensor, knows_text: Tensor) -> RetrievalQuery:
        """Queries without the wanted item, but for the category and text that they are told, bool, shape ``[B]``."""
        wanted, given = batch.wanted, batch.sets[:, 0]
        text_dim = self.catalogue.require_embeddings.text_dim
        own = F.one_hot(batch.categories[wanted], self.categories).bool()
        has_text = knows_text & batch.present[wanted, 1]
        texts = batch.vectors[wanted][:, batch.vectors.shape[1] - text_dim :]
        return RetrievalQuery(
            batch.vectors[given],
            batch.present[given],
            batch.categories[given],
            batch.not_given,
            own | ~knows_category[:, None],
            texts * has_text[:, None],
        )
