"""Trains the generator on what greedy search selected."""

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch_geometric.data import Batch

from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.model import LossConfig, ModelConfig, OptimizerConfig
from outfits.data.catalogue import Catalogue
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import build_generator
from outfits.models.losses import assignment_cost, best_assignment, cosine_distance_to_targets, listwise_distillation

EXPERIMENT_SHARE = 0.5  # of the batches ask all tasks for the experiment's k, the others for one drawn up to k_max
CATEGORY_DROP = 0.3  # of the missing items with a text lose their condition's category, since the text implies it


class GeneratorModule(L.LightningModule):
    """Trains a generator with cosine loss to the greedy targets and listwise distillation of S.

    Tasks with and without conditions may be mixed. Latent i answers condition i, so targets are assigned among the
    latents of equal conditions. Checkpoints leave out the catalogue's buffers: they are data, not weights.
    ``config.k`` is the number of missing items in validation and test. A ``scorer``, S, gives its tokens of the items,
    unless ``config.scorer_tokens`` is off.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        config: ModelConfig | None = None,
        loss: LossConfig | None = None,
        optimizer: OptimizerConfig | None = None,
        scorer: OutfitTransformer | None = None,
    ) -> None:
        super().__init__()
        items, config = catalogue.require_embeddings, ModelConfig() if config is None else config
        categories, scorer = len(catalogue.category_names), scorer if config.scorer_tokens else None
        self.model = build_generator(config, items, categories, scorer)
        self.k = config.k
        self.loss = LossConfig() if loss is None else loss
        self.optimizer_config = OptimizerConfig() if optimizer is None else optimizer
        # Only the listwise loss depends on it, and DDP refuses trainable parameters without a gradient.
        learned = self.loss.listwise_weight > 0
        self.log_temperature = nn.Parameter(torch.tensor(self.loss.latent_temperature).log(), requires_grad=learned)
        self.vectors: Tensor
        self.present: Tensor
        self.categories: Tensor
        self.register_buffer("vectors", torch.from_numpy(np.array(items.vectors)), persistent=False)
        self.register_buffer("present", torch.from_numpy(np.array(items.present)), persistent=False)
        self.register_buffer("categories", torch.from_numpy(catalogue.categories.astype(np.int64)), persistent=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mixes both losses as configured, under the configured assignment of latents to targets."""
        k = draw_k(self.k, self.model.config.k_max)
        if "condition_categories" in batch:
            batch.condition_categories = drop_categories(
                batch.condition_categories, batch.condition_texts, CATEGORY_DROP
            )
        losses = self.losses(self.model(batch, k), batch)
        for name, value in losses.items():
            self.log(f"generator/train_{name}", value, prog_bar=name == "loss", batch_size=batch.num_graphs)
        self.log("generator/latent_temperature", self.log_temperature.exp(), batch_size=batch.num_graphs)
        return losses["loss"]

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Returns the batch's latents, for :class:`callbacks.retrieval_evaluation.RetrievalEvaluation` to evaluate."""
        latents: Tensor = self.model(batch, self.k)
        return latents

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Returns the batch's latents, as in validation."""
        return self.validation_step(batch, batch_index)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and the configured schedule."""
        return adamw_with_warmup(self, self.optimizer_config, self.optimizer_config.schedule)

    def losses(self, latents: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Computes the loss of latents ``[B, k, r]``, its parts, and its means over tasks without and with conditions.

        Only the first k targets of a task count, and of these none that is -1.
        """
        k = latents.shape[1]
        target_id = batch.target_id[:, :k]
        present = target_id >= 0  # [B, k]
        targets = self._mapped(target_id.clamp(min=0))  # [B, k, r]
        distance = cosine_distance_to_targets(latents, targets)  # [B, k, k]
        if self.loss.assignment == "best":
            cost = assignment_cost(distance.detach(), present, _same_condition(batch, k))
            latent_of_target = best_assignment(cost)  # [B, k]
        else:
            latent_of_target = torch.arange(k, device=latents.device).expand(len(latents), -1)
        by_target = distance.gather(1, latent_of_target[:, None]).squeeze(1)  # [B, k]
        cosine = torch.where(present, by_target, 0.0).sum(-1)  # [B]
        losses = {"cosine_loss": cosine.mean()}
        loss = self.loss.cosine_weight * cosine
        if self.loss.listwise_weight > 0:
            matched = latents.gather(1, latent_of_target[:, :, None].expand_as(latents))  # [B, k, r], by step
            lists = torch.where(present, self._listwise(matched, batch), 0.0).sum(-1) / present.sum(-1)  # [B]
            losses["listwise_loss"] = lists.mean()
            loss = loss + self.loss.listwise_weight * lists
        conditions = _has_conditions(batch, k)
        apart = {"loss_free": loss[~conditions], "loss_conditioned": loss[conditions]}
        losses |= {name: tasks.mean().detach() for name, tasks in apart.items() if len(tasks)}
        return {"loss": loss.mean(), **losses}

    def _mapped(self, items: Tensor) -> Tensor:
        """Maps catalogue positions ``[...]`` to the retrieval space, shape ``[..., r]``."""
        return self.model.retrieval_vectors(self.vectors[items], self.present[items])

    def _listwise(self, latents: Tensor, batch: Batch) -> Tensor:
        """Distils the scores of each step's best candidates, with random items beside them; loss ``[B, k]``."""
        k = latents.shape[1]
        candidates, scores = batch.candidate_id[:, :k], batch.candidate_score[:, :k]  # [B, k, M]
        known = candidates >= 0
        target = scores.div(self.loss.target_temperature).masked_fill(~known, -torch.inf).softmax(-1)
        target = torch.where(known, target, 0.0)  # NaN in steps without a target, which have no candidates
        drawn = torch.randint(len(self.vectors), (self.loss.random_candidates,)).to(self.device)
        items, position = torch.unique(torch.cat([candidates.clamp(min=0).flatten(), drawn]), return_inverse=True)
        mapped = self._mapped(items)  # [U, r]
        queries = F.normalize(latents, dim=-1)
        cosines = queries @ mapped.T  # [B, k, U]: the batch shares most of its candidates
        listed = position[: candidates.numel()].view_as(candidates)  # [B, k, M]
        similarity = torch.cat([cosines.gather(-1, listed), cosines[..., position[candidates.numel() :]]], dim=-1)
        absent = torch.cat([~known, self._not_a_distractor(candidates, drawn, batch)], dim=-1)  # [B, k, M + R]
        target = F.pad(target, (0, len(drawn)))
        return listwise_distillation(similarity, target, self.log_temperature.exp(), absent)

    def _not_a_distractor(self, candidates: Tensor, drawn: Tensor, batch: Batch) -> Tensor:
        """Marks random items that a list already holds, or that rule or conditions forbid, bool ``[B, k, R]``."""
        listed = (candidates[..., None, :] == drawn[:, None]).any(-1)
        same_category = batch.category[:, None] == self.categories[drawn]  # [V, R]
        forbidden = listed | _any_of_graph(same_category, batch.batch, batch.num_graphs)[:, None]
        if "condition_categories" in batch:
            forbidden = forbidden | ~batch.condition_categories[:, : candidates.shape[1], self.categories[drawn]]
        return forbidden


def draw_k(k: int, k_max: int) -> int:
    """Draws the number of missing items of a training batch: k for half of the batches, else any of 1…k_max."""
    share, other = torch.rand(()), torch.randint(1, k_max + 1, ())
    return k if share < EXPERIMENT_SHARE else int(other)


def drop_categories(allowed: Tensor, texts: Tensor, share: float) -> Tensor:
    """Lets a share of the missing items with a text have any category.

    ``allowed`` marks categories of each missing item, bool, shape ``[B, k, C]``; ``texts`` have ``[B, k, text_dim]``.
    """
    dropped = texts.any(-1) & (torch.rand(allowed.shape[:2]) < share).to(allowed.device)
    return allowed | dropped[..., None]


def _same_condition(batch: Batch, k: int) -> Tensor:
    """Marks pairs of the first k missing items with the same condition, bool, shape ``[B, k, k]``."""
    if "condition_categories" not in batch:
        return torch.ones(batch.num_graphs, k, k, dtype=torch.bool, device=batch.x.device)
    allowed, texts = batch.condition_categories[:, :k], batch.condition_texts[:, :k]
    same: Tensor = (allowed[:, :, None] == allowed[:, None]).all(-1)
    same &= (texts[:, :, None] == texts[:, None]).all(-1)
    return same


def _has_conditions(batch: Batch, k: int) -> Tensor:
    """Marks tasks with a condition for one of their first k missing items, bool, shape ``[B]``."""
    if "condition_categories" not in batch:
        return torch.zeros(batch.num_graphs, dtype=torch.bool, device=batch.x.device)
    conditions: Tensor = ~batch.condition_categories[:, :k].all(-1) | batch.condition_texts[:, :k].any(-1)
    return conditions.any(-1)


def _any_of_graph(flags: Tensor, graph_of_node: Tensor, graphs: int) -> Tensor:
    """Marks graphs with a flag on any node: ``[V, R]`` bool to ``[B, R]`` bool."""
    counts = torch.zeros(graphs, flags.shape[1], device=flags.device)
    return counts.index_add(0, graph_of_node, flags.to(counts.dtype)) > 0
