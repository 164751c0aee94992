"""Reports complementary retrieval: recall of every model on the same pools, and examples with their pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from outfits import run_files
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import Item
from outfits.metrics.retrieval import RECALL_AT, Pool, PoolScores, mean_recall
from outfits.report.comparison.gallery import items_at
from outfits.report.examples import evenly_spread
from outfits.report.pages import render, write_page
from outfits.storage import write_json

EXAMPLES, SHOWN = 12, 6  # questions with pictures, and answers to each

ROWS = {
    "chance": "Chance",
    "most_frequent": "Most frequent in training outfits",
    "mean_cosine": "Nearest to the outfit's mean",
    "csa_net": "CSA-Net's mechanism",
    "retrieval": "Retrieval, told the category",
    "retrieval_text": "Retrieval, told category and text",
    "compatibility": "S, asked about every candidate",
}
"""Names of the rows for readers, in the order of presentation."""


@dataclass(frozen=True)
class RetrievalResult:
    """Recall of what ranked the candidates of the pools.

    Attributes:
        dataset: name of the data set.
        split: split whose outfits ask.
        seed: seed of the run.
        scorer_sha256: digest of the S that the retriever began from.
        pools: questions and candidates.
        recall: recall by row, category and depth.
    """

    dataset: str
    split: str
    seed: int
    scorer_sha256: str
    pools: Sequence[Pool]
    recall: Mapping[str, dict[int, dict[int, float]]]

    @property
    def questions(self) -> int:
        """Number of questions."""
        return sum(len(pool.given) for pool in self.pools)

    @property
    def rows(self) -> dict[str, dict[int, float | None]]:
        """Recall averaged over the categories, by row."""
        known = sorted(self.recall, key=lambda name: list(ROWS).index(name) if name in ROWS else len(ROWS))
        return {name: mean_recall(self.recall[name]) for name in known}

    def table(self) -> str:
        """Formats the rows for the terminal."""
        sizes = [len(pool.items) for pool in self.pools]
        span = f"{min(sizes)} to {max(sizes)} candidates" if sizes else "none has enough candidates"
        lines = [
            f"{self.dataset}, {self.split} split: {self.questions:,} questions in {len(sizes)} categories, {span}",
            "",
            "  ".join([" " * 36, *(f"R@{depth}".rjust(6) for depth in RECALL_AT)]),
        ]
        for name, recall in self.rows.items():
            figures = ("–" if value is None else f"{value:.1%}" for value in recall.values())
            lines.append("  ".join([ROWS.get(name, name).ljust(36), *(figure.rjust(6) for figure in figures)]))
        return "\n".join(lines)

    def frame(self, catalogue: Catalogue) -> pd.DataFrame:
        """Recall of every row in every category."""
        return pd.DataFrame(
            [
                {
                    "category": catalogue.category_names[pool.category],
                    "candidates": len(pool.items),
                    "questions": len(pool.given),
                    "row": name,
                    **{f"recall_at_{depth}": value for depth, value in self.recall[name][pool.category].items()},
                }
                for pool in self.pools
                for name in self.rows
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Converts the means to JSON values."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "seed": self.seed,
            "scorer_sha256": self.scorer_sha256,
            "questions": self.questions,
            "categories": len(self.pools),
            "recall": {name: {str(depth): value for depth, value in row.items()} for name, row in self.rows.items()},
        }


@dataclass(frozen=True)
class Example:
    """A question with its first answers; ``rank`` is the true item's, from 1."""

    given: tuple[Item, ...]
    wanted: Item
    answers: tuple[Item, ...]
    rank: int


def write_report(
    result: RetrievalResult, catalogue: Catalogue, scores: PoolScores, folder: Path, config_yaml: str
) -> dict[str, Path]:
    """Writes page, tables and pools into a folder; ``scores`` are the retriever's. Returns the paths by name."""
    pools = folder / run_files.POOLS
    write_json(pools, pools_as_json(result.pools, catalogue))
    sizes = [len(pool.items) for pool in result.pools]
    page = render(
        "retrieval.html.j2",
        result=result,
        names=ROWS,
        depths=RECALL_AT,
        candidates=(min(sizes), max(sizes)) if sizes else (0, 0),
        categories=[(catalogue.category_names[pool.category], pool) for pool in result.pools],
        examples=examples(result.pools, catalogue, scores),
        config_yaml=config_yaml,
    )
    return {"pools": pools, **write_page(folder, page, result.frame(catalogue), result.to_json())}


def pools_as_json(pools: Sequence[Pool], catalogue: Catalogue) -> dict[str, Any]:
    """The pools by category, items by their ids, for others to measure on."""
    names = catalogue.item_ids
    return {
        catalogue.category_names[pool.category]: {
            "candidates": [names[item] for item in pool.items],
            "questions": [
                {"given": [names[item] for item in given], "answer": names[pool.items[answer]]}
                for given, answer in zip(pool.given, pool.answers.tolist(), strict=True)
            ],
        }
        for pool in pools
    }


def examples(pools: Sequence[Pool], catalogue: Catalogue, scores: PoolScores) -> list[Example]:
    """The middle question of categories spread evenly over the pools, with the retriever's first answers."""
    shown = []
    for pool in (pools[place] for place in evenly_spread(len(pools), EXAMPLES).tolist()):
        row = len(pool.given) // 2
        given, answer = pool.given[row], pool.answers[row : row + 1]
        values = scores(Pool(pool.category, pool.items, [given], answer))[0]
        values = np.where(np.isin(pool.items, given), -np.inf, values)
        order = np.argsort(-values, kind="stable")
        shown.append(
            Example(
                items_at(catalogue, given),
                items_at(catalogue, pool.items[answer])[0],
                items_at(catalogue, pool.items[order[:SHOWN]]),
                int(np.flatnonzero(order == answer[0])[0]) + 1,
            )
        )
    return shown
