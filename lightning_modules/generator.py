"""Training of the generator on what greedy search selected."""

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch_geometric.data import Batch

from lightning_modules.optimisation import adamw_with_warmup
from outfits.config.schema import LossConfig, OptimizerConfig
from outfits.models.generator import Generator, GeneratorSettings
from outfits.models.losses import best_assignment, cosine_distance_to_targets, listwise_distillation


class GeneratorModule(L.LightningModule):
    """Trains a :class:`Generator` with cosine loss to the greedy targets and listwise distillation of S.

    The catalogue is held in plain buffers that are not written into checkpoints: it is data, not weights.

    Args:
        settings: what the network is built from.
        loss: weights and temperatures of the losses.
        optimizer: learning rate and schedule.
        vectors: catalogue embeddings, shape ``[N, d]``.
        categories: category of every catalogue item, int64, shape ``[N]``.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        loss: LossConfig,
        optimizer: OptimizerConfig,
        vectors: Tensor,
        categories: Tensor,
    ) -> None:
        super().__init__()
        self.model = Generator(**settings)
        # Without the listwise loss nothing depends on it, and DDP refuses trainable parameters without a gradient.
        learned = loss.listwise_weight > 0
        self.log_temperature = nn.Parameter(torch.tensor(loss.latent_temperature).log(), requires_grad=learned)
        self.loss = loss
        self.optimizer_config = optimizer
        self.vectors: Tensor
        self.categories: Tensor
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("categories", categories, persistent=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The configured mixture of both losses under the configured assignment of latents to targets."""
        losses = self._losses(self.model(batch), batch)
        for name, value in losses.items():
            self.log(f"generator/train_{name}", value, prog_bar=name == "loss", batch_size=batch.num_graphs)
        self.log("generator/latent_temperature", self.log_temperature.exp(), batch_size=batch.num_graphs)
        return losses["loss"]

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Latents of the batch, for :class:`callbacks.retrieval_evaluation.RetrievalEvaluation` to judge."""
        latents: Tensor = self.model(batch)
        return latents

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """As in validation."""
        return self.validation_step(batch, batch_index)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and the configured schedule."""
        config = self.optimizer_config
        return adamw_with_warmup(
            self.parameters(),
            lr=config.lr,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            schedule=config.schedule,
            total_steps=int(self.trainer.estimated_stepping_batches),
        )

    def _losses(self, latents: Tensor, batch: Batch) -> dict[str, Tensor]:
        targets = self.model.retrieval_vectors(self.vectors[batch.target_id])  # [B, k, r]
        distance = cosine_distance_to_targets(latents, targets)  # [B, k, k]
        if self.loss.assignment == "best":
            latent_of_target = best_assignment(distance.detach())  # [B, k]
        else:
            latent_of_target = torch.arange(latents.shape[1], device=latents.device).expand(len(latents), -1)
        losses = {"cosine_loss": distance.gather(1, latent_of_target[:, None]).sum(-1).mean()}
        loss = self.loss.cosine_weight * losses["cosine_loss"]
        if self.loss.listwise_weight > 0:
            matched = latents.gather(1, latent_of_target[:, :, None].expand_as(latents))  # [B, k, r], by step
            losses["listwise_loss"] = self._listwise(matched, batch)
            loss = loss + self.loss.listwise_weight * losses["listwise_loss"]
        return {"loss": loss, **losses}

    def _listwise(self, latents: Tensor, batch: Batch) -> Tensor:
        """Distils the scorer's distribution over each step's best candidates, with random items beside them."""
        candidates, scores = batch.candidate_id, batch.candidate_score  # [B, k, M]
        known = candidates >= 0
        target = torch.sigmoid(scores).div(self.loss.target_temperature).masked_fill(~known, -torch.inf).softmax(-1)
        drawn = torch.randint(len(self.vectors), (self.loss.random_candidates,)).to(self.device)
        items, position = torch.unique(torch.cat([candidates.clamp(min=0).flatten(), drawn]), return_inverse=True)
        mapped = self.model.retrieval_vectors(self.vectors[items])  # [U, r]
        queries = F.normalize(latents, dim=-1)
        cosines = queries @ mapped.T  # [B, k, U]: the batch shares most of its candidates
        listed = position[: candidates.numel()].view_as(candidates)  # [B, k, M]
        similarity = torch.cat([cosines.gather(-1, listed), cosines[..., position[candidates.numel() :]]], dim=-1)
        absent = torch.cat([~known, self._not_a_distractor(candidates, drawn, batch)], dim=-1)  # [B, k, M + R]
        target = F.pad(target, (0, len(drawn)))
        return listwise_distillation(similarity, target, self.log_temperature.exp(), absent)

    def _not_a_distractor(self, candidates: Tensor, drawn: Tensor, batch: Batch) -> Tensor:
        """Random items that a list holds already or that the category rule forbids anyway, bool ``[B, k, R]``."""
        listed = (candidates[..., None, :] == drawn[:, None]).any(-1)
        same_category = batch.category[:, None] == self.categories[drawn]  # [V, R]
        return listed | _any_of_graph(same_category, batch.batch, batch.num_graphs)[:, None]


def _any_of_graph(flags: Tensor, graph_of_node: Tensor, graphs: int) -> Tensor:
    """Whether any node of a graph has the flag: ``[V, R]`` bool to ``[B, R]`` bool."""
    counts = torch.zeros(graphs, flags.shape[1], device=flags.device)
    return counts.index_add(0, graph_of_node, flags.to(counts.dtype)) > 0
