"""Texture synthesis: continues fabrics by nearest neighbours and by Gram matrices."""

from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.encoders.content import content_hash
from outfits.encoders.learned import image_tensor
from outfits.errors import ConfigError
from outfits.imaging.gram_texture import gram_distance, noise_about, synthesised
from outfits.imaging.neighbour_texture import grown
from outfits.imaging.swatches import fabric_square
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.report.representation.sheets import framed, sheet
from outfits.representations.perceptual import FrozenFeatures
from pipeline.imaging.work import ImagingWork

LOOKED_AT = 200  # test images among which the fabrics that vary most are looked for
ENLARGED = 2
KEY = "model.imaging.texture.samples"
OF_GRAM = ("size", "steps", "colour_weight", "smoothness_weight")  # keys that its images depend on, besides the layers


def continue_fabrics(work: ImagingWork) -> ImagingResult:
    """Makes more of each fabric by both methods, and measures how far its statistics are from the sample's."""
    config = work.config.texture
    features = work.features(*config.layers)
    samples = {
        source: work.swatch(source, config.sample_size, place, KEY) for place, source in enumerate(config.samples)
    }
    samples |= _fabrics(work)
    if not samples:
        text = f"no test image has a square of {config.sample_size} pixels of fabric; choose a larger image_size"
        raise ConfigError([f"model.imaging.texture.fabrics: {text}"])
    rows: dict[str, list[Value]] = {}
    made: dict[str, list[Tensor]] = {}
    for name, sample in samples.items():
        neighbour, gram = _by_neighbours(work, name, sample), _by_gram(work, name, sample, features)
        images = [_tensor(neighbour["image"]), _tensor(gram["image"])]
        noise = noise_about(sample[None], config.size, work.run.config.seed)
        mean = sample.mean(dim=(1, 2))[None, :, None, None].expand_as(noise)
        compared = [*images, noise, mean]
        distances = [float(gram_distance(image, sample[None], features)) for image in compared]
        rows[name] = [*distances, float(neighbour["seconds"]), float(gram["seconds"])]
        made[name] = images
        work.run.log("imaging", f"{name}: Gram distance {distances[0]:.3f} by neighbours, {distances[1]:.3f} by Gram")
    return ImagingResult(
        kind="texture",
        title="Texture synthesis",
        lead=(
            f"More of a fabric, {config.size} pixels a side, from a patch of {config.sample_size}: grown around the "
            "patch pixel by pixel, or optimised from noise to the patch's statistics."
        ),
        dataset=work.dataset.name,
        seed=work.run.config.seed,
        facts={
            "Fabrics": len(samples),
            "Neighbourhood": f"{config.window} × {config.window} pixels",
            "Gram layers": len(config.layers),
            "Gram steps": config.steps,
        },
        tables=[
            MetricTable(
                "textures",
                "Distance of Gram matrices to the sample's",
                ("Nearest neighbour", "Gram", "Noise", "Mean colour", "Nearest neighbour, s", "Gram, s"),
                rows,
                "Relative squared error of the Gram matrices, summed over layers: 0 for the sample itself. The "
                "optimisation begins at the noise. What nearest neighbours make holds the sample.",
            )
        ],
        sheets=[_sheet(samples, made, config.size)],
    )


def _fabrics(work: ImagingWork) -> dict[str, Tensor]:
    """Cuts the fabrics that vary most from test images, named by their items."""
    config, ids = work.config.texture, work.dataset.catalogue.item_ids
    found = []
    for item in work.chosen("test", LOOKED_AT):
        maps = image_tensor(work.data.images.pixels[[item]])[0]
        square = fabric_square(maps[:3], maps[3:], config.sample_size)
        if square is not None:
            found.append((float(square.var(dim=(1, 2)).sum()), f"item:{ids[item]}", square))
    found.sort(key=lambda one: -one[0])
    return {name: square for _, name, square in found[: config.fabrics]}


def _by_neighbours(work: ImagingWork, name: str, sample: Tensor) -> dict[str, NDArray[np.generic]]:
    config, seed = work.config.texture, work.run.config.seed
    pixels = np.ascontiguousarray(sample.permute(1, 2, 0).numpy())

    def make() -> dict[str, NDArray[np.generic]]:
        tell = work.progress(f"{name}, nearest neighbour")
        return {"image": grown(pixels, config.size, config.window, config.tolerance, seed=seed, progress=tell)}

    made_from = [_digest(pixels), config.size, config.window, config.tolerance]
    return work.kept("neighbour_texture", made_from, make)


def _by_gram(work: ImagingWork, name: str, sample: Tensor, features: FrozenFeatures) -> dict[str, NDArray[np.generic]]:
    config, seed = work.config.texture, work.run.config.seed

    def make() -> dict[str, NDArray[np.generic]]:
        done = synthesised(sample[None], features, config, seed=seed, progress=work.progress(f"{name}, Gram"))
        return {"image": done.image[0].permute(1, 2, 0).numpy(), "losses": np.array(done.losses)}

    used = {key: value for key, value in asdict(config).items() if key in OF_GRAM}
    made_from = [_digest(sample.numpy()), used, work.features_key(features)]
    return work.kept("gram_texture", made_from, make)


def _digest(pixels: NDArray[np.generic]) -> str:
    return content_hash([pixels.tobytes().hex()])


def _tensor(image: NDArray[np.generic]) -> Tensor:
    """Converts an image ``[S, S, 3]`` to ``[1, 3, S, S]``."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def _sheet(samples: dict[str, Tensor], made: dict[str, list[Tensor]], size: int) -> ImageSheet:
    rows = []
    for name, sample in samples.items():
        padded = torch.ones(1, 3, size, size)
        start = (size - sample.shape[-1]) // 2
        padded[0, :, start : start + sample.shape[-1], start : start + sample.shape[-1]] = sample
        images = torch.cat([padded, *made[name]])
        rows.append(framed(images.repeat_interleave(ENLARGED, dim=2).repeat_interleave(ENLARGED, dim=3)))
    heads = ["Sample", "Nearest neighbour", "Gram matrices"]
    note = (
        "Nearest neighbours grow the texture around the sample, which stands in the middle; Gram matrices keep its "
        "statistics alone."
    )
    return ImageSheet("textures", "Fabrics and more of them", sheet(rows, list(samples), heads), note)
