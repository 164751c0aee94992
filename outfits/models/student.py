r"""The student: two towers that guess what S would say of an addition, so that a whole catalogue can be ranked at once.

S reads outfit and candidate together, one call for each pair. The student reads them apart, and its guess is an inner
product, :math:`\mathrm{logit}\,S(O \cup \{x\}) \approx g(O) \cdot h(x) + b(O)`. S itself is asked about the best few.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.targets import StudentArchitecture
from outfits.weights import Network

BATCH = 32  # outfits per optimiser step
CLIP = 1.0  # largest norm of a gradient
TEMPERATURE = 0.5  # of the softmax over logits: below 1 it looks at the best few, which a shortlist must hold
WARMUP = 0.1  # share of the steps with rising learning rate


class TwoTower(Network[StudentArchitecture]):
    r"""Guesses logits of S for additions, :math:`g(O) \cdot h(x) + b(O)`.

    :math:`h` reads the item's token as S projects it; :math:`g` and :math:`b` read what S itself makes of the outfit,
    its task token's output. Neither is normalised: an item that S likes beside anything may be long.

    Args:
        config: the architecture, or the section ``targets.two_stage`` that has it.
        token_width: width of S's tokens.
    """

    def __init__(self, config: StudentArchitecture, token_width: int) -> None:
        super().__init__(StudentArchitecture, config, token_width=token_width)
        self.item_tower = _tower(token_width, config.hidden, config.width + 1)
        self.outfit_tower = _tower(token_width, config.hidden, config.width)
        self.offset = nn.Sequential(nn.LayerNorm(token_width), nn.Linear(token_width, 1))

    def items(self, tokens: Tensor) -> Tensor:
        """Vectors ``[..., width + 1]`` of items from their tokens ``[..., token_width]``."""
        vectors: Tensor = self.item_tower(tokens)
        return vectors

    def outfits(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``[B, width + 1]`` and offsets ``[B]`` of outfits from S's embeddings of them ``[B, token_width]``.

        The last entry of a vector is 1: what stands there in an item's vector counts beside any outfit.
        """
        vectors = self.outfit_tower(embeddings) * self.config.width**-0.5
        return F.pad(vectors, (0, 1), value=1.0), self.offset(embeddings).squeeze(-1)


class TeacherScores(NamedTuple):
    """What S said of some additions to ``n`` outfits.

    Attributes:
        embeddings: S's embeddings of the outfits, float32, shape ``[n, token_width]``.
        candidates: catalogue positions, int64, shape ``[n, m]``, padded with -1.
        logits: logits of S of the additions, float32, shape ``[n, m]``, ``-inf`` where there is no candidate.
    """

    embeddings: Tensor
    candidates: Tensor
    logits: Tensor


def distil(
    student: TwoTower, tokens: Tensor, teacher_scores: TeacherScores, *, steps: int, lr: float, seed: int
) -> None:
    r"""Trains a student towards S, in place.

    The loss of an outfit is :math:`\mathrm{KL}(\mathrm{softmax}(\mathrm{logit}\,S / T) \,\|\,
    \mathrm{softmax}(g \cdot h / T))` over its candidates. A softmax does not see the offset, so that has a loss of its
    own, :math:`(\sigma(g \cdot h + b) - S)^2`, whose gradient moves :math:`b` alone.

    Args:
        student: on the device of ``tokens``; left in evaluation mode.
        tokens: tokens of the catalogue's items, shape ``[N, token_width]``.
        teacher_scores: what S said, on the same device.
        steps: optimiser steps (AdamW, rising and then falling learning rate).
        lr: peak learning rate.
        seed: seed of the batches.
    """
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=WARMUP)
    student.train()
    for _ in range(steps):
        rows = torch.randint(len(teacher_scores.candidates), (BATCH,), generator=draw).to(tokens.device)
        loss = _loss(student, tokens, TeacherScores(*(field[rows] for field in teacher_scores)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    student.eval()


def _loss(student: TwoTower, tokens: Tensor, teacher_scores: TeacherScores) -> Tensor:
    known = teacher_scores.candidates >= 0  # [b, m]
    items, places = torch.unique(teacher_scores.candidates.clamp(min=0), return_inverse=True)
    queries, offsets = student.outfits(teacher_scores.embeddings)
    guesses = (queries @ student.items(tokens[items]).T).gather(1, places)  # [b, m]
    taught = (teacher_scores.logits / TEMPERATURE).masked_fill(~known, -torch.inf).softmax(dim=1)
    guessed = (guesses / TEMPERATURE).masked_fill(~known, -torch.inf).log_softmax(dim=1).masked_fill(~known, 0)
    listwise = (torch.xlogy(taught, taught) - taught * guessed).sum(1).mean()
    away = torch.sigmoid(guesses.detach() + offsets[:, None]) - torch.sigmoid(teacher_scores.logits)
    return listwise + (away.square() * known).sum() / known.sum()


def _tower(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
