"""Trains the multi-task network."""

from collections.abc import Callable, Iterable, Mapping

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lightning_modules.companions import Companion, WithCompanions
from lightning_modules.optim import adamw_with_warmup
from outfits.config.schema.multitask import MultitaskConfig
from outfits.encoders.multitask.batch import MultitaskBatch, distilled, objective
from outfits.encoders.multitask.network import MultitaskNetwork


class MultitaskModule(WithCompanions):
    """Trains a network on batches of one task each, and by what networks for that task alone make of them.

    Args:
        build: makes the network.
        config: tasks, optimiser and what of the backbone is trained.
        name: prefix of logged metrics.
        teachers: frozen networks by task; none without distillation.
    """

    unused_parameters = True  # those of the tasks that a batch is not of

    def __init__(
        self,
        build: Callable[[], MultitaskNetwork],
        config: MultitaskConfig,
        name: str = "multitask",
        teachers: Mapping[str, MultitaskNetwork] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.model = build()
        self.model.clip.requires_grad_(config.backbone == "trained")
        for scale in getattr(self.model.clip, "logit_scale", None), getattr(self.model.clip, "logit_bias", None):
            if scale is not None:
                scale.requires_grad_(False)  # every task has its own
        self.teachers = (dict(teachers or {}),)  # in a tuple, since checkpoints hold every network that is an attribute
        self.right = nn.ModuleDict({task: MeanMetric() for task in config.tasks})

    def companions(self) -> Iterable[Companion]:
        """The teachers."""
        return self.teachers[0].values()

    def training_step(self, batch: MultitaskBatch, batch_index: int) -> Tensor:
        """Computes the loss of the batch's task, and what its teacher adds."""
        state = torch.get_rng_state()
        found = objective(self.model, batch, self.config.augment)
        loss = found.loss
        if batch.task in self.teachers[0]:
            torch.set_rng_state(state)  # the teacher sees the same crops
            with torch.no_grad():
                taught = objective(self.teachers[0][batch.task], batch, self.config.augment)
            loss = loss + self.config.distil * distilled(found, taught)
        self.log(f"{self.name}/train_{batch.task}", found.loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: MultitaskBatch, batch_index: int) -> None:
        """Counts right choices: within the batch for the contrastive tasks, of words for captioning."""
        metric = self.right[batch.task]
        assert isinstance(metric, MeanMetric)
        metric.update(objective(self.model, batch).right, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the share of right choices of every task and their mean; torchmetrics adds up all ranks."""
        shares = []
        for task, metric in self.right.items():
            assert isinstance(metric, MeanMetric)
            shares.append(metric.compute())
            self.log(f"{self.name}/valid_{task}", shares[-1])
            metric.reset()
        self.log(f"{self.name}/valid_score", torch.stack(shares).mean(), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds AdamW with warm-up and cosine decay, slower for the backbone beside adapters."""
        slow = list(self.model.clip.parameters()) if self.model.config.tasks else []
        return adamw_with_warmup(self, self.config, "cosine", slow=slow, factor=self.config.backbone_lr)
