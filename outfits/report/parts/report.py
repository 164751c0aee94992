"""Reports similarity from parts: whether the same item is found, by bucket, and which parts agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from outfits.metrics.parts import FOUND_AT, PartsRanks
from outfits.report.pages import render, write_page
from outfits.report.parts.examples import PartsExample

ROWS = {
    "global": "Cosine of the global vector",
    "mean_cosine": "Mean cosine of parts, place by place",
    "best_cosine": "Mean cosine of each part's best match",
    "grnet": "GRNet",
}
"""Names of the rows for readers, in the order of presentation."""
MODEL = "grnet"

Interval = dict[str, float]


@dataclass(frozen=True)
class PartsResult:
    """Shares of queries whose item is among the first, each with its interval over queries.

    Attributes:
        dataset: name of the data set.
        split: split of the items.
        seed: seed of the run.
        gallery: number of items in the gallery.
        candidates: number of items that GRNet ranks anew.
        queries: number of queries by bucket.
        reached: share of queries whose item is among the candidates, by bucket.
        found: by row, bucket and depth.
        lead: GRNet's share less that of the row on the same queries, by row, bucket and depth.
    """

    dataset: str
    split: str
    seed: int
    gallery: int
    candidates: int
    queries: Mapping[str, int]
    reached: Mapping[str, float]
    found: Mapping[str, dict[str, dict[str, Interval]]]
    lead: Mapping[str, dict[str, dict[str, Interval]]]

    @classmethod
    def of(cls, ranks: PartsRanks, dataset: str, split: str, seed: int) -> "PartsResult":
        """Averages the places of the items that were looked for."""

        def table(row: str, less: bool) -> dict[str, dict[str, Interval]]:
            one, other = (MODEL, row) if less else (row, None)
            return {
                bucket: {str(depth): ranks.interval(one, bucket, depth, seed, other) for depth in FOUND_AT}
                for bucket in ranks.buckets
            }

        return cls(
            dataset,
            split,
            seed,
            ranks.gallery,
            ranks.candidates,
            {bucket: len(values) for bucket, values in ranks.reached.items()},
            {bucket: float(values.mean()) for bucket, values in ranks.reached.items()},
            {row: table(row, less=False) for row in ROWS},
            {row: table(row, less=True) for row in ROWS if row != MODEL},
        )

    def table(self) -> str:
        """Formats the shares for the terminal, top-1 / top-10 in percent."""
        lines = [
            f"{self.dataset}, {self.split} split: {self.gallery:,} items; top-1 / top-{FOUND_AT[-1]}, percent",
            "",
            "  ".join([" " * 38, *(f"{bucket} ({self.queries[bucket]})".rjust(16) for bucket in self.queries)]),
        ]
        for row, buckets in self.found.items():
            shares = (" / ".join(f"{100 * cell['mean']:.1f}" for cell in of.values()) for of in buckets.values())
            lines.append("  ".join([ROWS[row].ljust(38), *(share.rjust(16) for share in shares)]))
        reached = "  ".join(f"{bucket} {100 * share:.1f}" for bucket, share in self.reached.items())
        return "\n".join([*lines, "", f"among the {self.candidates} candidates that GRNet ranks anew: {reached}"])

    def frame(self) -> pd.DataFrame:
        """Share and interval of every row, bucket and depth, and GRNet's lead."""
        parts = (("found", self.found), ("lead", self.lead))
        return pd.DataFrame(
            [
                {"row": row, "measure": name, "bucket": bucket, "depth": int(depth), **interval}
                for name, rows in parts
                for row, buckets in rows.items()
                for bucket, depths in buckets.items()
                for depth, interval in depths.items()
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Converts to JSON values."""
        return dict(vars(self))


def write_report(
    result: PartsResult, examples: Sequence[PartsExample], folder: Path, config_yaml: str
) -> dict[str, Path]:
    """Writes page and tables into a folder; returns the paths by name."""
    page = render(
        "parts.html.j2", result=result, names=ROWS, depths=FOUND_AT, examples=examples, config_yaml=config_yaml
    )
    return write_page(folder, page, result.frame(), result.to_json())
