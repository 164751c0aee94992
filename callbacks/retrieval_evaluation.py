"""Evaluates a generator: finds the nearest real items by FAISS and scores them by the frozen S."""

from collections.abc import Sequence
from typing import Any, cast

import lightning as L
import numpy as np
import torch
import wandb
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch

from callbacks.loggers import log_to_boards
from datamodules.completion import CompletionDataModule
from outfits.completion.context import MethodContext
from outfits.completion.from_latents.completion import complete_from_latents, latent_ranks
from outfits.config.schema.targets import TargetsConfig
from outfits.data.category_rule import forbidden_categories
from outfits.graphs.completion_graph import CompletionGraphs
from outfits.metrics.completion import RECALL_AT, distinct_share, recall_at
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator


class RetrievalEvaluation(Callback):
    """Completes the validation or test outfits from the generator's latents and logs metrics of the completions.

    Latents of all ranks are gathered by task id, repetitions dropped, and every rank computes the metrics from all of
    them in the same order, so they do not depend on the number of ranks. Nearest items are found exactly, whatever
    ``index.kind`` is, so that the choice of the best epoch does not depend on it.

    Args:
        data: the tasks that the trainer validates or tests, and their catalogue.
        scorer: frozen S in evaluation mode.
        search: arithmetic and block size of S; None: the defaults.
    """

    def __init__(
        self, data: CompletionDataModule, scorer: OutfitTransformer, search: TargetsConfig | None = None
    ) -> None:
        self.data = data
        self.catalogue = data.dataset.catalogue
        self.scorer = scorer
        self.search = TargetsConfig() if search is None else search
        self._collected: list[tuple[NDArray[np.int64], Tensor]] = []

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Keeps the batch's latents."""
        self._collected.append((batch.task_id.cpu().numpy(), outputs.float().cpu()))

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Keeps the batch's latents."""
        self._collected.append((batch.task_id.cpu().numpy(), outputs.float().cpu()))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the metrics under ``valid/``."""
        self._evaluate("valid", trainer, pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the metrics under ``test/``."""
        self._evaluate("test", trainer, pl_module)

    def _evaluate(self, split: str, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        task_ids, latents = gather_by_id(self._collected)
        self._collected = []
        graphs, model = cast(CompletionGraphs, self.data.samples[split]), cast(Generator, pl_module.model)
        metrics, scores = self.metrics(graphs, task_ids, latents, model, pl_module.device)
        for name, value in metrics.items():
            pl_module.log(f"{split}/{name}", value, prog_bar=name == "score_mean", rank_zero_only=False)
        log_to_boards(
            trainer.loggers,
            lambda board: board.log({f"{split}/scores": wandb.Histogram(scores.tolist())}, commit=False),
        )

    def metrics(
        self,
        graphs: CompletionGraphs,
        task_ids: NDArray[np.int64],
        latents: Tensor,
        model: Generator,
        device: torch.device,
    ) -> tuple[dict[str, float], NDArray[np.float64]]:
        """Computes metrics of some tasks and S of their completions.

        Args:
            graphs: the split's tasks.
            task_ids: tasks that were completed, shape ``[B]``.
            latents: their latents, shape ``[B, k, r]``.
            model: the generator, for its retrieval space.
            device: device of index and S.
        """
        given = [graphs.given[task] for task in task_ids]
        removed = graphs.removed[task_ids]
        context = MethodContext(self.catalogue, self.scorer, generator=model, search=self.search, device=device)
        index = context.index
        forbidden = forbidden_categories(given, index.categories, index.num_categories)
        chosen = complete_from_latents(latents, index, forbidden)
        completed = [np.concatenate([items, added]) for items, added in zip(given, chosen, strict=True)]
        scores = context.scorer.ragged_logits(completed).double().sigmoid().cpu().numpy()
        targets = graphs.targets
        wanted = removed if targets is None else np.concatenate([removed, targets.chosen[task_ids]], axis=1)
        ranks = latent_ranks(latents, index, forbidden, wanted)
        metrics = {
            "score_mean": float(scores.mean()),
            "distinct_share": distinct_share(chosen),
            **_recall("removed_recall", ranks[:, : removed.shape[1]]),
        }
        if targets is not None:
            greedy = 1 / (1 + np.exp(-targets.scores[task_ids]))
            metrics["ratio_to_greedy"] = metrics["score_mean"] / float(greedy.mean())
            metrics |= _recall("target_recall", ranks[:, removed.shape[1] :])
        return metrics, scores


def gather_by_id(parts: Sequence[tuple[NDArray[np.int64], Tensor]]) -> tuple[NDArray[np.int64], Tensor]:
    """Gathers rows of all ranks, one per id, sorted by id; ``parts`` are a rank's ids ``[b]`` and rows ``[b, …]``."""
    everything = list(parts)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gathered: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, everything)
        everything = [part for rank in gathered for part in rank]
    ids, first = np.unique(np.concatenate([part[0] for part in everything]), return_index=True)
    return ids, torch.cat([part[1] for part in everything])[torch.from_numpy(first)]


def _recall(name: str, ranks: NDArray[np.int64]) -> dict[str, float]:
    return {f"{name}@{n}": recall_at(ranks, n) for n in RECALL_AT}
