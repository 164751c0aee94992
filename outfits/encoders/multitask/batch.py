"""A batch of one task, and the objective that a multi-task network has for it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT, RETRIEVAL
from outfits.encoders.multitask.losses import (
    IGNORED,
    alike,
    contrasts,
    info_nce,
    soft_cross_entropy,
    symmetric_info_nce,
    word_loss,
)
from outfits.encoders.multitask.network import MultitaskNetwork

SMALLEST_CROP = 0.8  # share of an image's side


@dataclass(frozen=True)
class MultitaskBatch:
    """Samples of one task.

    Attributes:
        task: one of :data:`outfits.config.schema.multitask.TASKS`.
        images: 8-bit pixels, shape ``[B, S, S, 3]``; of refinement the references.
        tokens: shape ``[B, L]``; a text may have no word.
        targets: of refinement, pixels of what is meant, like ``images``; else without rows.
        labels: of recognition the categories ``[B]``, of captioning the next words ``[B, L - 1]``; else without rows.
        ids: of retrieval and refinement, equal numbers for equal (target) images, shape ``[B]``.
        text_ids: of retrieval, equal numbers for equal texts, shape ``[B]``.
    """

    task: str
    images: Tensor
    tokens: Tensor
    targets: Tensor
    labels: Tensor
    ids: Tensor
    text_ids: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "MultitaskBatch":
        """Moves the batch to another device (Lightning calls it)."""
        moved = {part.name: getattr(self, part.name).to(device) for part in fields(self) if part.name != "task"}
        return replace(self, **moved)


@dataclass(frozen=True)
class Objective:
    """What a network makes of a batch.

    Attributes:
        loss: of the task.
        logits: what a teacher's are compared with, ``[rows, choices]`` each.
        right: share of samples, or words, whose true choice has the largest logit.
    """

    loss: Tensor
    logits: Sequence[Tensor]
    right: Tensor


def objective(network: MultitaskNetwork, batch: MultitaskBatch, augment: bool = False) -> Objective:
    """Loss and logits of the batch's task; ``augment`` mirrors and crops the images at random."""
    images, tokens = pixels_of(network, batch.images, augment), batch.tokens
    here = torch.arange(len(batch), device=images.device)
    if batch.task == RETRIEVAL:
        task = network.task_or_none(RETRIEVAL)
        seen, said = network.image_vectors(images, task), network.text_vectors(tokens, task)
        same = alike(batch.ids) | alike(batch.text_ids)
        scale = network.scale(RETRIEVAL)
        both = [contrasts(seen, said, scale, same), contrasts(said, seen, scale, same.T)]
        right = sum((logits.argmax(1) == here).float().mean() for logits in both) / 2
        return Objective(symmetric_info_nce(seen, said, scale, same), both, torch.as_tensor(right))
    if batch.task == REFINEMENT:
        queries = network.refined(images, tokens)
        targets = network.image_vectors(pixels_of(network, batch.targets, augment), REFINEMENT)
        same, scale = alike(batch.ids), network.scale(REFINEMENT)
        logits = contrasts(queries, targets, scale, same)
        return Objective(info_nce(queries, targets, scale, same), [logits], (logits.argmax(1) == here).float().mean())
    if batch.task == RECOGNITION:
        logits = network.class_logits(images, tokens)
        right = (logits.argmax(1) == batch.labels).float().mean()
        return Objective(F.cross_entropy(logits, batch.labels), [logits], right)
    assert batch.task == CAPTIONING
    words = network.word_logits(network.memory(images), tokens[:, :-1])
    there = batch.labels != IGNORED
    right = (words.argmax(-1) == batch.labels)[there].float().mean()
    return Objective(word_loss(words, batch.labels), [words[there]], right)


def distilled(student: Objective, teacher: Objective) -> Tensor:
    """Mean soft cross-entropy of the student's logits under the teacher's."""
    pairs = zip(student.logits, teacher.logits, strict=True)
    return torch.stack([soft_cross_entropy(own, other.detach()) for own, other in pairs]).mean()


def pixels_of(network: MultitaskNetwork, pixels: Tensor, augment: bool = False) -> Tensor:
    """Images ``[B, 3, S, S]`` as the network takes them, from 8-bit pixels ``[B, S, S, 3]``."""
    images = pixels.permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(part, device=images.device)[:, None, None] for part in network.normalisation)
    images = (images - mean) / std
    return _cropped(images) if augment else images


def _cropped(images: Tensor) -> Tensor:
    """Mirrors images at random and crops them to 80 to 100 percent of their sides."""
    count = len(images)
    side = SMALLEST_CROP + (1 - SMALLEST_CROP) * torch.rand(count)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = side * (1.0 - 2.0 * torch.randint(0, 2, (count,)))
    theta[:, 1, 1] = side
    theta[:, :, 2] = (2 * torch.rand(count, 2) - 1) * (1 - side)[:, None]
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
