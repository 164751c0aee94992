"""Style transfer: garments in other patterns, by one network and by optimisation of the pixels on the same loss."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_modules.style_transfer import StyleTransferModule
from outfits.config.schema.imaging import StyleArchitecture
from outfits.encoders.content import content_hash
from outfits.encoders.learned import image_tensor
from outfits.imaging.optimisation import optimised
from outfits.imaging.style import StyleObjective, inside
from outfits.imaging.style_network import StyleNetwork
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.report.representation.sheets import sheet, tiles
from outfits.weights import load_network
from pipeline.imaging.work import ImagingWork

NAME = "style_transfer"
KEY = "model.imaging.style_transfer.styles"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the second style in a mixture
TERMS = ("loss", "content", "style")


@dataclass(frozen=True)
class Contents:
    """Images ``[n, 3, S, S]`` whose garments are painted, where these are ``[n, 1, S, S]``, and their categories."""

    images: Tensor
    foreground: Tensor
    names: list[str]

    def __getitem__(self, rows: slice) -> "Contents":
        return Contents(self.images[rows], self.foreground[rows], self.names[rows])

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Painter:
    """Paints contents in weighted styles, and measures the result, by the network or by optimisation."""

    work: ImagingWork
    objective: StyleObjective
    network: StyleNetwork
    made_from: Any

    @torch.inference_mode()
    def by_network(self, contents: Contents, weights: Tensor) -> tuple[Tensor, float]:
        """Returns painted images and the seconds of one; ``weights`` ``[n, styles]``."""
        started = time.perf_counter()
        painted = [
            inside(self.network(image[None], weight[None]), image[None], mask[None])
            for image, mask, weight in zip(contents.images, contents.foreground, weights, strict=True)
        ]
        return torch.cat(painted), (time.perf_counter() - started) / len(contents)

    def by_optimisation(self, contents: Contents, weights: Tensor, what: str) -> tuple[Tensor, list[float], float]:
        """Returns one painted image, the loss after every step, and the seconds."""
        images, foreground = contents.images, contents.foreground
        content = self.objective.content_of(images)

        def loss_of(image: Tensor) -> Tensor:
            return self.objective(inside(image, images, foreground), content, foreground, weights)["loss"].sum()

        def make() -> dict[str, Any]:
            steps = self.work.config.style_transfer.steps
            done = optimised(images, loss_of, steps, progress=self.work.progress(what))
            return {"image": done.image.numpy(), "losses": np.array(done.losses)}

        digest = content_hash([images.numpy().tobytes(), foreground.numpy().tobytes()])
        arrays = self.work.kept("styled", [self.made_from, digest, weights.tolist()], make)
        painted = inside(torch.from_numpy(arrays["image"]), images, foreground)
        return painted, arrays["losses"].tolist(), float(arrays["seconds"])

    @torch.no_grad()
    def measured(self, painted: Tensor, contents: Contents, weights: Tensor) -> dict[str, float]:
        """Returns the mean of the loss and its terms."""
        terms = self.objective(painted, self.objective.content_of(contents.images), contents.foreground, weights)
        return {name: float(terms[name].mean()) for name in TERMS}


def transfer_styles(work: ImagingWork) -> ImagingResult:
    """Trains the network, or finds it finished, and paints test images by it and by optimisation."""
    config = work.config.style_transfer
    size = work.config.image_size
    sources = enumerate(config.styles)
    styles = torch.stack([work.swatch(source, size, place, KEY, mirror=True) for place, source in sources])
    features = work.features(*dict.fromkeys([*config.content_layers, *config.style_layers]))
    objective = StyleObjective(config, features, styles)
    used = {key: value for key, value in asdict(config).items() if key not in ("styles", "steps", "optimised")}
    made_from = [used, content_hash([styles.numpy().tobytes()]), work.features_key(features)]
    path = work.trained(
        NAME, "-loss", lambda: StyleTransferModule(work.config, objective, len(styles), NAME), made_from
    )
    network = load_network(StyleNetwork, StyleArchitecture, path, "style network", "train it again")[0]
    painter = Painter(work, objective, network, [made_from, config.steps])
    contents = _contents(work)
    table, compared, steps_to_match = _compared(painter, contents[: config.optimised], config.styles)
    return ImagingResult(
        kind=NAME,
        title="Style transfer",
        lead=(
            "Garments of test images in other patterns, inside their masks: by one feed-forward network for all styles "
            "and mixtures, and by optimising the pixels on the same loss."
        ),
        dataset=work.dataset.name,
        seed=work.run.config.seed,
        facts={
            "Training images": len(work.data.items["train"]),
            "Styles": len(styles),
            "Parameters": sum(parameter.numel() for parameter in network.parameters()),
            "Receptive field": f"{network.receptive_field} pixels",
            "Training": f"{work.training_time(NAME):,.0f} s",
            "Optimisation steps": config.steps,
            "Steps to the network's loss": steps_to_match,
        },
        tables=[table],
        sheets=[
            compared,
            _all_styles(painter, contents, styles, config.styles),
            _mixtures(painter, contents[: max(1, config.optimised)], config.styles),
        ],
    )


def _contents(work: ImagingWork) -> Contents:
    """Takes test images spread evenly over the split."""
    chosen = work.chosen("test", work.config.shown)
    maps = image_tensor(work.data.images.pixels[chosen])
    catalogue = work.dataset.catalogue
    names = [catalogue.category_names[catalogue.categories[item]] for item in chosen]
    return Contents(maps[:, :3], maps[:, 3:], names)


def _compared(painter: Painter, contents: Contents, names: list[str]) -> tuple[MetricTable, ImageSheet, str]:
    """Paints images in every style by both ways; also counts the steps after which optimisation is as good."""
    sums: dict[str, dict[str, list[float]]] = {way: {} for way in ("unchanged", "network", "optimisation")}
    rows, labels = [], []
    steps: list[int | None] = []
    for style, name in enumerate(names):
        painted: dict[str, list[Tensor]] = {"network": [], "optimisation": []}
        for row in range(len(contents)):
            one, weights = contents[row : row + 1], torch.eye(len(names))[style : style + 1]
            fed, seconds = painter.by_network(one, weights)
            best, losses, long = painter.by_optimisation(one, weights, f"{name}, image {row + 1}")
            for way, image, took in (
                ("unchanged", one.images, 0.0),
                ("network", fed, seconds),
                ("optimisation", best, long),
            ):
                for measure, value in {**painter.measured(image, one, weights), "seconds": took}.items():
                    sums[way].setdefault(measure, []).append(value)
            reached = np.flatnonzero(np.array(losses) <= sums["network"]["loss"][-1])
            steps.append(int(reached[0]) + 1 if len(reached) else None)
            painted["network"].append(fed)
            painted["optimisation"].append(best)
        for way, images in painted.items():
            rows.append(tiles(torch.cat(images)))
            labels.append(f"{name}\n{way}")
    values: dict[str, list[Value]] = {
        way.capitalize(): [float(np.mean(found[measure])) for measure in (*TERMS, "seconds")]
        for way, found in sums.items()
    }
    table = MetricTable(
        "losses",
        "Loss reached and time",
        ("Loss", "Content's error", "Style's error", "Seconds per image"),
        values,
        "Means over images and styles. Unchanged: the image itself. The first pass of a network is not left out.",
        digits=4,
    )
    note = "The network saw none of these images; optimisation began at the image itself."
    drawn = sheet([tiles(contents.images), *rows], ["image", *labels], contents.names)
    return (
        table,
        ImageSheet("compared", "One pass of the network beside optimisation", drawn, note),
        _median(steps),
    )


def _median(steps: Sequence[int | None]) -> str:
    """Writes the lower median of steps, None being more than all."""
    found = sorted(step for step in steps if step is not None)
    middle = (len(steps) - 1) // 2
    return f"{found[middle]}" if middle < len(found) else "never reached by most"


def _all_styles(painter: Painter, contents: Contents, styles: Tensor, names: list[str]) -> ImageSheet:
    """Paints all images in all styles by the network."""
    rows = [torch.cat([torch.ones_like(contents.images[:1]), contents.images])]
    for style in range(len(names)):
        weights = torch.eye(len(names))[[style] * len(contents)]
        rows.append(torch.cat([styles[style : style + 1], painter.by_network(contents, weights)[0]]))
    image = sheet([tiles(row) for row in rows], ["image", *names], ["style", *contents.names])
    return ImageSheet("styles", "Test images in every style, by the network", image)


def _mixtures(painter: Painter, contents: Contents, names: list[str]) -> ImageSheet:
    """Mixes the first style with the second, by the network's weights."""
    second = min(1, len(names) - 1)
    rows = []
    for row in range(len(contents)):
        one = contents[row : row + 1]
        weights = torch.stack(
            [(1 - share) * torch.eye(len(names))[0] + share * torch.eye(len(names))[second] for share in SHARES]
        )
        many = Contents(one.images.repeat(len(SHARES), 1, 1, 1), one.foreground.repeat(len(SHARES), 1, 1, 1), [])
        middle = painter.by_optimisation(one, weights[len(SHARES) // 2][None], f"mixture, image {row + 1}")[0]
        rows.append(tiles(torch.cat([one.images, painter.by_network(many, weights)[0], middle])))
    heads = ["image", *(f"{share:.0%}" for share in SHARES), "50%, optimised"]
    image = sheet(rows, contents.names, heads)
    note = f"From {names[0]} to {names[second]}: weights of the normalisation's vectors, and of the two styles' losses."
    return ImageSheet("mixtures", "Mixtures of two styles", image, note)
