"""Reports personal recommendation: every model on the same rankings, and users' outfits beside recommended ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from outfits.data.dataset import Item, OutfitDataset
from outfits.metrics.paired import paired_interval
from outfits.metrics.personal import MEASURES, RANKED_AT, RESAMPLES, Measured, by_user, over_users
from outfits.report.comparison.gallery import items_at
from outfits.report.examples import evenly_spread
from outfits.report.pages import render, write_page

EXAMPLES, SHOWN = 6, 5  # users, and outfits of each
HEADLINE = ("hr@10", "recall@10", "ndcg@10", "ndcg_of_hits@10", "auc")
COMPARED = ("hr@10", "ndcg@10")  # measures in which HFGN's lead is given
MODEL = "hfgn"

ROWS = {
    "popularity": "Most liked in training",
    "owned": "Items that the user has",
    "content": "Content: items and categories",
    "mf": "Matrix factorisation",
    "item_mf": "Matrix factorisation, items",
    "lightgcn": "LightGCN",
    "item_lightgcn": "LightGCN, items",
    MODEL: "HFGN",
}
"""Names of the rows for readers, in the order of presentation."""

Interval = dict[str, float] | None


@dataclass(frozen=True)
class PersonalResult:
    """Figures of recommenders, each with its interval over users.

    Attributes:
        dataset: name of the data set.
        split: split whose outfits were to be found.
        seed: seed of the run.
        sizes: numbers of users with outfits to be found, by group, and of questions, by kind.
        figures: by row, group and measure.
        questions: shares of right answers by row and kind.
        lead: by row and measure of :data:`COMPARED`, HFGN's mean less that of the row on the same users.
    """

    dataset: str
    split: str
    seed: int
    sizes: Mapping[str, int]
    figures: Mapping[str, dict[str, dict[str, Interval]]]
    questions: Mapping[str, dict[str, Interval]]
    lead: Mapping[str, dict[str, Interval]]

    @classmethod
    def of(cls, measured: Mapping[str, Measured], dataset: OutfitDataset, split: str, seed: int) -> "PersonalResult":
        """Averages what recommenders reached, HFGN among them."""
        rows = sorted(measured, key=lambda name: list(ROWS).index(name) if name in ROWS else len(ROWS))
        best = measured[MODEL]
        of_hfgn = best.values["all"][1]
        return cls(
            dataset.name,
            split,
            seed,
            {name: len(users) for name, (users, _) in best.values.items()}
            | {f"questions, {kind}": len(users) for kind, (users, _) in best.right.items()},
            {
                row: {
                    group: {name: over_users(values, seed) for name, values in found.items()}
                    for group, (_, found) in measured[row].values.items()
                }
                for row in rows
            },
            {
                row: {
                    kind: over_users(by_user(right, users), seed)
                    for kind, (users, right) in measured[row].right.items()
                }
                for row in rows
            },
            {
                row: {
                    name: paired_interval(
                        of_hfgn[name], measured[row].values["all"][1][name], resamples=RESAMPLES, seed=seed
                    )
                    for name in COMPARED
                }
                for row in rows
                if row != MODEL
            },
        )

    def table(self) -> str:
        """Formats the headline figures for the terminal."""
        lines = [
            f"{self.dataset}, {self.split} split: {self.sizes['all']:,} users, all outfits ranked",
            "",
            "  ".join([" " * 30, *(name.rjust(15) for name in HEADLINE)]),
        ]
        for row, groups in self.figures.items():
            means = (interval["mean"] if (interval := groups["all"][name]) else float("nan") for name in HEADLINE)
            lines.append("  ".join([ROWS.get(row, row).ljust(30), *(f"{mean:.4f}".rjust(15) for mean in means)]))
        return "\n".join(lines)

    def frame(self) -> pd.DataFrame:
        """Mean and interval of every row, group and measure."""
        return pd.DataFrame(
            [
                {"row": row, "group": group, "measure": name, **interval}
                for row, groups in self.figures.items()
                for group, found in groups.items()
                for name, interval in found.items()
                if interval is not None
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Converts to JSON values."""
        return {**vars(self), "ranked_at": list(RANKED_AT), "measures": list(MEASURES)}


@dataclass(frozen=True)
class Outfit:
    """An outfit of an example; ``liked`` says whether it was to be found."""

    outfit_id: str
    items: tuple[Item, ...]
    liked: bool = False


@dataclass(frozen=True)
class Example:
    """A user with some of the outfits that made the user's vector, and the first recommended ones."""

    user_id: str
    known: Sequence[Outfit]
    recommended: Sequence[Outfit]


def write_report(
    result: PersonalResult, examples: Sequence[Example], folder: Path, config_yaml: str
) -> dict[str, Path]:
    """Writes page and tables into a folder; returns the paths by name."""
    page = render(
        "personal.html.j2", result=result, names=ROWS, headline=HEADLINE, examples=examples, config_yaml=config_yaml
    )
    return write_page(folder, page, result.frame(), result.to_json())


def examples(
    dataset: OutfitDataset, split: str, users: NDArray[np.float32], outfits: NDArray[np.float32]
) -> list[Example]:
    """Users spread evenly over those with outfits to be found, by HFGN's vectors of users and outfits."""
    liked = dataset.users
    assert liked is not None
    asked = np.unique(liked.pairs(split)[0])
    shown = []
    for user in asked[evenly_spread(len(asked), EXAMPLES)]:
        known, wanted = liked.liked(user, "train"), set(liked.liked(user, split).tolist())
        preferences = outfits @ users[user]
        preferences[liked.liked(user, "train", "valid") if split == "test" else known] = -np.inf
        first = np.argsort(-preferences, kind="stable")[:SHOWN]
        shown.append(
            Example(
                liked.user_ids[user],
                [_outfit(dataset, outfit, wanted) for outfit in known[:SHOWN].tolist()],
                [_outfit(dataset, outfit, wanted) for outfit in first.tolist()],
            )
        )
    return shown


def _outfit(dataset: OutfitDataset, outfit: int, wanted: set[int]) -> Outfit:
    return Outfit(
        dataset.outfits.outfit_ids[outfit], items_at(dataset.catalogue, dataset.outfits[outfit]), outfit in wanted
    )
