"""The report on imagined images of missing items."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.context import MethodContext
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.imaging_conditional import ImagineConfig
from outfits.encoders.base import ItemEncoder
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.decoder import decoded, decoded_inputs, decoder_inputs, retrieval_vectors
from outfits.metrics.imagined import Retrieved, completed_scores, embed_images, ratio, retrieved, seen_share
from outfits.report.examples import evenly_spread
from outfits.report.imaging.conditional import STEPS, mean_images
from outfits.report.imaging.result import ImageSheet, ImagingResult, MetricTable, Value
from outfits.report.representation.sheets import MARK, framed, sheet, tiles

STREAM = 51  # first number of the seed of random items
IMAGINED, MEAN = "Imagined: the latent decoded", "Mean image of its category"
HELD_OUT = 1000  # held-out items that are decoded, at most


@dataclass(frozen=True)
class Imagined:
    """Holds tasks, the generator's latents for their missing items, and the items that these find.

    Attributes:
        context: models and catalogue of the run.
        encoder: the run's item encoder.
        decoder: the decoder of latents.
        images: prepared images of the catalogue, of the decoder's size.
        tasks: B outfits with k missing items.
        latents: shape ``[B, k, r]``.
        chosen: catalogue positions of the items found for them, shape ``[B, k]``.
    """

    context: MethodContext
    encoder: ItemEncoder
    decoder: ConditionalGenerator
    images: PackedImages
    tasks: CompletionTasks
    latents: Tensor
    chosen: NDArray[np.int64]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The catalogue in the retrieval space, shape ``[N, r]``."""
        return retrieval_vectors(self.context.require_generator(), self.context.catalogue.require_embeddings)

    def pixels(self, items: NDArray[np.integer]) -> Tensor:
        """Returns images ``[n, 3, S, S]`` in [0, 1] of items."""
        return image_tensor(self.images.pixels[items])[:, :3]


def measure_imagined(
    imagined: Imagined, items: Mapping[str, NDArray[np.int64]], dataset: str, config: ImagineConfig, seed: int
) -> ImagingResult:
    """Decodes the latents of all missing items, and compares what these images find with what other images find.

    ``items`` are the catalogue positions of the images that the decoder was trained and tested on, by split.
    """
    context, wanted = imagined.context, imagined.chosen.flatten()
    catalogue = context.catalogue
    vectors = imagined.vectors
    latents, own = imagined.latents.flatten(0, 1), catalogue.categories[wanted]
    drawn = decoded(imagined.decoder, latents, own)[0]
    means = mean_images(
        imagined.images.pixels[items["train"]], catalogue.categories[items["train"]], catalogue.categories[wanted]
    )
    shown = {
        IMAGINED: drawn,
        "Its own vector decoded": decoded(imagined.decoder, torch.from_numpy(vectors[wanted]), own)[0],
        "Its own image, as small": imagined.pixels(wanted),
        "Random item of its category": imagined.pixels(_others(wanted, catalogue.categories, imagined.images, seed)),
        MEAN: torch.from_numpy(means).permute(0, 3, 1, 2)[:, :3],
    }
    embedded = {name: embed_images(imagined.encoder, images) for name, images in shown.items()}
    found = {name: retrieved(vectors_, wanted, catalogue) for name, vectors_ in embedded.items()}
    scores = {name: completed_scores(context, imagined.tasks.given, each, own) for name, each in embedded.items()}
    real = catalogue.require_embeddings.take(wanted)
    scores = {"The item found, image and text": completed_scores(context, imagined.tasks.given, real, own), **scores}
    held = items["test"][evenly_spread(len(items["test"]), HELD_OUT)]
    held_drawn = decoded(imagined.decoder, torch.from_numpy(vectors[held]), catalogue.categories[held])[0]
    unit = torch.nn.functional.normalize(imagined.latents, dim=-1)
    cosines = (unit.flatten(0, 1) * torch.from_numpy(vectors[wanted])).sum(-1)
    k = unit.shape[1]
    among = (unit @ unit.transpose(1, 2))[:, ~torch.eye(k, dtype=torch.bool)]  # [B, k (k - 1)]
    return ImagingResult(
        kind="imagine",
        title="Imagined items",
        lead=(
            "The generator emits a latent for each missing item, and the nearest item is the answer. A decoder draws "
            "the latent itself, and is told the category of the item found, as the category's random item and mean "
            "image are."
        ),
        dataset=dataset,
        seed=seed,
        facts={
            "Missing items": len(wanted),
            "Different items found": len(np.unique(wanted)),
            "Training images": len(items["train"]),
            "Found items whose image trained the decoder": f"{seen_share(imagined.images, wanted, items['train']):.0%}",
            "Parameters of the decoder": sum(parameter.numel() for parameter in imagined.decoder.parameters()),
            "Cosine of latent and item found": f"{float(cosines.mean()):.3f}",
            "Cosine of an outfit's latents with each other": f"{float(among.mean()):.3f}" if k > 1 else "-",
            "Found at 10, times the mean image's": f"{ratio(found, IMAGINED, MEAN):.1f}",
        },
        tables=[
            _found_table("found", "What each image finds, encoded again", found, "the item that the latent found"),
            _found_table(
                "held_out",
                "Held-out items: their vectors decoded and encoded again",
                {"Vector decoded": retrieved(embed_images(imagined.encoder, held_drawn), held, catalogue)},
                "the item itself, whose image the decoder was not trained on",
            ),
            MetricTable(
                "outfits",
                "The outfit with each image instead of the item",
                ("S", "Judge"),
                {name: [each.get("S"), each.get("judge")] for name, each in scores.items()},
                "Images have no text, and S sees none. An outfit is the given items and all missing ones.",
            ),
        ],
        sheets=_sheets(imagined, vectors, items, config),
    )


def _found_table(name: str, title: str, found: Mapping[str, Retrieved], what: str) -> MetricTable:
    rows: dict[str, list[Value]] = {label: list(values.values()) for label, values in found.items()}
    return MetricTable(
        name,
        title,
        ("Item at 1", "Item at 10", "Category of the nearest", "Of ten nearest"),
        rows,
        f"Shares of images. An image is embedded by the run's encoder, and its cosine ranks the images of all items; "
        f"wanted is {what}. Items with the same image count as one.",
    )


def _others(
    wanted: NDArray[np.int64], categories: NDArray[np.integer], images: PackedImages, seed: int
) -> NDArray[np.int64]:
    """Draws another item with an image of each wanted one's category; the same where there is no other."""
    rng = np.random.default_rng([seed, STREAM])
    drawn = []
    for item in wanted.tolist():
        others = np.flatnonzero((categories == categories[item]) & images.present)
        others = others[others != item]
        drawn.append(int(rng.choice(others)) if len(others) else item)
    return np.array(drawn, dtype=np.int64)


def _sheets(
    imagined: Imagined, vectors: NDArray[np.float32], items: Mapping[str, NDArray[np.int64]], config: ImagineConfig
) -> list[ImageSheet]:
    catalogue, k = imagined.context.catalogue, imagined.chosen.shape[1]
    names = catalogue.category_names
    rows, labels = [], []
    for place in range(min(config.shown, len(imagined.tasks))):
        given, chosen = imagined.tasks.given[place], imagined.chosen[place]
        drawn, masks = decoded(imagined.decoder, imagined.latents[place], catalogue.categories[chosen])
        pairs = torch.stack([drawn, masks.expand(-1, 3, -1, -1), imagined.pixels(chosen)], dim=1).flatten(0, 1)
        marked = framed(tiles(pairs), MARK, width=2)
        marked[2::3] = tiles(imagined.pixels(chosen))
        rows.append(torch.cat([marked, tiles(imagined.pixels(given))]))
        labels.append("\n".join(names[catalogue.categories[item]] for item in chosen))
    heads = ["imagined", "mask", "found"] * k + ["given"]
    held = items["test"][evenly_spread(len(items["test"]), 10)]
    num_categories = imagined.context.num_categories
    ends = decoder_inputs(torch.from_numpy(vectors[held]), catalogue.categories[held], num_categories)
    shares = torch.linspace(0.0, 1.0, STEPS)[:, None]
    mixed = [
        tiles(decoded_inputs(imagined.decoder, (1 - shares) * one + shares * other)[0])
        for one, other in zip(ends[0:8:2], ends[1:8:2], strict=False)
    ]
    pair_names = [
        f"{names[catalogue.categories[one]]} to\n{names[catalogue.categories[other]]}"
        for one, other in zip(held[0:8:2], held[1:8:2], strict=False)
    ]
    return [
        ImageSheet("imagined", "Imagined items and those found", sheet(rows, labels, heads)),
        ImageSheet(
            "held_out",
            "Held-out items, drawn from their vectors",
            sheet(
                [tiles(imagined.pixels(held)), tiles(decoded_inputs(imagined.decoder, ends)[0])],
                ["Image", "Decoded"],
                [names[catalogue.categories[item]] for item in held],
            ),
        ),
        ImageSheet("between", "Between two items of the retrieval space", sheet(mixed, pair_names)),
    ]
