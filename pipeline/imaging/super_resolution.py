"""Super-resolution: trains a network on each loss and measures it beside interpolation on test images."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lightning_modules.super_resolution import SuperResolutionModule
from outfits.config.schema.imaging import SuperResolutionArchitecture
from outfits.imaging.super_resolution import SuperResolution, shrunk
from outfits.metrics.images import fidelity
from outfits.metrics.paired import paired_interval
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.report.representation.sheets import framed, sheet, tiles
from outfits.representations.perceptual import FrozenFeatures
from outfits.weights import load_network
from pipeline.imaging.image_sets import set_table
from pipeline.imaging.work import MEASURED, ImagingWork

BATCH, RESAMPLES = 32, 2000
DETAIL = 3  # of the side, shown enlarged
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
WATCHED = {"pixel": "psnr", "perceptual": "-distance"}
NAMES = {
    "bicubic": "Bicubic interpolation",
    "lanczos": "Lanczos interpolation",
    "pixel": "Network, squared error",
    "perceptual": "Network, perceptual loss",
}
Enlarge = Callable[[Tensor], Tensor]
Measured = dict[str, NDArray[np.float64]]


def enlarge_images(work: ImagingWork) -> ImagingResult:
    """Trains the networks, or finds them finished, and enlarges the test images by each and by interpolation."""
    options, features = work.config.super_resolution, work.features()
    networks = {loss: _trained(work, loss, features) for loss in dict.fromkeys(options.losses)}
    ways: dict[str, Enlarge] = {
        name: partial(interpolated, factor=options.factor, kernel=kernel) for name, kernel in INTERPOLATIONS.items()
    }
    ways |= {loss: network.enlarge for loss, network in networks.items()}
    originals = work.images("test", MEASURED)
    small = [shrunk(some, options.factor) for some in torch.split(originals, BATCH)]
    enlarged = {name: torch.cat([enlarge(some) for some in small]) for name, enlarge in ways.items()}
    measured = {name: _measured(images, originals, features) for name, images in enlarged.items()}
    network = next(iter(networks.values()))
    size = work.config.image_size
    return ImagingResult(
        kind="super_resolution",
        title="Super-resolution",
        lead=(
            f"Images of {size // options.factor} pixels are enlarged to {size}: a network sees the small image and "
            "adds a correction to its bicubic interpolation."
        ),
        dataset=work.dataset.name,
        seed=work.run.config.seed,
        facts={
            "Training images": len(work.data.items["train"]),
            "Test images": len(originals),
            "Parameters": sum(parameter.numel() for parameter in network.parameters()),
            "Receptive field": f"{network.receptive_field} small pixels",
            **{f"Training, {loss}": f"{work.training_time(_name(loss)):,.0f} s" for loss in networks},
        },
        tables=[
            _table(measured, work.run.config.seed),
            set_table(work, {NAMES[name]: images for name, images in enlarged.items()}),
        ],
        sheets=_sheets(work, ways),
    )


def interpolated(images: Tensor, factor: int, kernel: Image.Resampling) -> Tensor:
    """Enlarges 8-bit images ``[B, 3, s, s]`` in [0, 1] with Pillow."""
    side = images.shape[-1] * factor
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    enlarged = [np.asarray(Image.fromarray(image).resize((side, side), kernel)) for image in pixels]
    return torch.from_numpy(np.stack(enlarged)).permute(0, 3, 1, 2).float() / 255


def _name(loss: str) -> str:
    return f"super_resolution_{loss}"


def _trained(work: ImagingWork, loss: str, features: FrozenFeatures) -> SuperResolution:
    made_from = {key: value for key, value in asdict(work.config.super_resolution).items() if key != "losses"}
    path = work.trained(
        _name(loss),
        WATCHED[loss],
        lambda: SuperResolutionModule(work.config, loss, features, _name(loss)),
        [loss, made_from, work.features_key(features)],
    )
    return load_network(SuperResolution, SuperResolutionArchitecture, path, "super-resolution", "train it again")[0]


def _measured(images: Tensor, originals: Tensor, features: FrozenFeatures) -> Measured:
    """Measures enlarged images, rounded to 8 bits."""
    pairs = zip(torch.split(images, BATCH), torch.split(originals, BATCH), strict=True)
    parts = [fidelity((some * 255).round() / 255, true, features) for some, true in pairs]
    return {name: torch.cat([part[name] for part in parts]).double().numpy() for name in parts[0]}


def _table(measured: Mapping[str, Measured], seed: int) -> MetricTable:
    baseline = measured["bicubic"]
    rows: dict[str, list[Value]] = {}
    for name, values in measured.items():
        lead: list[Value] = [None, None]
        if name != "bicubic":
            gains = {
                metric: paired_interval(values[metric], baseline[metric], resamples=RESAMPLES, seed=seed)
                for metric in ("psnr", "distance")
            }
            lead = [f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})" for gain in gains.values()]
        rows[NAMES[name]] = [*(float(values[metric].mean()) for metric in ("psnr", "ssim", "distance")), *lead]
    return MetricTable(
        "fidelity",
        "Enlarged test images against their originals",
        ("PSNR, dB", "SSIM", "Perceptual distance", "PSNR less bicubic's", "Distance less bicubic's"),
        rows,
        "Means over images, and the mean difference to bicubic interpolation with its 95% bootstrap interval. All are "
        "rounded to 8 bits. The perceptual distance, less is better, is that of unit-length features of the frozen "
        "network, at the layers of the perceptual loss.",
    )


def _sheets(work: ImagingWork, ways: Mapping[str, Enlarge]) -> list[ImageSheet]:
    factor = work.config.super_resolution.factor
    originals = work.images("test", work.config.shown)
    small = shrunk(originals, factor)
    enlarged = {NAMES[name]: enlarge(small) for name, enlarge in ways.items()}
    pixels = small.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    rows = {"Small image": pixels, **enlarged, "Original": originals}
    names = work.dataset.catalogue.category_names
    heads = [names[work.dataset.catalogue.categories[item]] for item in work.chosen("test", work.config.shown)]
    whole = sheet([tiles(images) for images in rows.values()], list(rows), heads)
    side = originals.shape[-1]
    cut = slice(side // DETAIL, side - side // DETAIL)
    details = [
        framed(images[..., cut, cut].repeat_interleave(DETAIL, dim=2).repeat_interleave(DETAIL, dim=3))
        for images in rows.values()
    ]
    return [
        ImageSheet("enlarged", "Test images", whole, "They are spread evenly over the test images; none was picked."),
        ImageSheet("details", "The middle of each, pixel by pixel", sheet(details, list(rows), heads)),
    ]
