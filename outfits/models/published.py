"""Reads checkpoints of owj0421's OutfitTransformer (github.com/owj0421/outfit-transformer) as S.

There an item's token is its image vector beside its text vector, of FashionCLIP, and the task token two learned
vectors; each half has unit length. A pre-norm encoder with Mish and a linear head on the task token follow. Only that
part of a checkpoint is read: items are embedded by the run's own encoder, which has to be the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.config.schema.scorer import ScorerArchitecture
from outfits.errors import ArtifactError, one_line
from outfits.models.compatibility import OutfitTransformer
from outfits.weights import READING_WEIGHTS

HEADS = 16  # of all published checkpoints; no tensor tells it
DROPOUT = 0.3
PREFIX = "module."  # of weights saved under DDP
LAYER = "style_enc.layers."


def load_published(path: Path) -> OutfitTransformer:
    """Loads a checkpoint, a ``torch.save`` file of ``{"config": …, "model": …}``, as S in evaluation mode.

    Raises:
        ArtifactError: if the file is missing or cannot be read, lacks a tensor, or joins an item's parts otherwise.
    """
    if not path.is_file():
        raise ArtifactError(f"scorer.weights: there is no file {path}")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        config, weights = stored.get("config") or {}, stored["model"]
        tensors = {str(name).removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    except (*READING_WEIGHTS, RuntimeError, AttributeError) as error:
        raise ArtifactError(
            f"scorer.weights: {path} is no checkpoint of owj0421's OutfitTransformer ({one_line(error, 200)})"
        ) from error
    joined = config.get("aggregation_method", config.get("aggregation", "concat"))
    if joined != "concat":
        raise ArtifactError(f"scorer.weights: {path} joins an item's image and text by {joined!r}, not by 'concat'")
    try:
        return _converted(tensors, config).eval()
    except KeyError as error:
        raise ArtifactError(f"scorer.weights: {path} lacks the tensor {error.args[0]!r}; take the whole file") from None
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(
            f"scorer.weights: tensors of {path} do not fit together ({one_line(error, 200)})"
        ) from error


def _converted(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> OutfitTransformer:
    task = torch.cat([F.normalize(tensors[name], dim=-1) for name in ("task_emb", "predict_emb")])
    half, width = len(tensors["task_emb"]), len(task)
    layers = len({name.removeprefix(LAYER).partition(".")[0] for name in tensors if name.startswith(LAYER)})
    architecture = ScorerArchitecture(
        width=width,
        layers=layers,
        heads=int(config.get("transformer_n_head", HEADS)),
        feedforward=len(tensors[f"{LAYER}0.linear1.bias"]),
        dropout=float(config.get("transformer_dropout", DROPOUT)),
        input_dropout=0.0,
        normalised_halves=True,
        projected=False,
        activation="mish",
        head="linear",
    )
    state = {"task": task}
    state |= {f"item_tokens.{name}": torch.zeros(half) for name in ("no_image", "no_text")}
    for layer in range(layers):
        state |= _block(tensors, f"{LAYER}{layer}", f"blocks.{layer}", width)
    state |= {f"head.0.{part}": tensors[f"predict_ffn.1.{part}"] for part in ("weight", "bias")}
    scorer = OutfitTransformer(architecture, half, half)
    scorer.load_state_dict(state)
    return scorer


def _block(tensors: Mapping[str, Tensor], source: str, target: str, width: int) -> dict[str, Tensor]:
    """One layer of ``nn.TransformerEncoder`` by the names of :class:`outfits.models.compatibility.EncoderBlock`."""
    state = {}
    for part in ("weight", "bias"):
        joined = tensors[f"{source}.self_attn.in_proj_{part}"]
        state[f"{target}.query.{part}"], state[f"{target}.key_value.{part}"] = joined[:width], joined[width:]
        for theirs, ours in (
            ("self_attn.out_proj", "attention_out"),
            ("norm1", "attention_norm"),
            ("norm2", "feedforward_norm"),
            ("linear1", "feedforward.0"),
            ("linear2", "feedforward.2"),
        ):
            state[f"{target}.{ours}.{part}"] = tensors[f"{source}.{theirs}.{part}"]
    return state
