"""PixelCNN and PixelRNN: trains one on the likelihood of images, samples, completes, and looks for broken images."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.pixels import PixelModule
from outfits.config.schema.imaging_pixels import PixelArchitecture
from outfits.imaging.pixel_model import PixelModel
from outfits.imaging.pixelcnn import GatedPixelCnn
from outfits.imaging.pixelrnn import RowLstm
from outfits.metrics.lossless import encoded_bits, histogram_bits, sheet_bits
from outfits.metrics.oddness import SCORES, detection, oddness_scores
from outfits.report.imaging.pixels import PixelImages, completion_sheet, fault_sheet, odd_sheet, sample_sheet
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.weights import load_network
from pipeline.imaging.work import ImagingWork

NETWORKS: dict[str, tuple[type[PixelModel[Any]], str]] = {
    "pixelcnn": (GatedPixelCnn, "Gated PixelCNN"),
    "pixelrnn": (RowLstm, "PixelRNN, row LSTM"),
}


FILES = {"WebP without loss": "webp", "PNG": "png"}


def draw_by_pixels(work: ImagingWork) -> ImagingResult:
    """Trains the configured network, or finds it finished, and measures it on the test images."""
    kind = work.config.kind
    network, title = NETWORKS[kind]
    categories = len(work.dataset.catalogue.category_names)
    path = work.trained(
        kind,
        "-bits",
        lambda: PixelModule(work.config, network, categories, kind),
        made_from(work),
    )
    model = load_network(partial(_built, network), PixelArchitecture, path, title, "train it again")[0]
    images, told = _split(work, "test")
    seed = work.run.config.seed
    train, size = work.data.items["train"], work.config.image_size
    areas = detection(model, images, told, seed)
    steps = -(-len(train) // work.config.batch_size) * work.config.epochs
    return ImagingResult(
        kind=kind,
        title=title,
        lead=(
            f"The likelihood of images of {size} pixels, pixel by pixel from top left to bottom right, given the "
            "category. It says which images are odd, completes images and draws new ones."
        ),
        dataset=work.dataset.name,
        seed=seed,
        facts={
            "Training images": len(train),
            "Test images": len(images),
            "Parameters": sum(parameter.numel() for parameter in model.parameters()),
            "Receptive field": model.receptive_field,
            "Likelihood": f"{work.config.pixels.mixtures} discretised logistics",
            "Steps": steps,
            "Training": f"{work.training_time(kind):,.0f} s",
        },
        tables=[
            _bits_table(title, model.pixel_bits(images, told).mean(axis=(1, 2)), images, _split(work, "train")[0]),
            MetricTable(
                "faults",
                "Area under the ROC curve, test images against the same with a fault",
                list(SCORES.values()),
                {name: [scores[score] for score in SCORES] for name, scores in areas.items()},
                "0.5 is chance; below it broken images count as more regular than whole ones. The last column has "
                "learned nothing: it is the length of the image as a WebP file.",
            ),
        ],
        sheets=_sheets(work, model, oddness_scores(model, images, told)),
    )


def made_from(work: ImagingWork) -> list[Any]:
    """Returns JSON values that the weights depend on besides the images: the architecture and the items' categories."""
    architecture = [getattr(work.config.pixels, field.name) for field in fields(PixelArchitecture)]
    catalogue = work.dataset.catalogue
    told = [catalogue.categories[work.data.items[split]].tolist() for split in ("train", "valid")]
    return [*architecture, len(catalogue.category_names), told]


def _built(
    network: type[PixelModel[Any]], config: PixelArchitecture, categories: int, image_size: int
) -> PixelModel[Any]:
    return network(config, categories, image_size)


def _split(work: ImagingWork, split: str, most: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``[n, S, S, 3]`` of a split, at most ``most`` spread evenly over it, and their categories."""
    items = work.chosen(split, most)
    return work.data.images.pixels[items, :, :, :3], work.dataset.catalogue.categories[items].astype(np.int64)


def _bits_table(
    title: str, bits: NDArray[np.float64], images: NDArray[np.uint8], train: NDArray[np.uint8]
) -> MetricTable:
    ways = {
        title: (bits, None),
        **{name: (encoded_bits(images, kind), sheet_bits(images, kind)) for name, kind in FILES.items()},
        "Histogram of each channel": (histogram_bits(train, images), None),
    }
    rows: dict[str, list[Value]] = {
        name: [
            float(each.mean()),
            sheet,
            float(np.median(each)),
            None if name == title else float((bits < each).mean()),
        ]
        for name, (each, sheet) in ways.items()
    }
    return MetricTable(
        "bits",
        "Bits per dimension of the test images",
        ("Mean", "All in one file", "Median", "Images that the network needs fewer bits for"),
        rows,
        "A dimension is one channel of one pixel. The files' bits are those of the whole file, headers included; the "
        "second column puts all test images into one file, a column or a square grid of them, whichever is shorter, so "
        "that headers count for nothing and repetitions across images count. No equal image was trained on.",
    )


def _sheets(work: ImagingWork, model: PixelModel[Any], scores: Mapping[str, NDArray[np.float64]]) -> list[ImageSheet]:
    images, told = _split(work, "test")
    names, seed, options = work.dataset.catalogue.category_names, work.run.config.seed, work.config.pixels
    whole = PixelImages(images, told, [names[category] for category in told.tolist()])
    some = whole.take(np.searchsorted(work.data.items["test"], work.chosen("test", work.config.shown)))
    known = round(options.known_rows * work.config.image_size)
    return [
        sample_sheet(model, some, options.completions, seed),
        completion_sheet(model, some, known, options.completions, seed),
        fault_sheet(model, some.take(np.arange(min(2, len(some.names)))), seed),
        odd_sheet(whole, scores, work.config.shown),
    ]
