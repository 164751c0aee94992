"""Reports what the latents of an image model hold, as metrics, images and one page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from outfits import run_files
from outfits.config.schema.representation import IMAGE_MODELS, RepresentationReportConfig
from outfits.errors import DataError
from outfits.metrics.disentanglement import Disentanglement, disentanglement
from outfits.report.drawing import data_uri, image_bytes, svg_uri
from outfits.report.pages import render
from outfits.report.representation.heatmap import heat_map
from outfits.report.representation.images import (
    arithmetic,
    deformation,
    interpolations,
    moving_coordinates,
    neighbour_sheet,
    reconstructions,
    samples,
    traversals,
)
from outfits.report.representation.items import EncodedItems
from outfits.report.representation.metrics import (
    NEAREST,
    attribute_directions,
    coordinate_factors,
    divergence,
    neighbour_agreement,
    reconstruction_metrics,
)
from outfits.report.representation.result import BASELINES, RepresentationResult
from outfits.report.representation.sheets import sheet_bytes
from outfits.report.style import DARK, LIGHT, PRINT
from outfits.storage import write_json, write_text

IMAGES = (
    "reconstructions",
    "interpolations",
    "traversals",
    "arithmetic",
    "samples",
    "deformation",
    "neighbours",
    "disentanglement",
)


def measure_representation(
    items: EncodedItems, most: int, *, dataset: str, seed: int, training: Mapping[str, int]
) -> RepresentationResult:
    """Measures what the latents of an image model hold; disentanglement on at most ``most`` items.

    ``training`` and ``seed`` are as in :class:`RepresentationResult`.
    """
    model = items.model
    return RepresentationResult(
        dataset=dataset,
        seed=seed,
        model_name=model.title,
        settings=model.settings,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        training=dict(training),
        items={
            "catalogue": len(items.images.pixels),
            "reported": len(items),
            "different_pictures": len(items.distinct()),
            "training": items.training,
            "validation": items.validation,
            "held_out": int(items.held_out.sum()),
            "held_out_are_copies": items.copies,
        },
        fidelity=reconstruction_metrics(items, seed) if model.generative else None,
        divergence=divergence(items),
        attribute_directions=attribute_directions(items) if model.generative else [],
        neighbour_agreement=neighbour_agreement(items, NEAREST, seed),
        disentanglement=_disentanglement(items, most, seed),
    )


def write_representation_report(
    result: RepresentationResult,
    items: EncodedItems,
    config: RepresentationReportConfig,
    folder: Path,
    config_yaml: str,
) -> None:
    """Draws what the latents of an image model hold and writes the report.

    Into the folder go ``index.html``, which ends with ``config_yaml``, ``results.json``, ``results.csv`` with a row per
    factor, and each of :data:`IMAGES` that this model has as PNG; those of an earlier report that it lacks are deleted.
    """
    drawn = {name: sheet_bytes(image) for name, image in _sheets(items, result, config).items()}
    if result.disentanglement is not None:
        drawn["disentanglement"] = image_bytes(heat_map(result.disentanglement, PRINT))
    folder.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        path = folder / f"{name}.png"
        if name in drawn:
            path.write_bytes(drawn[name])
        else:
            path.unlink(missing_ok=True)
    result.frame().to_csv(folder / run_files.RESULTS_TABLE, index=False)
    write_text(folder / run_files.PAGE, _page(result, drawn, config, config_yaml))
    # last and atomically, so that results.json exists only beside everything else
    write_json(folder / run_files.RESULTS, result.to_json())


def _disentanglement(items: EncodedItems, most: int, seed: int) -> Disentanglement | None:
    """Measures disentanglement; None where no factor has two values with enough items."""
    factors = {name: values.tolist() for name, values in items.factors.items()}
    try:
        return disentanglement(items.latents, factors, seed=seed, max_items=most, groups=items.groups.tolist())
    except DataError:
        return None


def _sheets(
    items: EncodedItems, result: RepresentationResult, config: RepresentationReportConfig
) -> dict[str, Image.Image]:
    """Draws the images that this model has, by name."""
    seed, model = result.seed, items.model
    new = np.flatnonzero(items.held_out)
    shown = items.spread(new, config.images, seed)
    sheets: dict[str, Image.Image | None] = {}
    if model.generative:
        parts = result.disentanglement
        factors = [] if parts is None else coordinate_factors(parts)
        coordinates = moving_coordinates(items, config.coordinates)
        half = max(1, config.images // 2)
        sheets["reconstructions"] = reconstructions(items, shown)
        sheets["interpolations"] = interpolations(items, new, config.steps, seed)
        sheets["traversals"] = traversals(items, int(shown[0]), coordinates, config.steps, factors)
        sheets["arithmetic"] = arithmetic(items, result.attribute_directions, half, seed)
        sheets["samples"] = samples(model, config.images, seed)
        sheets["deformation"] = deformation(items, shown[: config.images - 1])
    sheets["neighbours"] = neighbour_sheet(items, shown, config.neighbours)
    return {name: image for name, image in sheets.items() if image is not None}


def _page(
    result: RepresentationResult, drawn: Mapping[str, bytes], config: RepresentationReportConfig, config_yaml: str
) -> str:
    """Renders the page's HTML."""
    parts = result.disentanglement
    importances = {theme.name: svg_uri(heat_map(parts, theme)) for theme in (LIGHT, DARK)} if parts else None
    return render(
        "representation.html.j2",
        result=result,
        settings=result.settings,
        texts=IMAGE_MODELS[result.settings["kind"]].texts,
        images={name: data_uri("png", content) for name, content in drawn.items()},
        importances=importances,
        baselines=BASELINES,
        nearest=NEAREST,
        shown=config,
        config_yaml=config_yaml,
    )
