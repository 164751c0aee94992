"""Makes the questions that compatibility is measured with: labelled sets, and fill-in-the-blank questions.

Distractors drawn at random make questions far easier than distractors of the answer's own category, so both are made.
They replace the same item of an outfit, so that they differ in nothing but the distractor.

The functions that draw share their arguments: ``outfits`` of one split; ``categories`` of every catalogue item, shape
``[N]``; ``seed``, which with an outfit's position seeds its draw; ``same_category``, whether wrong items have the true
item's category or any. A wrong item is never one of the outfit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from outfits.data.dataset import FillInTheBlank, LabelledOutfit
from outfits.data.outfits import Outfits
from outfits.errors import DataError

NEGATIVE_STREAM, QUESTION_STREAM = 11, 12  # first numbers of the seeds, so that the two kinds of draw are independent

SEEDS_APART = 1_000_003

ItemSet = NDArray[np.int32]


@dataclass(frozen=True)
class LabelledSets:
    """Holds compatible and incompatible sets of catalogue positions; ``left_out`` counts outfits without a set."""

    positives: Sequence[ItemSet]
    negatives: Sequence[ItemSet]
    left_out: int = 0


@dataclass(frozen=True)
class Questions:
    """Holds fill-in-the-blank questions by position.

    Attributes:
        given: catalogue positions of the given items, ``Q`` arrays.
        answers: catalogue positions of the answers, int64, shape ``[Q, A]``, padded with -1.
        correct: column of the true answer, int64, shape ``[Q]``.
        left_out: number of outfits without a question.
        asked: position of the outfit of each question, int64, shape ``[Q]``; empty for questions of the data set.
    """

    given: Sequence[ItemSet]
    answers: NDArray[np.int64]
    correct: NDArray[np.int64]
    left_out: int = 0
    asked: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if self.answers.ndim != 2 or not len(self.given) == len(self.answers) == len(self.correct):
            raise ValueError("given, answers and correct differ in length")

    def __len__(self) -> int:
        return len(self.given)


def replacement_negatives(
    outfits: Outfits, categories: NDArray[np.integer], seed: int, *, same_category: bool, draws: int = 1
) -> LabelledSets:
    """Pairs each outfit with itself with one item replaced, ``draws`` times, one negative per positive.

    Outfits whose item has no possible replacement are left out and counted.
    """
    positives: list[ItemSet] = []
    negatives: list[ItemSet] = []
    for one in seeds_of_draws(seed, draws):
        for _, items, place, wrong in _draw(outfits, categories, 1, [one, NEGATIVE_STREAM], same_category):
            negative = items.copy()
            negative[place] = wrong[0]
            positives.append(items)
            negatives.append(negative)
    return LabelledSets(positives, negatives, draws * len(outfits) - len(positives))


def seeds_of_draws(seed: int, draws: int) -> list[int]:
    """Seeds of the draws of one measurement, so far apart that neighbouring seeds of runs share none."""
    return [seed + draw * SEEDS_APART for draw in range(draws)]


def fill_in_the_blank_questions(
    outfits: Outfits, categories: NDArray[np.integer], distractors: int, seed: int, *, same_category: bool
) -> Questions:
    """Makes one question per outfit: which of 1 + ``distractors`` answers, the true one in column 0, was taken out.

    Outfits with fewer than two items or too few possible wrong answers are left out and counted.
    """
    given: list[ItemSet] = []
    answers: list[NDArray[np.int64]] = []
    asked: list[int] = []
    for position, items, place, wrong in _draw(
        outfits, categories, distractors, [seed, QUESTION_STREAM], same_category
    ):
        asked.append(position)
        given.append(np.delete(items, place))
        answers.append(np.concatenate([items[place : place + 1], wrong]).astype(np.int64))
    table = np.stack(answers) if answers else np.empty((0, 1 + distractors), dtype=np.int64)
    left_out, correct = len(outfits) - len(given), np.zeros(len(given), dtype=np.int64)
    return Questions(given, table, correct, left_out, np.array(asked, dtype=np.int64))


def _draw(
    outfits: Outfits, categories: NDArray[np.integer], count: int, seed: list[int], same_category: bool
) -> list[tuple[int, ItemSet, int, NDArray[np.int64]]]:
    """Draws where an outfit allows it one item's place and ``count`` wrong items, after its position and items."""
    members = {int(category): np.flatnonzero(categories == category) for category in np.unique(categories)}
    everything = np.arange(len(categories))
    drawn: list[tuple[int, ItemSet, int, NDArray[np.int64]]] = []
    for position, items in enumerate(outfits):
        if len(items) < 2:
            continue
        rng = np.random.default_rng([*seed, position])
        place = int(rng.integers(len(items)))
        pool = np.setdiff1d(members[int(categories[items[place]])] if same_category else everything, items)
        if len(pool) >= count:
            drawn.append((position, items, place, rng.choice(pool, count, replace=False)))
    return drawn


def official_questions(fitb: Sequence[FillInTheBlank], positions: Mapping[str, int]) -> Questions:
    """Looks up the data set's own questions by catalogue position; raises DataError for items out of the catalogue."""
    given = []
    answers = np.full((len(fitb), max((len(question.answers) for question in fitb), default=1)), -1, dtype=np.int64)
    for row, question in enumerate(fitb):
        given.append(_positions_of(question.question, positions, f"official question {row}"))
        answers[row, : len(question.answers)] = _positions_of(question.answers, positions, f"official question {row}")
    return Questions(given, answers, np.array([question.correct for question in fitb], dtype=np.int64))


def official_labels(labelled: Sequence[LabelledOutfit], positions: Mapping[str, int]) -> LabelledSets:
    """Looks up the data set's own compatibility rows; arguments and errors as in :func:`official_questions`."""
    positives: list[ItemSet] = []
    negatives: list[ItemSet] = []
    for number, row in enumerate(labelled):
        items = _positions_of(row.item_ids, positions, f"official compatibility row {number}")
        (positives if row.compatible else negatives).append(items)
    return LabelledSets(positives, negatives)


def _positions_of(item_ids: Sequence[str], positions: Mapping[str, int], what: str) -> ItemSet:
    if unknown := [item_id for item_id in item_ids if item_id not in positions]:
        raise DataError(
            f"{what}: item {unknown[0]!r} is not in the catalogue; set data.on_missing_item=drop to leave such rows out"
        )
    return np.array([positions[item_id] for item_id in item_ids], dtype=np.int32)
