r"""The student: two towers that approximate S for additions, so that a whole catalogue can be ranked at once.

S reads outfit and candidate together, one call for each pair. The student reads them separately and takes an inner
product, :math:`\mathrm{logit}\,S(O \cup \{x\}) \approx g(O) \cdot h(x) + b(O)`. Only the best few are scored by S.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.targets import StudentArchitecture
from outfits.weights import Network

BATCH = 32  # outfits per optimiser step
CLIP = 1.0  # largest norm of a gradient
TEMPERATURE = 0.5  # of the softmax over logits; below 1 it weighs the best few, which a shortlist must contain
WARMUP = 0.1  # share of the steps with rising learning rate


class TwoTower(Network[StudentArchitecture]):
    r"""Approximates logits of S for additions, :math:`g(O) \cdot h(x) + b(O)`.

    :math:`h` reads the item's token as S projects it; :math:`g` and :math:`b` read S's embedding of the outfit,
    its task token's output. Neither is normalised: an item that suits many outfits may have a large norm.

    Args:
        config: the architecture, or the section ``targets.two_stage`` that contains it.
        token_width: width of S's tokens.
    """

    def __init__(self, config: StudentArchitecture, token_width: int) -> None:
        super().__init__(StudentArchitecture, config, token_width=token_width)
        self.item_tower = _tower(token_width, config.hidden, config.width + 1)
        self.outfit_tower = _tower(token_width, config.hidden, config.width)
        self.offset = nn.Sequential(nn.LayerNorm(token_width), nn.Linear(token_width, 1))

    def items(self, tokens: Tensor) -> Tensor:
        """Computes vectors ``[..., width + 1]`` of items from their tokens ``[..., token_width]``."""
        vectors: Tensor = self.item_tower(tokens)
        return vectors

    def outfits(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Computes vectors ``[B, width + 1]`` and offsets ``[B]`` of outfits from S's embeddings ``[B, token_width]``.

        The last entry of a vector is 1, so that of an item's vector is a bias that counts for any outfit.
        """
        vectors = self.outfit_tower(embeddings) * self.config.width**-0.5
        return F.pad(vectors, (0, 1), value=1.0), self.offset(embeddings).squeeze(-1)


class TeacherScores(NamedTuple):
    """Scores of S for some additions to ``n`` outfits.

    Attributes:
        embeddings: S's embeddings of the outfits, float32, shape ``[n, token_width]``.
        candidates: catalogue positions, int64, shape ``[n, m]``, padded with -1.
        logits: of the additions, float32, shape ``[n, m]``, ``-inf`` where there is no candidate.
    """

    embeddings: Tensor
    candidates: Tensor
    logits: Tensor


def distil(
    student: TwoTower, tokens: Tensor, teacher_scores: TeacherScores, *, steps: int, lr: float, seed: int
) -> None:
    r"""Distils S into a student, in place (AdamW, learning rate rising to ``lr`` and then falling).

    The loss of an outfit is :math:`\mathrm{KL}(\mathrm{softmax}(\mathrm{logit}\,S / T) \,\|\,
    \mathrm{softmax}(g \cdot h / T))` over its candidates. A softmax is independent of the offset, so that has a loss of
    its own, :math:`(\sigma(g \cdot h + b) - S)^2`, whose gradient moves :math:`b` alone.

    Args:
        student: on the device of the other tensors; left in evaluation mode.
        tokens: of the catalogue's items, shape ``[N, token_width]``.
        teacher_scores: S's scores.
        steps: optimiser steps.
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
