"""Presents the metrics of a representation's report: as JSON, as a table of factors, and in sentences."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from outfits.metrics.disentanglement import Disentanglement
from outfits.report.representation.metrics import ACTIVE, NEAREST, Agreement, Direction, Fidelity

BASELINES = {"model": "This model", "pca": "PCA, as many components", "mean": "Mean training image"}


@dataclass(frozen=True)
class RepresentationResult:
    """Holds the metrics of a representation's report.

    Attributes:
        seed: seed of everything drawn.
        model_name: the kind of model in words.
        settings: architecture and sizes of the model.
        parameters: number of its parameters.
        training: ``epochs`` trained and, where that is known, ``kept_epoch``, the epoch of these weights.
        items: how many items there are of each kind.
        fidelity: of reconstructions by name, see :data:`BASELINES`; None for a model that draws none.
        divergence: nats per coordinate, shape ``[d]``; None for a model without a prior.
        attribute_directions: steps of the attribute arithmetic; none for a model that draws none.
        neighbour_agreement: nearest items of equal value, by factor.
        disentanglement: relation of the latent to the factors; None where no factor has enough items.
    """

    dataset: str
    seed: int
    model_name: str
    settings: Mapping[str, Any]
    parameters: int
    training: Mapping[str, int]
    items: Mapping[str, int]
    fidelity: Mapping[str, Fidelity] | None
    divergence: NDArray[np.float64] | None
    attribute_directions: list[Direction]
    neighbour_agreement: dict[str, Agreement]
    disentanglement: Disentanglement | None

    @property
    def kl(self) -> float | None:
        """Divergence from the prior, nats per image."""
        return None if self.divergence is None else float(self.divergence.sum())

    @property
    def active(self) -> int | None:
        """Number of coordinates that hold more than :data:`ACTIVE` nats."""
        return None if self.divergence is None else int((self.divergence > ACTIVE).sum())

    def to_json(self) -> dict[str, Any]:
        """Converts all metrics to numbers, lists and dictionaries."""
        kl = None
        if self.divergence is not None:
            kl = {"total": self.kl, "active": self.active, "coordinates": self.divergence.tolist()}
        parts = self.disentanglement
        return {
            "dataset": self.dataset,
            "seed": self.seed,
            "model": dict(self.settings),
            "parameters": self.parameters,
            "training": dict(self.training),
            "items": dict(self.items),
            "reconstruction": None if self.fidelity is None else dict(self.fidelity),
            "kl": kl,
            "arithmetic": [{**vars(one), "step": one.step.tolist()} for one in self.attribute_directions],
            "neighbours": {"nearest": NEAREST, "factors": dict(self.neighbour_agreement)},
            "disentanglement": None if parts is None else parts.to_json(),
        }

    def frame(self) -> pd.DataFrame:
        """Makes a row per factor; a cell is empty where there is no such metric."""
        measured = {} if self.disentanglement is None else self.disentanglement.factors
        rows = []
        for name, agreement in self.neighbour_agreement.items():
            metrics = asdict(measured[name]) if name in measured else {}
            nearest = {"neighbour_share": agreement["share"], "neighbour_chance": agreement["chance"]}
            rows.append({"factor": name, **{key: metrics.get(key) for key in _COLUMNS}, **nearest})
        frame = pd.DataFrame(rows, columns=["factor", *_COLUMNS, "neighbour_share", "neighbour_chance"])
        return frame.astype({"values": "Int64", "items": "Int64"})

    def findings(self) -> list[str]:
        """Writes the main metrics as sentences."""
        sentences = []
        if self.fidelity is not None:
            ratios = ", ".join(
                f"{words} {_decibels(self.fidelity[name]['garment_psnr'])}"
                for name, words in (("model", "this model"), ("pca", "PCA"), ("mean", "the mean image"))
            )
            sentences.append(f"Signal-to-noise ratio over garment pixels of held-out images: {ratios}.")
        known = {
            name: (share, chance)
            for name, one in self.neighbour_agreement.items()
            if (share := one["share"]) is not None and (chance := one["chance"])
        }
        if known:
            name, (share, chance) = max(known.items(), key=lambda entry: entry[1][0] - entry[1][1])
            sentences.append(
                f"Of the {NEAREST} nearest images {share:.0%} have the item's own {name}; by chance it would be "
                f"{chance:.0%}."
            )
        if self.disentanglement is not None:
            factors = sorted(self.disentanglement.factors.values(), key=lambda factor: -factor.informativeness)
            sentences.append(
                f"A linear map of the latent predicts {factors[0].name} best: {factors[0].accuracy:.0%} right, against "
                f"{factors[0].majority:.0%} for guessing the commonest."
            )
        return sentences

    def table(self) -> str:
        """Formats the main metrics for the terminal."""
        settings, items = self.settings, self.items
        lines = [
            f"{self.model_name}, {settings['latent_dim']} coordinates, {settings['image_size']} pixels: "
            f"{self.dataset}, "
            f"{items['training']:,} training items, {items['held_out']:,} held-out images (seed {self.seed})"
        ]
        if self.fidelity is not None:
            rows = [
                [BASELINES[name], f"{one['weighted_error']:.5f}", *map(_decibels, (one["psnr"], one["garment_psnr"]))]
                for name, one in self.fidelity.items()
            ]
            lines += ["", *_aligned([["", "weighted error", "PSNR", "PSNR, garments"], *rows])]
        if self.divergence is not None:
            lines += ["", f"KL {self.kl:.1f} nats, {self.active} of {settings['latent_dim']} coordinates active"]
        measured = {} if self.disentanglement is None else self.disentanglement.factors
        rows = []
        for name, one in self.neighbour_agreement.items():
            cells = ["–"] * 4
            if name in measured:
                factor = measured[name]
                cells = [f"{factor.informativeness:.3f}", f"{factor.accuracy:.1%}"]
                cells += [f"{factor.compactness:.3f}", f"{factor.mig:.3f}"]
            shares = (one["share"], one["chance"])
            rows.append([name, *cells, *("–" if share is None else f"{share:.1%}" for share in shares)])
        header = ["factor", "informative", "accuracy", "compact", "MIG", f"{NEAREST} nearest", "by chance"]
        lines += ["", *_aligned([header, *rows])]
        if self.disentanglement is not None:
            parts = self.disentanglement
            lines += [
                "",
                f"modularity {parts.modularity:.3f}, compactness {parts.compactness:.3f}, informativeness "
                f"{parts.informativeness:.3f}, MIG {parts.mig:.3f}",
            ]
        return "\n".join(lines)


_COLUMNS = ("values", "items", "informativeness", "accuracy", "majority", "compactness", "mig")


def _decibels(value: float | None) -> str:
    return "∞ dB" if value is None else f"{value:.1f} dB"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Aligns a header and rows in columns, with a rule below the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]
