"""Batches one task at a time for the multi-task network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.base import OutfitLoaders
from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT, RETRIEVAL, MultitaskConfig
from outfits.data.refinements import Refinements
from outfits.encoders.multitask.batch import MultitaskBatch
from outfits.encoders.multitask.tokens import Tokens
from outfits.encoders.packed import PackedImages
from outfits.errors import DataError
from outfits.graphs.sampling import FixedBatches

TASK_STREAM, ROW_STREAM, VALID_STREAM = 31, 32, 33  # first numbers of the seeds of what is drawn


@dataclass(frozen=True)
class MultitaskItems:
    """The items that are learned from.

    Attributes:
        images: of the whole catalogue, as the CLIP model takes them.
        image_ids: equal numbers for equal images, int64, shape ``[N]``.
        texts: of every item, may be empty.
        categories: int32, shape ``[N]``.
        items: catalogue positions of every split, all with an image.
        refinements: of every split; none without that task.
    """

    images: PackedImages
    image_ids: NDArray[np.int64]
    texts: Sequence[str]
    categories: NDArray[np.int32]
    items: Mapping[str, NDArray[np.int64]]
    refinements: Mapping[str, Refinements]

    def with_text(self, split: str) -> NDArray[np.int64]:
        """Items of a split that have a text."""
        items = self.items[split]
        return items[[bool(self.texts[item].strip()) for item in items.tolist()]]

    def size(self, task: str, split: str) -> int:
        """Number of samples of a task."""
        if task == REFINEMENT:
            return len(self.refinements[split])
        return len(self.items[split] if task == RECOGNITION else self.with_text(split))

    def require(self, tasks: Sequence[str], split: str) -> None:
        """Raises DataError if a task has fewer than two samples in a split."""
        for task in tasks:
            if self.size(task, split) < 2:
                raise DataError(
                    f"the {split} split has {self.size(task, split)} samples of the task {task}; leave it out of "
                    "multitask.tasks, or give the split more items"
                )


class BatchMaker:
    """Makes batches of rows of a task's samples in a split.

    Args:
        data: the items.
        tokens: the network's tokenizer.
        split: ``train``, ``valid`` or ``test``.
        text_dropout: share of recognition's texts that are left out in training.
    """

    def __init__(self, data: MultitaskItems, tokens: Tokens, split: str, text_dropout: float) -> None:
        self.data, self.tokens, self.split, self.text_dropout = data, tokens, split, text_dropout
        numbers: dict[str, int] = {}
        self.text_ids = np.array([numbers.setdefault(text, len(numbers)) for text in data.texts], dtype=np.int64)
        self.with_text = data.with_text(split)

    def __call__(self, task: str, rows: Sequence[int], rng: np.random.Generator) -> MultitaskBatch:
        """A batch of the samples at these places; what differs between epochs is drawn by ``rng``."""
        data = self.data
        nothing = torch.zeros(0, dtype=torch.int64)
        targets, labels, ids = torch.zeros(0, dtype=torch.uint8), nothing, nothing
        if task == REFINEMENT:
            drawn = [data.refinements[self.split].draw(row, rng) for row in rows]
            items, wanted = (np.array([one[part] for one in drawn]) for part in (0, 1))
            texts = [text for _, _, text in drawn]
            targets, ids = self._pixels(wanted), torch.from_numpy(data.image_ids[wanted])
        else:
            items = (data.items[self.split] if task == RECOGNITION else self.with_text)[np.asarray(rows)]
            texts = [data.texts[item] for item in items.tolist()]
        if task == RECOGNITION:
            left_out = rng.random(len(texts)) < self.text_dropout
            texts = ["" if without else text for text, without in zip(texts, left_out, strict=True)]
            labels = torch.from_numpy(data.categories[items].astype(np.int64))
        tokens = self.tokens(texts)
        if task == CAPTIONING:
            tokens = tokens[:, : int(tokens.argmax(1).max()) + 1]
            labels = self.tokens.next_words(tokens)
        if task == RETRIEVAL:
            ids = torch.from_numpy(data.image_ids[items])
        return MultitaskBatch(
            task, self._pixels(items), tokens, targets, labels, ids, torch.from_numpy(self.text_ids[items])
        )

    def _pixels(self, items: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.data.images.pixels[items]))


class TaskBatches(Dataset[MultitaskBatch]):
    """Training batches; which task a step has, and which samples a batch, depends on seed, epoch and place alone.

    A task is drawn with the probability of its share of all samples, the same on all ranks, since its parameters alone
    get gradients.
    """

    def __init__(self, make: BatchMaker, tasks: Sequence[str], batch_size: int, seed: int) -> None:
        self.make, self.tasks, self.batch_size, self.seed = make, tasks, batch_size, seed
        self.sizes = np.array([make.data.size(task, make.split) for task in tasks])

    def __len__(self) -> int:
        return int(-(-self.sizes.sum() // self.batch_size))

    def __getitem__(self, place: tuple[int, int, int]) -> MultitaskBatch:
        epoch, step, number = place
        chosen = np.random.default_rng([self.seed, TASK_STREAM, epoch, step])
        task = int(chosen.choice(len(self.tasks), p=self.sizes / self.sizes.sum()))
        rng = np.random.default_rng([self.seed, ROW_STREAM, epoch, number])
        count = min(self.batch_size, int(self.sizes[task]))
        rows = rng.choice(int(self.sizes[task]), count, replace=False)
        return self.make(self.tasks[task], rows.tolist(), rng)


class FixedTaskBatches(Dataset[MultitaskBatch]):
    """Evaluation batches: all samples of every task once."""

    def __init__(self, make: BatchMaker, tasks: Sequence[str], batch_size: int, seed: int) -> None:
        self.make, self.seed = make, seed
        self.places = [
            (task, list(range(start, min(start + batch_size, size))))
            for task in tasks
            for size in (make.data.size(task, make.split),)
            for start in range(0, size, batch_size)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> MultitaskBatch:
        task, rows = self.places[place]
        return self.make(task, rows, np.random.default_rng([self.seed, VALID_STREAM, place]))


class Steps(DistributedSampler[tuple[int, int, int]]):
    """Yields epoch, step and number of every training batch of a rank."""

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(range(size), world_size, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        for step in range(self.num_samples):
            yield self.epoch, step, step * self.num_replicas + self.rank


class MultitaskDataModule(OutfitLoaders):
    """Loads batches of the configured tasks.

    Args:
        data: the items.
        tokens: the network's tokenizer.
        config: tasks and batch size.
        num_workers: loader processes per rank.
        seed: of the draws.

    Raises:
        DataError: if a task has too few samples in a split.
    """

    samples_are = "sample of a task"

    def __init__(
        self, data: MultitaskItems, tokens: Tokens, config: MultitaskConfig, *, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__(config.batch_size, num_workers, seed)
        self.data, self.tokens, self.config = data, tokens, config

    def make_samples(self, split: str) -> TaskBatches | FixedTaskBatches:
        """Makes the batches of a split."""
        config = self.config
        self.data.require(config.tasks, split)
        make = BatchMaker(self.data, self.tokens, split, config.text_dropout)
        kind: Callable[..., Any] = TaskBatches if split == "train" else FixedTaskBatches
        found: TaskBatches | FixedTaskBatches = kind(make, config.tasks, self.batch_size, self.seed)
        return found

    def _loader(self, split: str) -> DataLoader[Any]:
        """Loads one split, whose samples are batches."""
        samples: Any = self.samples[split]
        ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(samples) < ranks[1]:
            raise DataError(
                f"{len(samples)} {split} batches cannot be shared among {ranks[1]} ranks; use fewer devices"
            )
        order: Steps | FixedBatches
        order = Steps(len(samples), self.seed, *ranks) if split == "train" else FixedBatches(len(samples), 1, *ranks)
        return DataLoader(
            samples,
            batch_size=None,
            sampler=order,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
