"""Reports a multi-task model beside models for a task each: figures, and refinements with what they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import Item
from outfits.encoders.multitask.inference import captions_of, categories_of, image_vectors, refined_queries
from outfits.encoders.multitask.network import MultitaskNetwork
from outfits.encoders.multitask.store import StoredNetwork
from outfits.metrics.captions import MEASURES
from outfits.metrics.intervals import share_interval
from outfits.metrics.multitask import GALLERIES, REFINED_AT, RETRIEVED_AT, Gallery, Measured
from outfits.report.comparison.gallery import items_at
from outfits.report.examples import evenly_spread
from outfits.report.pages import render, write_page

EXAMPLES, SHOWN = 8, 6  # refinements, and results of each
DESCRIBED = 8  # images with category and caption

ROWS = {
    "multitask": "One model for all tasks",
    "retrieval": "Retrieval alone",
    "refinement": "Refinement alone",
    "recognition": "Recognition alone",
    "captioning": "Captioning alone",
    "plain": "CLIP alone",
}
"""Names of the rows for readers, in the order of presentation."""

QUERIES = {
    "refined": "Image and text, fused",
    "sum": "Image plus text",
    "image_alone": "Image alone",
    "text_alone": "Text alone",
}
"""How a refinement is asked, in the order of presentation; the last three by the vectors of search."""

SEARCHES = ("image_to_text", "text_to_image")
RECOGNISED = ("with_text", "image_alone")


@dataclass(frozen=True)
class MultitaskResult:
    """Figures of multi-task and other models.

    Attributes:
        dataset: name of the data set.
        split: the split that was measured.
        seed: seed of the run.
        values: by row and measure.
        counts: cases of every value, by row and measure.
        parameters: of every row ``total`` and ``added`` beside the CLIP model.
    """

    dataset: str
    split: str
    seed: int
    values: Mapping[str, dict[str, float]]
    counts: Mapping[str, dict[str, int]]
    parameters: Mapping[str, dict[str, int]]

    @classmethod
    def of(
        cls, rows: Mapping[str, tuple[MultitaskNetwork, Measured]], dataset: str, split: str, seed: int
    ) -> "MultitaskResult":
        """Collects what networks reached."""
        names = sorted(rows, key=lambda name: list(ROWS).index(name))
        sizes = {}
        for name in names:
            network = rows[name][0]
            total = sum(parameter.numel() for parameter in network.parameters())
            own = sum(parameter.numel() for parameter in network.clip.parameters())
            sizes[name] = {"total": total, "added": total - own}
        return cls(
            dataset,
            split,
            seed,
            {name: rows[name][1].values for name in names},
            {name: rows[name][1].counts for name in names},
            sizes,
        )

    def interval(self, row: str, measure: str) -> dict[str, float] | None:
        """A value with the 95 % interval of a share of so many cases; None where it was not measured."""
        if measure not in self.values[row]:
            return None
        mean = self.values[row][measure]
        low, high = share_interval(min(mean, 1.0), self.counts[row][measure])
        return {"mean": mean, "low": low, "high": high}

    def rows_with(self, measure: str) -> list[str]:
        """Rows for which something was measured."""
        return [row for row in self.values if measure in self.values[row]]

    def table(self) -> str:
        """Formats the headline figures for the terminal."""
        measures = {
            "image to text R@1/5/10": [f"image_to_text_r@{depth}" for depth in RETRIEVED_AT],
            "text to image R@1/5/10": [f"text_to_image_r@{depth}" for depth in RETRIEVED_AT],
            **{
                f"{name} R@10/50, {kind}": [f"{query}_{kind}_r@{depth}" for depth in REFINED_AT[1:]]
                for query, name in QUERIES.items()
                for kind in GALLERIES[:1]
            },
            "category, F1, with text": ["with_text_accuracy", "with_text_macro_f1"],
            "category, F1, image alone": ["image_alone_accuracy", "image_alone_macro_f1"],
            "BLEU-4, METEOR, ROUGE-L, CIDEr": list(MEASURES),
            "parameters": [],
        }
        lines = [
            f"{self.dataset}, {self.split} split",
            "",
            " ".join([" " * 34, *(row.rjust(24) for row in self.values)]),
        ]
        for name, wanted in measures.items():
            cells = []
            for row in self.values:
                found = [f"{self.values[row][one]:.3f}" for one in wanted if one in self.values[row]]
                cells.append(("/".join(found) if wanted else f"{self.parameters[row]['total']:,}").rjust(24))
            lines.append(" ".join([name.ljust(34), *cells]))
        return "\n".join(lines)

    def frame(self) -> pd.DataFrame:
        """A row for every value."""
        return pd.DataFrame(
            [
                {"row": row, "measure": name, "value": value, "cases": self.counts[row][name]}
                for row, values in self.values.items()
                for name, value in values.items()
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Converts to JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class RefinementExample:
    """A reference with a text and the first results, each with whether it is a right answer."""

    reference: Item
    text: str
    found: Sequence[tuple[Item, bool]]


@dataclass(frozen=True)
class DescribedItem:
    """An image with the category and the caption that the model gives it; ``item`` has its own."""

    item: Item
    category: str
    caption: str


@dataclass(frozen=True)
class Examples:
    """What the page shows of a model."""

    refinements: Sequence[RefinementExample]
    described: Sequence[DescribedItem]


def write_report(result: MultitaskResult, shown: Examples, folder: Path, config_yaml: str) -> dict[str, Path]:
    """Writes page and tables into a folder; returns the paths by name."""
    page = render(
        "multitask.html.j2",
        result=result,
        names=ROWS,
        queries=QUERIES,
        galleries=GALLERIES,
        searches=SEARCHES,
        recognised=RECOGNISED,
        captions=MEASURES,
        retrieved_at=RETRIEVED_AT,
        refined_at=REFINED_AT,
        examples=shown,
        config_yaml=config_yaml,
    )
    return write_page(folder, page, result.frame(), result.to_json())


def examples(model: StoredNetwork, gallery: Gallery, catalogue: Catalogue, beam: int, seed: int) -> Examples:
    """Refinements and images spread evenly over the split; none is picked."""
    tasks, images = model.network.config.tasks, gallery.distinct(gallery.items)
    refinements = []
    if REFINEMENT in tasks and gallery.refinements is not None:
        asked = gallery.refinements.questions(seed)
        questions = [asked[place] for place in evenly_spread(len(asked), EXAMPLES)]
        pixels = gallery.pixels
        targets = image_vectors(model, pixels[images], REFINEMENT)
        references = np.array([one.reference for one in questions])
        queries = refined_queries(model, pixels[references], [one.text for one in questions])
        for one, scores in zip(questions, queries @ targets.T, strict=True):
            candidates = gallery.image_ids[images] != gallery.image_ids[one.reference]
            if gallery.by_category:
                candidates &= gallery.categories[images] == gallery.categories[one.reference]
            order = images[candidates][np.argsort(-scores[candidates], kind="stable")[:SHOWN]]
            right = np.isin(gallery.image_ids[order], gallery.image_ids[one.right]).tolist()
            found = list(zip(items_at(catalogue, order), right, strict=True))
            refinements.append(RefinementExample(items_at(catalogue, np.array([one.reference]))[0], one.text, found))
    described = []
    if RECOGNITION in tasks or CAPTIONING in tasks:
        some = images[evenly_spread(len(images), DESCRIBED)]
        pixels = gallery.pixels[some]
        captions = captions_of(model, pixels, beam) if CAPTIONING in tasks else [""] * len(some)
        texts = [""] * len(some)
        names = categories_of(model, pixels, texts) if RECOGNITION in tasks else texts
        items = items_at(catalogue, some)
        described = [DescribedItem(*parts) for parts in zip(items, names, captions, strict=True)]
    return Examples(refinements, described)
