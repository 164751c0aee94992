"""The decoder of the generator's latents: an image for any vector of the retrieval space."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.imaging_conditional import ConditionalArchitecture
from outfits.data.catalogue import ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.imaging.conditional import ConditionalGenerator
from outfits.models.generator import Generator
from outfits.weights import load_network, save_network, weights_digest

BATCH = 256  # items mapped, and latents decoded, at a time
GENERATOR = "generator"  # fact of a decoder's file: digest of the generator whose space it decodes


@torch.inference_mode()
def retrieval_vectors(generator: Generator, items: ItemEmbeddings) -> NDArray[np.float32]:
    """Maps items to the generator's retrieval space, where its latents lie; unit length, shape ``[N, r]``."""
    device = generator.slots.device
    parts = [np.zeros((0, generator.latent_dim), dtype=np.float32)]
    for start in range(0, len(items.vectors), BATCH):
        vectors, present = (np.array(part[start : start + BATCH]) for part in (items.vectors, items.present))
        mapped = generator.retrieval_vectors(torch.from_numpy(vectors).to(device), torch.from_numpy(present).to(device))
        parts.append(mapped.float().cpu().numpy())
    return np.concatenate(parts)


def decoder_inputs(latents: Tensor, categories: NDArray[np.integer], num_categories: int) -> Tensor:
    """Joins latents with the categories of the items that answer for them.

    The latents of an outfit can be almost equal: then the rule that its items differ in category chooses which item
    answers for which, and no image of the latent alone could show it.

    Args:
        latents: shape ``[n, r]``, of any length; scaled to √r, so that a coordinate is about 1 whatever the width.
        categories: shape ``[n]``; one that the decoder does not know is none.
        num_categories: C.

    Returns:
        Inputs ``[n, r + C]``; the category is √r at its place and 0 elsewhere.
    """
    scale = math.sqrt(latents.shape[-1])
    known = torch.from_numpy(np.asarray(categories)[:, None] == np.arange(num_categories)).to(latents)
    return scale * torch.cat([F.normalize(latents, dim=-1), known], dim=-1)


def beside(inputs: Tensor, noise: float, latent_dim: int) -> Tensor:
    """Draws inputs ``[B, r + C]`` of :func:`decoder_inputs` with latents about theirs, of the same length.

    A Gaussian vector of length about ``noise`` times theirs is added; its factor is uniform, so that vectors at the
    items themselves are trained on too.
    """
    latents, categories = inputs[:, :latent_dim], inputs[:, latent_dim:]
    factor = noise * torch.rand(len(inputs), 1, device=inputs.device)
    moved = F.normalize(latents + factor * torch.randn_like(latents), dim=-1)
    return torch.cat([math.sqrt(latent_dim) * moved, categories], dim=-1)


@torch.inference_mode()
def decoded(decoder: ConditionalGenerator, latents: Tensor, categories: NDArray[np.integer]) -> tuple[Tensor, Tensor]:
    """Decodes latents ``[n, r]`` of items of these categories ``[n]``, as :func:`decoded_inputs` does."""
    return decoded_inputs(decoder, decoder_inputs(latents, categories, decoder.inputs - latents.shape[-1]))


@torch.inference_mode()
def decoded_inputs(decoder: ConditionalGenerator, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Decodes inputs ``[n, r + C]`` to images ``[n, 3, S, S]`` and masks ``[n, 1, S, S]``, on the CPU."""
    weight = next(decoder.parameters())
    parts = [decoder(some.to(weight)) for some in torch.split(inputs, BATCH)]
    return torch.cat([part[0] for part in parts]).cpu(), torch.cat([part[1] for part in parts]).cpu()


def save_decoder(decoder: ConditionalGenerator, path: Path, generator: Generator) -> str:
    """Writes a decoder with the digest of its generator; returns the file's SHA-256."""
    return save_network(decoder, path, **{GENERATOR: weights_digest(generator)})


def load_decoder(path: Path, generator: Generator) -> ConditionalGenerator:
    """Loads a decoder, in evaluation mode and frozen, from a file of :func:`save_decoder`.

    Raises:
        ArtifactError: if the file is missing, of another version, or decodes latents of another generator.
    """
    way_out = "delete it and run stage imagine again"
    decoder, facts, _ = load_network(ConditionalGenerator, ConditionalArchitecture, path, "decoder", way_out)
    if decoder.inputs != generator.latent_dim + generator.num_categories:
        raise ArtifactError(f"decoder {path} is of an earlier version, which was not told categories; {way_out}")
    if facts.get(GENERATOR) != weights_digest(generator):
        raise ArtifactError(f"decoder {path} decodes latents of another generator; {way_out}")
    return decoder
