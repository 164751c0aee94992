"""Writes S, the generator and the image encoder as ONNX files, and checks them against torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from outfits.encoders.base import ImageEncoder, ItemEncoder
from outfits.encoders.learned import LearnedImages
from outfits.encoders.open_clip import OpenClipImages
from outfits.encoders.timm_images import TimmImages
from outfits.errors import ArtifactError, ConfigError, one_line
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator

TOLERANCE = 1e-4
"""Largest difference to torch, of logits, latents and image vectors; relative to the largest where that exceeds 1."""
SIZES = (1, 2, 3, 5, 8, 16)
"""Outfit sizes that a file is checked with."""
EXAMPLE = 3  # items of the outfit that a network is traced with
_NEEDED = "onnx: needs onnx, onnxscript and onnxruntime; pip install 'outfits[onnx]'"

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Exportable:
    """A network to write.

    Attributes:
        name: of the file, without its suffix.
        module: takes tensors in the order of the inputs and returns one.
        output: name of what it returns.
        dynamic: names of inputs with those of their dimensions that may have any size, by position.
        examples: inputs by name; the first ones are traced, all are checked.
    """

    name: str
    module: nn.Module
    output: str
    dynamic: Mapping[str, Mapping[int, str]]
    examples: Sequence[Arrays]


class GraphOfOne(nn.Module):
    """A generator for one outfit and ``k`` conditions, as tensors instead of a graph.

    Shapes:
        vectors ``[n, d]``, present ``[n, 2]``, category ``[n]``, allowed ``[k, C]``, texts ``[k, text_dim]`` → latents
        ``[k, r]``.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, vectors: Tensor, present: Tensor, category: Tensor, allowed: Tensor, texts: Tensor) -> Tensor:
        """Computes latents; see the class for shapes."""
        items = vectors.shape[0]
        place = torch.arange(items * (items - 1))
        others = torch.clamp(torch.ones_like(category).sum() - 1, min=1)  # a tensor, so that any size divides
        source, target = place // others, place % others
        edges = torch.stack([source, target + (target >= source)])
        graph = _Graph(
            x=vectors,
            present=present,
            category=category,
            edge_index=edges,
            batch=torch.zeros_like(category),
            num_graphs=1,
            condition_categories=allowed[None],
            condition_texts=texts[None],
        )
        latents: Tensor = self.generator(graph, allowed.shape[0])[0]
        return latents


class RetrievalVectors(nn.Module):
    """The map of items ``[n, d]`` with presence ``[n, 2]`` to unit vectors of the retrieval space, ``[n, r]``."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Computes vectors; see the class for shapes."""
        return self.generator.retrieval_vectors(vectors, present)


class _Graph:
    """What the generator reads of a PyG batch, without the rest, which cannot be traced."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__


class _Images(nn.Module):
    """Unit vectors of images ``[B, 3, S, S]`` in [0, 1], prepared as the encoder prepares them."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.normalise: Any = None
        if isinstance(encoder, LearnedImages):
            self.network: Any = encoder.model
        elif isinstance(encoder, OpenClipImages):
            self.network = encoder.clip.model
            self.normalise = encoder.clip.finish[-1]
        elif isinstance(encoder, TimmImages):
            self.network = encoder.features
            self.register_buffer("mean", torch.from_numpy(np.asarray(encoder.state["mean"])))
            self.register_buffer("components", torch.from_numpy(np.asarray(encoder.state["components"])))

    def forward(self, images: Tensor) -> Tensor:
        """Computes vectors ``[B, dim]``."""
        if isinstance(self.encoder, LearnedImages):
            vectors = self.network.embed(images)
        elif isinstance(self.encoder, OpenClipImages):
            vectors = self.network.encode_image(self.normalise(images))
        else:
            vectors = (self.network(images) - self.mean) @ self.components.T
        return nn.functional.normalize(vectors, dim=-1)


def exportable_scorer(scorer: OutfitTransformer, name: str = "scorer") -> Exportable:
    """Describes S: logits ``[sets]`` of ``vectors [sets, items, d]``, ``present`` and ``padding``."""
    draw = torch.Generator().manual_seed(0)
    dim = sum(scorer.sizes.values())

    def example(sets: int, items: int) -> Arrays:
        padding = torch.zeros(sets, items, dtype=torch.bool)
        padding[-1, items // 2 + 1 :] = True
        return {
            "vectors": torch.randn(sets, items, dim, generator=draw),
            "present": torch.rand(sets, items, 2, generator=draw) < 0.8,
            "padding": padding,
        }

    both = {0: "sets", 1: "items"}
    examples = [example(2, EXAMPLE), *(example(sets, items) for sets in (1, 3) for items in SIZES)]
    return Exportable(name, scorer, "logits", {"vectors": both, "present": both, "padding": both}, examples)


def exportable_generator(generator: Generator, k: int) -> Exportable:
    """Describes the generator for ``k`` missing items, see :class:`GraphOfOne`."""
    draw = torch.Generator().manual_seed(0)
    sizes = generator.sizes

    def example(items: int) -> Arrays:
        return {
            "vectors": torch.randn(items, sizes["image_dim"] + sizes["text_dim"], generator=draw),
            "present": torch.rand(items, 2, generator=draw) < 0.8,
            "category": torch.randint(sizes["categories"], (items,), generator=draw),
            "allowed": torch.rand(k, sizes["categories"], generator=draw) < 0.5,
            "texts": torch.randn(k, sizes["text_dim"], generator=draw),
        }

    dynamic = {name: {0: "items"} for name in ("vectors", "present", "category")}
    examples = [example(EXAMPLE), *map(example, SIZES)]
    return Exportable(f"generator_k{k}", GraphOfOne(generator), "latents", dynamic, examples)


def exportable_retrieval(generator: Generator) -> Exportable:
    """Describes the map by which the catalogue's items are compared with latents, see :class:`RetrievalVectors`."""
    draw = torch.Generator().manual_seed(0)
    dim = generator.sizes["image_dim"] + generator.sizes["text_dim"]
    examples = [
        {"vectors": torch.randn(items, dim, generator=draw), "present": torch.rand(items, 2, generator=draw) < 0.8}
        for items in (EXAMPLE, *SIZES)
    ]
    dynamic = {name: {0: "items"} for name in ("vectors", "present")}
    return Exportable("generator_items", RetrievalVectors(generator), "retrieval_vectors", dynamic, examples)


def exportable_images(encoder: ItemEncoder) -> Exportable:
    """Describes the image encoder: unit vectors ``[images, dim]`` of ``images [images, 3, height, width]`` in [0, 1].

    Raises:
        ConfigError: if the encoder is no network.
    """
    image = encoder.image
    if isinstance(image, LearnedImages):
        side = image.model.image_size
    elif isinstance(image, OpenClipImages):
        side = image.clip.image_size
    elif isinstance(image, TimmImages):
        side = image.features.config.image_size
    else:
        raise ConfigError(["onnx: the run's image encoder is no network; learned, open_clip and timm are"])
    draw = torch.Generator().manual_seed(0)
    examples = [{"images": torch.rand(count, 3, side, side, generator=draw)} for count in (2, 1, 3)]
    return Exportable("image_encoder", _Images(image).eval(), "vectors", {"images": {0: "images"}}, examples)


def require_onnx() -> None:
    """Raises :class:`ConfigError` if the extra ``onnx`` is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError([_NEEDED]) from None


def write_onnx(parts: Sequence[Exportable], folder: Path) -> dict[str, float]:
    """Writes networks as ONNX files and runs each with ONNX Runtime; returns the largest difference to torch by name.

    Differences are relative as :data:`TOLERANCE` is.

    Raises:
        ConfigError: if the extra ``onnx`` is not installed.
        ArtifactError: if a network cannot be written, or differs from torch by more than :data:`TOLERANCE`.
    """
    require_onnx()
    folder.mkdir(parents=True, exist_ok=True)
    differences = {}
    for part in parts:
        path = folder / f"{part.name}.onnx"
        _write(part, path)
        differences[part.name] = _largest_difference(part, path)
        if not differences[part.name] <= TOLERANCE:
            path.unlink()
            raise ArtifactError(
                f"onnx: {part.name} differs from torch by {differences[part.name]:.1e}, more than {TOLERANCE:g}; "
                "export without ONNX"
            )
    return differences


def _write(part: Exportable, path: Path) -> None:
    dimensions: dict[str, Any] = {}
    shapes = [
        {axis: dimensions.setdefault(name, torch.export.Dim(name)) for axis, name in part.dynamic.get(each, {}).items()}
        for each in part.examples[0]
    ]
    try:
        with _quiet():
            torch.onnx.export(
                part.module,
                tuple(part.examples[0].values()),
                path,
                dynamo=True,
                external_data=False,
                input_names=list(part.examples[0]),
                output_names=[part.output],
                dynamic_shapes=tuple(shape or None for shape in shapes),
            )
    except Exception as error:  # the exporter raises what it happens to meet
        text = one_line(error, 200)
        raise ArtifactError(f"onnx: {part.name} cannot be written as ONNX ({type(error).__name__}: {text})") from error


def _largest_difference(part: Exportable, path: Path) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    differences, scale = [], 1.0
    for example in part.examples:
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in example.items()})
        with torch.inference_mode():
            expected: NDArray[np.float32] = part.module(*example.values()).numpy()
        if found.shape != expected.shape:
            return float("inf")
        differences.append(np.abs(found - expected).max())
        scale = max(scale, float(np.abs(expected).max()))
    return float(np.max(differences)) / scale  # NaN if one is


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's own reports; what it raises says enough."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
