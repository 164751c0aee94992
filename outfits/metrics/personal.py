"""Personal recommendation: are the outfits that a user likes among the first of all that the user is not known to like?

Full ranking, as published for HFGN (Li et al. 2020), without samples of candidates. Values are of users, so that means
and intervals are over users.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from torch_geometric.data import HeteroData

from outfits.data.dataset import FillInTheBlank, OutfitDataset
from outfits.data.outfits import SPLITS, Outfits
from outfits.data.users import UserOutfits
from outfits.graphs.user_graph import sets_graph
from outfits.metrics.paired import paired_interval
from outfits.metrics.questions import Questions, fill_in_the_blank_questions, official_questions
from outfits.models.recommenders import Recommender
from outfits.scoring.preferences import SETS_AT_ONCE

RANKED_AT = (10, 20, 30, 40, 50)
MEASURES = ("hr", "recall", "precision", "ndcg", "ndcg_of_hits")
"""Values at each depth. ``ndcg`` is divided by that of the best ranking; ``ndcg_of_hits``, as published for HFGN, by
that of the best order of the hits: one hit on the first place is 1 however many outfits the user likes."""
TIE_STREAM = 21  # first number of the seeds of the order of equal preferences
USERS_AT_ONCE = 64
RESAMPLES = 1000

Vectors = Any
"""Users or outfits as rows: an array, or a sparse matrix."""


@dataclass(frozen=True)
class Ranking:
    """Places of the outfits to be found, for ``V`` users who have some.

    Attributes:
        users: positions of the users, int64, shape ``[V]``.
        candidates: number of ranked outfits of each, int64, shape ``[V]``.
        places: ascending places, from 0, of the outfits to be found, one array for each user.
    """

    users: NDArray[np.int64]
    candidates: NDArray[np.int64]
    places: Sequence[NDArray[np.int64]]

    def values(self) -> dict[str, NDArray[np.float64]]:
        """``MEASURE@DEPTH`` and ``auc`` of every user, shape ``[V]`` each."""
        gains = 1 / np.log2(np.arange(2, 2 + max(RANKED_AT)))
        ideal = np.concatenate([[0.0], np.cumsum(gains)])
        wanted = np.array([len(places) for places in self.places], dtype=np.int64)
        found: dict[str, NDArray[np.float64]] = {}
        for depth in RANKED_AT:
            above = [places[places < depth] for places in self.places]
            hits = np.array([len(places) for places in above], dtype=np.int64)
            gained = np.array([gains[places].sum() for places in above])
            values = {
                "hr": (hits > 0).astype(np.float64),
                "recall": hits / wanted,
                "precision": hits / depth,
                "ndcg": gained / ideal[np.minimum(wanted, depth)],
                "ndcg_of_hits": np.divide(gained, ideal[hits], out=np.zeros(len(hits)), where=hits > 0),
            }
            found |= {f"{name}@{depth}": values[name] for name in MEASURES}
        others = self.candidates - wanted
        wrong = np.array([(places - np.arange(len(places))).sum() for places in self.places])  # pairs in wrong order
        found["auc"] = 1 - wrong / np.maximum(wanted * others, 1)
        return found


def rank_outfits(
    users: Vectors,
    outfits: Vectors,
    wanted: csr_matrix,
    known: csr_matrix,
    seed: int,
    rows: NDArray[np.int64] | None = None,
) -> Ranking:
    """Ranks all outfits but the known ones for every user who has outfits to be found; equal ones in random order.

    Args:
        users: shape ``[U, d]``.
        outfits: shape ``[M, d]``.
        wanted: outfits to be found, ``[U, M]``.
        known: outfits that are no candidates, ``[U, M]``, none of them wanted.
        seed: seed of the order of equal preferences.
        rows: the users; None: all.
    """
    counts = np.diff(wanted.indptr)
    rows = np.flatnonzero(counts) if rows is None else rows[counts[rows] > 0]
    chance = np.random.default_rng([seed, TIE_STREAM]).permutation(outfits.shape[0])
    places: list[NDArray[np.int64]] = []
    for start in range(0, len(rows), USERS_AT_ONCE):
        some = rows[start : start + USERS_AT_ONCE]
        preferences = preferences_of(users[some], outfits)
        if np.isnan(preferences).any():
            raise ValueError("a preference is no number")
        preferences[known[some].nonzero()] = -np.inf
        order = np.argsort(-preferences[:, chance], axis=1, kind="stable")
        for user, row in zip(some, order, strict=True):
            places.append(np.flatnonzero(np.isin(chance[row], wanted[user].indices)))
    return Ranking(rows, outfits.shape[0] - np.diff(known.indptr)[rows], places)


def preferences_of(users: Vectors, outfits: Vectors) -> NDArray[np.float64]:
    """Inner products of users and outfits, shape ``[B, M]``."""
    found: Any = users @ outfits.T
    return np.asarray(found if isinstance(found, np.ndarray) else found.toarray(), dtype=np.float64)


@dataclass(frozen=True)
class PersonalQuestions:
    """Fill-in-the-blank questions and the user of each, int64, shape ``[Q]``."""

    questions: Questions
    users: NDArray[np.int64]


def published_questions(
    fitb: Sequence[FillInTheBlank], users: UserOutfits, positions: dict[str, int]
) -> PersonalQuestions:
    """The data set's own questions of users that it knows."""
    known = [question for question in fitb if question.user_id in users.positions]
    of_users = np.array([users.positions[question.user_id] for question in known], dtype=np.int64)
    return PersonalQuestions(official_questions(known, positions), of_users)


def drawn_questions(
    users: UserOutfits, outfits: Outfits, categories: NDArray[np.integer], split: str, seed: int
) -> PersonalQuestions:
    """One question for every pair of a split, with four wrong answers of the true one's category."""
    of_users, numbers = users.pairs(split)
    drawn = fill_in_the_blank_questions(outfits.take(numbers), categories, 4, seed, same_category=True)
    return PersonalQuestions(drawn, of_users[drawn.asked])


def questions_right(
    asked: PersonalQuestions,
    preferences: Callable[[NDArray[np.int64], Sequence[NDArray[np.integer]]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Chance of every question to be answered rightly, shape ``[Q]``; among equal preferences chance decides.

    ``preferences`` are those of users ``[q]`` for as many sets of items.
    """
    questions = asked.questions
    there = questions.answers >= 0
    rows, columns = np.nonzero(there)
    sets = [
        np.append(questions.given[row], questions.answers[row, column])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    values = np.full(questions.answers.shape, -np.inf)
    for start in range(0, len(sets), SETS_AT_ONCE):
        some = slice(start, start + SETS_AT_ONCE)
        values[rows[some], columns[some]] = preferences(asked.users[rows[some]], sets[some])
    best = values == values.max(1, keepdims=True, initial=-np.inf)
    right: NDArray[np.float64] = best[np.arange(len(best)), questions.correct] / np.maximum(best.sum(1), 1)
    return right


def over_users(values: NDArray[np.float64], seed: int) -> dict[str, float] | None:
    """Mean over users with its bootstrap interval; None without any."""
    if not len(values):
        return None
    return paired_interval(values, np.zeros(len(values)), resamples=RESAMPLES, seed=seed)


def by_user(values: NDArray[np.float64], users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of the values of each user, in the order of users."""
    _, number = np.unique(users, return_inverse=True)
    means: NDArray[np.float64] = np.bincount(number, values) / np.maximum(np.bincount(number), 1)
    return means


@dataclass(frozen=True)
class Measured:
    """What one recommender reached.

    Attributes:
        values: values of all users with outfits to be found, of cold users, of users' new and known outfits: by group,
            users ``[V]`` and then values ``[V]`` by measure, see :meth:`Ranking.values`.
        right: users ``[Q]`` and chances ``[Q]`` of right answers to fill-in-the-blank questions, by kind of question.
    """

    values: Mapping[str, tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]]
    right: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Evaluation:
    """Measures recommenders on one split of a data set, all by the same rankings and questions.

    Attributes:
        graph: of :func:`outfits.graphs.user_graph.user_graph`.
        dataset: data set with users.
        split: the split whose outfits are to be found; those of training and validation before it are no candidates.
        cold_users: users with at most so many outfits in training are cold.
        seed: seed of questions and of the order of equal preferences.
    """

    graph: HeteroData
    dataset: OutfitDataset
    split: str
    cold_users: int
    seed: int

    @cached_property
    def users(self) -> UserOutfits:
        """What users like."""
        assert self.dataset.users is not None
        return self.dataset.users

    @cached_property
    def groups(self) -> dict[str, csr_matrix]:
        """Outfits to be found, ``[U, M]`` each: all, of cold users, new ones and ones that others like in training."""
        users, wanted = self.users, self.users.matrix(self.split)
        training = users.matrix("train")
        cold = np.diff(training.indptr) <= self.cold_users
        new = np.asarray(training.sum(0)).ravel() == 0
        parts = {
            "all": wanted,
            "cold_users": diags(cold.astype(float)) @ wanted,
            "new_outfits": wanted @ diags(new.astype(float)),
            "known_outfits": wanted @ diags((~new).astype(float)),
        }
        found = {name: csr_matrix(part) for name, part in parts.items()}
        for part in found.values():
            part.eliminate_zeros()
        return found

    @cached_property
    def questions(self) -> dict[str, PersonalQuestions]:
        """Fill-in-the-blank questions: the data set's own, and with wrong answers of the true one's category."""
        data, catalogue = self.dataset, self.dataset.catalogue
        published = published_questions(data.fitb.get(self.split, ()), self.users, catalogue.positions)
        drawn = drawn_questions(self.users, data.outfits, catalogue.categories, self.split, self.seed)
        return {"published": published, "same_category": drawn}

    @torch.no_grad()
    def measure(self, model: Recommender) -> Measured:
        """Ranks all outfits, and answers the questions, by a recommender on the graph's device."""
        users, outfits = (_array(part) for part in model.vectors(self.graph))
        known = self.users.matrix(*SPLITS[: SPLITS.index(self.split)])
        values = {}
        for name, wanted in self.groups.items():
            others = csr_matrix(self.groups["all"] - wanted)  # a user likes these too: they are no wrong answers
            ranking = rank_outfits(users, outfits, wanted, csr_matrix(known + others), self.seed)
            values[name] = (ranking.users, ranking.values())

        def preferences(rows: NDArray[np.int64], sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float64]:
            graph = sets_graph(sets, self.dataset.catalogue.categories, self.graph.category_weights)
            of_sets: Any = _array(model.set_vectors(self.graph, graph))
            dense = isinstance(of_sets, np.ndarray)
            products = of_sets * users[rows] if dense else of_sets.multiply(users[rows])
            return np.asarray(products.sum(1), dtype=np.float64).ravel()

        right = {name: (asked.users, questions_right(asked, preferences)) for name, asked in self.questions.items()}
        return Measured(values, right)


def _array(vectors: Any) -> Vectors:
    return vectors.float().cpu().numpy() if isinstance(vectors, torch.Tensor) else vectors
