"""Measures how well S separates outfits from other sets: AUC, fill-in-the-blank accuracy, and a frequency control.

The metrics raise ValueError if there is nothing to measure or a logit is NaN; the AUC also if one is infinite.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from outfits.metrics.questions import LabelledSets, Questions


class SetScorer(Protocol):
    """Scores sets of items: S or a probe."""

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> Tensor:
        """Logits ``[len(sets)]`` of sets of catalogue positions."""


def auc(positive_logits: NDArray[np.floating], negative_logits: NDArray[np.floating]) -> float:
    """Computes the area under the ROC curve: the chance that a positive set has the larger logit, ties counted half."""
    logits = np.concatenate([positive_logits, negative_logits]).astype(np.float64)
    if not len(positive_logits) or not len(negative_logits):
        raise ValueError("AUC needs positive and negative sets")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    # torchmetrics applies a sigmoid to logits, which makes large ones equal; ranks in [0, 1] keep the order exactly.
    ranks = rankdata(logits, method="dense") / len(logits)
    labels = np.arange(len(logits)) < len(positive_logits)
    return float(binary_auroc(torch.from_numpy(ranks), torch.from_numpy(labels.astype(np.int64))))


def fill_in_the_blank_accuracy(logits: NDArray[np.floating], correct: NDArray[np.integer]) -> float:
    """Computes the share of questions whose true answer alone has the largest logit: a tie counts against the model.

    ``logits`` are of the question's items with each answer, shape ``[Q, A]``; ``-inf`` where there is none. ``correct``
    is the column of the true answer, shape ``[Q]``.
    """
    if not len(logits):
        raise ValueError("accuracy needs at least one question")
    if np.isnan(logits).any():
        raise ValueError("a logit is NaN")
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, correct] = -np.inf
    return float((logits[rows, correct] > others.max(axis=1)).mean())


def frequency_control(questions: Questions, occurrences: NDArray[np.integer]) -> float:
    """Computes the expected accuracy of answering with the item that occurs most often in training outfits.

    Equal counts are settled by chance: among ``t`` answers with the largest count, the true one earns ``1/t``.
    ``occurrences`` counts each catalogue item in training outfits, shape ``[N]``.
    """
    if not len(questions):
        raise ValueError("accuracy needs at least one question")
    counts = np.where(questions.answers >= 0, occurrences[questions.answers], -1)  # [Q, A]
    most = counts == counts.max(axis=1, keepdims=True)
    return float((most[np.arange(len(counts)), questions.correct] / most.sum(axis=1)).mean())


def question_logits(questions: Questions, scorer: SetScorer) -> NDArray[np.float32]:
    """Scores the given items with each answer, shape ``[Q, A]``; ``-inf`` where there is no such answer."""
    logits = np.full(questions.answers.shape, -np.inf, dtype=np.float32)
    rows, columns = np.nonzero(questions.answers >= 0)
    sets = [
        np.append(questions.given[row], questions.answers[row, column])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    logits[rows, columns] = scorer.ragged_logits(sets).cpu().numpy()
    return logits


def set_logits(labelled: LabelledSets, scorer: SetScorer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores the positive and the negative sets."""
    logits = scorer.ragged_logits([*labelled.positives, *labelled.negatives]).cpu().numpy()
    return logits[: len(labelled.positives)], logits[len(labelled.positives) :]
