"""Trains the compatibility model S."""

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import SpearmanCorrCoef
from torchmetrics.classification import BinaryAUROC

from datamodules.compatibility import CompatibilityBatch
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.scorer import ScorerConfig
from outfits.data.catalogue import Catalogue
from outfits.models.compatibility import OutfitTransformer
from outfits.models.losses import focal_loss, given_score_loss

SIZE_GROUPS = 4  # of the sets of a batch, on CPUs


class CompatibilityModule(L.LightningModule):
    """Trains an :class:`OutfitTransformer` on outfits and their negatives.

    The catalogue has embeddings; ``name``, ``scorer`` or ``judge``, is the prefix of the logged metrics.
    """

    def __init__(self, catalogue: Catalogue, config: ScorerConfig | None = None, name: str = "scorer") -> None:
        super().__init__()
        self.config = ScorerConfig() if config is None else config
        items = catalogue.require_embeddings
        self.model = OutfitTransformer(self.config, items.image_dim, items.text_dim)
        self.name = name
        self.auc = BinaryAUROC()
        self.spearman = SpearmanCorrCoef()

    def training_step(self, batch: CompatibilityBatch, batch_index: int) -> Tensor:
        """Computes focal loss over positives and negatives, plus the configured set-wise ranking loss.

        The ranking loss scores every candidate anyway, so its candidates serve as negatives of the focal loss too; each
        class is averaged by itself, whatever the number of negatives. Where outfits have given scores, S is fitted to
        these instead of to 1, and there is no ranking loss: the true item need not be a good one.
        """
        config, scored = self.config, bool(batch.scores.isfinite().all())
        tokens = self.model.tokens(batch.vectors, batch.present)  # [U, width]
        sets = self._with_hard_negatives(tokens, batch)
        logits = self._logits(tokens, sets, batch.padding)  # [B, 1 + P]
        true, wrong = logits[:, :1], logits[:, 1:]
        ranking = None
        if config.ranking_weight > 0 and not scored:
            rivals = self._logits(tokens, batch.with_candidates(), batch.padding)  # [B, c]
            ranking = F.cross_entropy(torch.cat([true, rivals], dim=1), batch.sets.new_zeros(len(true)))
            wrong = torch.cat([wrong, rivals], dim=1)
        if scored:
            loss = given_score_loss(true[:, 0], batch.scores, config.score_loss)
            self.log(f"{self.name}/{config.score_loss}", loss, batch_size=len(true))
        else:
            loss = focal_loss(true, torch.ones_like(true), config.focal_alpha, config.focal_gamma)
        if wrong.numel():
            loss = loss + focal_loss(wrong, torch.zeros_like(wrong), config.focal_alpha, config.focal_gamma)
        if not scored:
            self.log(f"{self.name}/focal_loss", loss, batch_size=len(true))
        if (raised := self._raised_by_copies(tokens, sets, logits, batch)) is not None:
            self.log(f"{self.name}/copy_loss", raised, batch_size=len(true))
            loss = loss + config.copy_weight * raised
        if ranking is not None:
            self.log(f"{self.name}/ranking_loss", ranking, batch_size=len(true))
            loss = loss + config.ranking_weight * ranking
        self.log(f"{self.name}/train_loss", loss, prog_bar=True, batch_size=len(true))
        return loss

    def validation_step(self, batch: CompatibilityBatch, batch_index: int) -> None:
        """Updates the AUC, with one item replaced by another of its category, over the whole split on every rank.

        Where outfits have given scores, also their rank correlation with S.
        """
        tokens = self.model.tokens(batch.vectors, batch.present)
        logits = self._logits(tokens, batch.sets[:, :2], batch.padding)  # [B, 2]: the outfit and one negative
        labels = torch.zeros_like(logits, dtype=torch.long)
        labels[:, 0] = 1
        # as probabilities: the metric itself would take the sigmoid only of batches with a logit outside [0, 1]
        self.auc.update(logits.flatten().double().sigmoid(), labels.flatten())
        if bool(batch.scores.isfinite().all()):
            self.spearman.update(logits[:, 0], batch.scores)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics; torchmetrics gathers logits of all ranks, and no sample was repeated to fill them up."""
        for name, metric in (("auc", self.auc), ("spearman", self.spearman)):
            if metric.update_called:
                self.log(f"{self.name}/valid_{name}", metric.compute(), prog_bar=True)
                metric.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay."""
        return adamw_with_warmup(self, self.config, "cosine")

    def _logits(self, tokens: Tensor, sets: Tensor, padding: Tensor) -> Tensor:
        """Computes logits ``[B, s]`` of sets ``[B, s, n]`` whose padding ``[B, n]`` is at the end.

        A CPU pays for padding what it pays for items, so there sets of like sizes are taken together.
        """
        sizes = (~padding).sum(1)
        order = sizes.argsort()
        found = []
        for rows in order.tensor_split(min(SIZE_GROUPS, len(order)) if tokens.device.type == "cpu" else 1):
            n, count = int(sizes[rows].max()), sets.shape[1]
            items = tokens[sets[rows, :, :n].flatten(0, 1)]  # [b s, n, width]
            own = padding[rows, None, :n].expand(-1, count, -1).flatten(0, 1)
            found.append(self.model.forward_tokens(items, own).view(-1, count))
        return torch.cat(found)[order.argsort()]

    def _raised_by_copies(
        self, tokens: Tensor, sets: Tensor, logits: Tensor, batch: CompatibilityBatch
    ) -> Tensor | None:
        """Computes the mean hinge of the logit of a set with a near-copy over that without; None without any.

        Sets weigh by their S: of one that is no outfit it does not matter what a copy makes. Their own logits are held
        fixed, so that the loss teaches what a copy does and nothing about the set.
        """
        rows = (batch.copies >= 0).nonzero().squeeze(1)
        if not len(rows):
            return None
        copied = batch.copied[rows]
        with_copy = torch.cat([batch.copies[rows, None], sets[rows, copied]], dim=1)[:, None]  # [b, 1, 1 + n]
        raised = self._logits(tokens, with_copy, F.pad(batch.padding[rows], (1, 0), value=False)).squeeze(1)
        own = logits[rows, copied].detach()
        return (torch.sigmoid(own) * F.relu(raised - own + self.config.copy_margin)).mean()

    @torch.no_grad()
    def _with_hard_negatives(self, tokens: Tensor, batch: CompatibilityBatch) -> Tensor:
        """Overwrites the hard rows of the negatives with the candidate of the highest logit at present."""
        if not batch.hard.any():
            return batch.sets
        rows = batch.hard.any(dim=1).nonzero().squeeze(1)
        rivals = batch.with_candidates()[rows]  # [R, c, n]
        training = self.model.training
        self.model.eval()
        favourite = self._logits(tokens.detach(), rivals, batch.padding[rows]).argmax(dim=1)
        self.model.train(training)
        hardest = rivals[torch.arange(len(rows), device=rows.device), favourite]  # [R, n]
        sets = batch.sets.clone()
        negatives = sets[rows, 1:]  # [R, P, n]
        sets[rows, 1:] = torch.where(batch.hard[rows][:, :, None], hardest[:, None], negatives)
        return sets
