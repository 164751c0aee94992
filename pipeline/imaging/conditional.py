"""Conditional generation: an image and its mask from category, attributes and view."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.conditional import ConditionedImageDataModule
from lightning_modules.conditional import ConditionalModule
from outfits.config.schema.imaging_conditional import ConditionalArchitecture
from outfits.encoders.learned import image_tensor
from outfits.imaging.attributes import AttributeCode
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.views import VIEW, Views
from outfits.metrics.conditional import obeyed_views, overlap
from outfits.metrics.images import fidelity
from outfits.report.imaging.conditional import changed_sheet, drawn_sheet, mean_images, mixture_sheet, view_sheet
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.weights import load_network
from pipeline.imaging.image_sets import set_table
from pipeline.imaging.work import ImagingWork

NAME = "conditional"
BATCH = 32
Draw = Callable[[NDArray[np.int64]], Tensor]


def draw_from_attributes(work: ImagingWork) -> ImagingResult:
    """Trains the network, or finds it finished, and draws the test items from their attributes."""
    config, catalogue, train = work.config.conditional, work.dataset.catalogue, work.data.items["train"]
    code = AttributeCode.of(catalogue, train, config.attributes, config.most_values)
    codes = code.codes(catalogue)
    views = Views(config.view)
    data = ConditionedImageDataModule(
        work.dataset,
        work.data.images,
        codes,
        batch_size=work.config.batch_size,
        num_workers=work.run.config.data.num_workers,
        seed=work.run.config.seed,
        split_seed=work.run.config.data.split.seed,
    )
    path = work.trained(
        NAME,
        "-loss",
        lambda: ConditionalModule(
            ConditionalGenerator(config, len(code), work.config.image_size, len(VIEW)), work.config, config, NAME, views
        ),
        [asdict(config), {name: list(values) for name, values in code.values.items()}, codes.tolist()],
        data,
    )
    model = load_network(ConditionalGenerator, ConditionalArchitecture, path, NAME, "train it again")[0]
    test = work.measured
    ways = _ways(work, model, code, codes)
    obeyed = obeyed_views(model, torch.from_numpy(codes[test]), config.view, work.run.config.seed)
    steps = -(-len(train) // work.config.batch_size) * work.config.epochs
    told = ", ".join(f"{name} ({len(values)})" for name, values in code.values.items())
    return ImagingResult(
        kind=NAME,
        title="Conditional generation",
        lead=(
            f"Images of {work.config.image_size} pixels and their masks are drawn from an item's category and "
            "attributes, and from the view: place, size and brightness."
        ),
        dataset=work.dataset.name,
        seed=work.run.config.seed,
        facts={
            "Training images": len(train),
            "Test images": len(test),
            "Told": told,
            "Parameters": sum(parameter.numel() for parameter in model.parameters()),
            "Steps": steps,
            "Training": f"{work.training_time(NAME):,.0f} s",
        },
        tables=[
            _fidelity_table(work, ways),
            set_table(work, {name: draw(np.arange(len(test)))[:, :3] for name, draw in ways.items()}),
            MetricTable(
                "views",
                "Views: what is asked for and what is drawn",
                ("Correlation", "Drawn change per asked one"),
                {name: [None if np.isnan(value) else value for value in pair] for name, pair in obeyed.items()},
                "Of each test item one random view. Place is the centre of the drawn mask, size the root of its area, "
                "brightness the mean within it; 1 and 1 is obedience.",
            ),
        ],
        sheets=_sheets(work, model, code, codes),
    )


def _ways(
    work: ImagingWork, model: ConditionalGenerator, code: AttributeCode, codes: NDArray[np.float32]
) -> dict[str, Draw]:
    """Returns what draws test items, by the rows ``[n]`` of the split, as image and mask ``[n, 4, S, S]``."""
    test, train = work.measured, work.data.items["train"]
    categories = work.dataset.catalogue.categories
    pixels = work.data.images.pixels
    nearest = train[code.nearest(codes[test], codes[train])]
    means = mean_images(pixels[train], categories[train], categories[test])

    @torch.inference_mode()
    def drawn(rows: NDArray[np.int64]) -> Tensor:
        return torch.cat(model(torch.from_numpy(codes[test[rows]])), dim=1)

    return {
        "Network": drawn,
        "Training item of the category with most equal attributes": lambda rows: image_tensor(pixels[nearest[rows]]),
        "Category's mean image": lambda rows: torch.from_numpy(means[rows]).permute(0, 3, 1, 2),
    }


def _fidelity_table(work: ImagingWork, ways: Mapping[str, Draw]) -> MetricTable:
    test, pixels, features = work.measured, work.data.images.pixels, work.features()
    rows: dict[str, list[Value]] = {}
    for name, draw in ways.items():
        parts: list[Tensor] = []
        for some in np.array_split(np.arange(len(test)), -(-len(test) // BATCH)):
            originals, maps = image_tensor(pixels[test[some]]), draw(some)
            measured = fidelity((maps[:, :3] * 255).round() / 255, originals[:, :3], features)
            parts.append(torch.stack([*measured.values(), overlap(maps[:, 3:], originals[:, 3:])]))
        rows[name] = torch.cat(parts, dim=1).double().mean(dim=1).tolist()
    return MetricTable(
        "fidelity",
        "Drawn test items against their images",
        ("PSNR, dB", "SSIM", "Perceptual distance", "Mask: intersection over union"),
        rows,
        "The network is told category and attributes, and draws without a view. The masks are those that encoders "
        "estimate from the background. Perceptual distance, less is better, in features of the frozen network.",
    )


def _sheets(
    work: ImagingWork, model: ConditionalGenerator, code: AttributeCode, codes: NDArray[np.float32]
) -> list[ImageSheet]:
    shown = work.chosen("test", work.config.shown)
    names, categories = work.dataset.catalogue.category_names, work.dataset.catalogue.categories
    heads = [names[category] for category in categories[shown].tolist()]
    train, pixels = work.data.items["train"], work.data.images.pixels
    means = torch.from_numpy(mean_images(pixels[train], categories[train], categories[shown])).permute(0, 3, 1, 2)
    maps, told = image_tensor(pixels[shown]), torch.from_numpy(codes[shown])
    sheets = [
        drawn_sheet(model, told, maps[:, :3], maps[:, 3:], means[:, :3], heads),
        view_sheet(model, told, heads),
    ]
    if len(shown) > 1:
        sheets.append(mixture_sheet(model, told, heads))
    if len(code.values) > 1:
        sheets.append(changed_sheet(model, code, told[:4], heads[:4]))
    return sheets
