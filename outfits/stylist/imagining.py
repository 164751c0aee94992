"""Draws what the generator had in mind: its latents of missing items, decoded to images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from outfits import run_files
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.config.method_calls import MethodCall
from outfits.errors import ArtifactError, ConfigError
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.decoder import decoded, load_decoder, retrieval_vectors
from outfits.stylist.loading import LoadedRun
from outfits.stylist.parser import PartialOutfit
from outfits.stylist.requests import tasks_of
from outfits.stylist.results import ItemRef


@dataclass(frozen=True, repr=False)
class ImaginedItem:
    """A missing item as the generator had it in mind, beside the item found for it.

    Attributes:
        image: the decoded latent, RGB.
        mask: where the garment is in it, 8-bit grey.
        found: the catalogue item that answers for it.
        similarity: cosine of the latent and that item in the generator's retrieval space, in [-1, 1].
    """

    image: Image.Image
    mask: Image.Image
    found: ItemRef
    similarity: float

    def __repr__(self) -> str:
        return f"<imagined {self.found.category}, found {self.found.name} {self.similarity:.3f}>"


@dataclass(frozen=True)
class ImaginedLatents:
    """Latents ``[k, r]`` with the catalogue positions ``[k]`` of the items that answer for them, and their cosines."""

    latents: Tensor
    found: NDArray[np.int64]
    similarity: NDArray[np.float32]


def decoder_of(run: LoadedRun) -> ConditionalGenerator:
    """Loads the run's decoder; raises :class:`ArtifactError` if it has none, or one of another generator."""
    path = run.folder / run_files.DECODER
    if not path.is_file():
        raise ArtifactError(
            f"run {run.folder} cannot imagine items: {run_files.DECODER} is missing; `python evaluate.py "
            f"run={run.folder} evaluate.imagine=true` trains one, as does train.py with stage imagine"
        )
    return load_decoder(path, run.context.require_generator()).to(run.context.device)


def imagined_latents(
    context: MethodContext,
    partial_outfit: PartialOutfit,
    k: int,
    conditions: Conditions | None,
    found: Sequence[int] | None = None,
) -> ImaginedLatents:
    """Computes the latents of an outfit's missing items.

    Args:
        context: models and catalogue, with the outfit's external items.
        partial_outfit: the given items.
        k: number of missing items.
        conditions: conditions of the missing items; None: none.
        found: catalogue positions of items that answer for the latents; None: those that the generator finds. Latent i
            goes with item i where there are conditions, else each with another so that the cosines' sum is largest.

    Raises:
        ArtifactError: if the generator emits fewer latents.
        ConfigError: if there are not k items.
    """
    if found is not None and len(found) != k:
        raise ConfigError([f"found: {len(found)} items for k={k} missing ones; give one for each"])
    tasks = tasks_of([partial_outfit], k, conditions, 0)
    latents = context.latents(tasks)[0]  # [k, r]
    if found is None:
        positions = complete(MethodCall("generator", "generator", None), tasks, context).chosen[0]
    else:
        positions = np.asarray(found, dtype=np.int64)
    items = context.catalogue.require_embeddings.take(positions)
    vectors = torch.from_numpy(retrieval_vectors(context.require_generator(), items))
    cosines = (F.normalize(latents, dim=-1) @ vectors.T).numpy()  # [latents, items]
    order = np.arange(k)
    if found is not None and conditions is None:
        order = linear_sum_assignment(cosines.T, maximize=True)[1]  # the latent of each item
    return ImaginedLatents(latents[order], positions, cosines[order, np.arange(k)])


def drawn_items(
    latents: ImaginedLatents,
    decoder: ConditionalGenerator,
    refs: Sequence[ItemRef],
    categories: NDArray[np.integer],
) -> list[ImaginedItem]:
    """Decodes latents; ``refs`` are the items that answer for them, of these categories ``[k]``."""
    images, masks = (
        (part * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for part in decoded(decoder, latents.latents, categories)
    )
    return [
        ImaginedItem(Image.fromarray(image), Image.fromarray(mask[..., 0]), ref, float(similarity))
        for image, mask, ref, similarity in zip(images, masks, refs, latents.similarity, strict=True)
    ]
