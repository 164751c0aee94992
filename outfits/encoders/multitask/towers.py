"""The two towers of an open_clip model, layer by layer, so that adapters can be put beside and between them."""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer, text_global_pool
from torch import Tensor, nn

from outfits.errors import ConfigError


class Tower(Protocol):
    """A transformer whose layers can be run in two halves.

    Attributes:
        width: of its states.
        heads: of its attention.
        layers: number of its layers.
    """

    width: int
    heads: int
    layers: int

    def embed(self, inputs: Tensor) -> Tensor:
        """States before the first layer, shape ``[B, L, width]``."""

    def attend(self, layer: int, x: Tensor, mask: Tensor | None) -> Tensor:
        """Output of a layer's self-attention with its residual, ``z'``, shape ``[B, L, width]``."""

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """Output of the layer's ``MLP(LN(z'))`` without its residual, shape ``[B, L, width]``."""

    def finish(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The tower's vector from the states after the last layer, shape ``[B, D]``, not of unit length."""


class OpenClipBlocks:
    """The halves of open_clip's residual blocks."""

    _blocks: Any

    def attend(self, layer: int, x: Tensor, mask: Tensor | None) -> Tensor:
        """See :class:`Tower`."""
        block = self._blocks[layer]
        found: Tensor = x + block.ls_1(block.attention(q_x=block.ln_1(x), attn_mask=mask))
        return found

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See :class:`Tower`."""
        block = self._blocks[layer]
        found: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
        return found


class OpenClipVision(OpenClipBlocks):
    """The image tower of an open_clip ViT."""

    def __init__(self, visual: VisionTransformer) -> None:
        self._visual = visual
        self._blocks = visual.transformer.resblocks
        self.layers = len(self._blocks)
        self.width = int(visual.transformer.width)
        self.heads = int(self._blocks[0].attn.num_heads)

    def embed(self, inputs: Tensor) -> Tensor:
        """Patches of images ``[B, 3, S, S]``."""
        found: Tensor = self._visual._embeds(inputs)
        return found

    def finish(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See :class:`Tower`."""
        pooled, _ = self._visual._pool(x)
        found: Tensor = pooled if self._visual.proj is None else pooled @ self._visual.proj
        return found


class TimmVision:
    """The image tower of an open_clip model whose ViT is timm's, as SigLIP's is."""

    def __init__(self, visual: Any) -> None:
        self._visual, self._trunk = visual, visual.trunk
        self._blocks = self._trunk.blocks
        self.layers = len(self._blocks)
        self.width = int(self._trunk.embed_dim)
        self.heads = int(self._blocks[0].attn.num_heads)

    def embed(self, inputs: Tensor) -> Tensor:
        """Patches of images ``[B, 3, S, S]``."""
        trunk = self._trunk
        found: Tensor = trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(inputs))))
        return found

    def attend(self, layer: int, x: Tensor, mask: Tensor | None) -> Tensor:
        """See :class:`Tower`."""
        block = self._blocks[layer]
        found: Tensor = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
        return found

    def feed(self, layer: int, x: Tensor) -> Tensor:
        """See :class:`Tower`."""
        block = self._blocks[layer]
        found: Tensor = block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        return found

    def finish(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See :class:`Tower`."""
        found: Tensor = self._visual.head(self._trunk.forward_head(self._trunk.norm(x)))
        return found


class OpenClipText(OpenClipBlocks):
    """The text tower of an open_clip model: that of ``CLIP`` itself, or the ``text`` of a ``CustomTextCLIP``."""

    def __init__(self, clip: nn.Module) -> None:
        holder: Any = getattr(clip, "text", clip)
        self._holder = holder
        self._blocks = holder.transformer.resblocks
        self._pool = holder.text_pool_type if holder is clip else holder.pool_type
        self._end = getattr(holder, "text_eos_id" if holder is clip else "eos_id", None)
        self.layers = len(self._blocks)
        self.width = int(holder.token_embedding.weight.shape[1])
        self.heads = int(self._blocks[0].attn.num_heads)
        self.context_length = int(clip.context_length)  # type: ignore[arg-type]

    @property
    def causal(self) -> bool:
        """Whether a token sees earlier ones alone, as in CLIP; in SigLIP it sees all."""
        return self._holder.attn_mask is not None

    def mask(self, length: int, causal: bool = False) -> Tensor | None:
        """The mask of self-attention ``[L, L]``, added to its logits; None where every token sees all.

        ``causal`` asks for a causal one, which captions need, of any tower.
        """
        if not (causal or self.causal):
            return None
        weight = self._holder.token_embedding.weight
        return torch.full((length, length), -torch.inf, device=weight.device, dtype=weight.dtype).triu(1)

    def embed(self, inputs: Tensor) -> Tensor:
        """Embeddings of tokens ``[B, L]`` and of their places."""
        holder = self._holder
        found: Tensor = holder.token_embedding(inputs) + holder.positional_embedding[: inputs.shape[1]]
        return found

    def finish(self, x: Tensor, inputs: Tensor) -> Tensor:
        """See :class:`Tower`."""
        pooled = text_global_pool(self.normed(x), inputs, self._pool, eos_token_id=self._end)
        projection = self._holder.text_projection
        if projection is None:
            found: Tensor = pooled
        else:
            found = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return found

    def normed(self, x: Tensor) -> Tensor:
        """States after the last layer, normalised, from which words are predicted, shape ``[B, L, width]``."""
        found: Tensor = self._holder.ln_final(x)
        return found


def towers_of(clip: nn.Module, name: str) -> tuple[Tower, OpenClipText]:
    """Image and text tower of an open_clip model; ``name`` names it in messages.

    Raises:
        ConfigError: if they are no transformers of equal depth.
    """
    refused = f"multitask.model: {name}"
    visual: Any = clip.visual
    image: Tower
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        image = OpenClipVision(visual)
    elif hasattr(getattr(visual, "trunk", None), "blocks"):
        image = TimmVision(visual)
    else:
        raise ConfigError([f"{refused} has an image tower of {type(visual).__name__}; choose one with a ViT"])
    holder: Any = getattr(clip, "text", clip)
    if not hasattr(getattr(holder, "transformer", None), "resblocks") or getattr(holder, "cls_emb", None) is not None:
        raise ConfigError([f"{refused} has a text tower of {type(holder).__name__}; choose one of CLIP's kind"])
    text = OpenClipText(clip)
    if image.layers != text.layers:
        layers = f"{image.layers} layers for images and {text.layers} for texts"
        raise ConfigError([f"{refused} has {layers}; its towers must be equally deep to read each other"])
    return image, text


def padding(tokens: Tensor) -> Tensor:
    """Which places of CLIP's tokens ``[B, L]`` follow the end, whose number is the largest; bool, ``[B, L]``."""
    return torch.arange(tokens.shape[1], device=tokens.device) > tokens.argmax(1, keepdim=True)


def unit(x: Tensor) -> Tensor:
    """Rows of unit length."""
    return F.normalize(x, dim=-1)
