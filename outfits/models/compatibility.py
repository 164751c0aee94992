"""The compatibility model S: an OutfitTransformer."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import ModelHubMixin, hf_hub_download
from torch import Tensor, nn

from outfits import run_files
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.models.tokens import tokens_of
from outfits.weights import Network, load_network, save_network

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "mish": nn.Mish}


class EncoderBlock(nn.Module):
    """Pre-norm transformer encoder layer that can stop at the task token."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, activation: str = "gelu") -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attention_out = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), ACTIVATIONS[activation](), nn.Linear(feedforward, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None, queries: int | None = None) -> Tensor:
        """Updates the first ``queries`` tokens (all by default), which attend to all tokens.

        Args:
            tokens: shape ``[B, n, width]``.
            mask: bool, shape ``[B, 1, 1, n]``, True where a token may be attended to; None: everywhere.
            queries: number of leading tokens to update; the last layer needs the task token alone.

        Returns:
            Shape ``[B, queries, width]``.
        """
        normed = self.attention_norm(tokens)
        kept = tokens[:, :queries]  # [B, queries, width]
        query = self._split(self.query(normed[:, :queries]))
        key, value = map(self._split, self.key_value(normed).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # [B, heads, queries, width / heads]
        kept = kept + self.dropout(self.attention_out(mixed.transpose(1, 2).flatten(2)))
        return torch.add(kept, self.dropout(self.feedforward(self.feedforward_norm(kept))))

    def _split(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        heads = tokens.view(batch, count, self.heads, width // self.heads)
        return heads.transpose(1, 2)  # [B, heads, n, width / heads]


def blocks_of(config: ScorerArchitecture) -> nn.ModuleList:
    """Builds the transformer encoder of S's architecture.

    Raises:
        ValueError: if the width is not divisible by the number of heads.
    """
    width, heads = config.width, config.heads
    if width % heads:
        raise ValueError(f"width {width} is not divisible by {heads} heads")
    return nn.ModuleList(
        EncoderBlock(width, heads, config.feedforward, config.dropout, config.activation) for _ in range(config.layers)
    )


def read_out(blocks: nn.ModuleList, first: Tensor, tokens: Tensor, padding: Tensor | None) -> Tensor:
    """Sends a token that reads a set, and the set's own tokens, through the blocks.

    Args:
        blocks: of :class:`EncoderBlock`.
        first: the reading tokens, shape ``[B, width]``.
        tokens: item tokens, shape ``[B, n, width]``.
        padding: bool, shape ``[B, n]``, True where a row holds no item; None: nowhere.

    Returns:
        The reading tokens' outputs, shape ``[B, width]``.
    """
    h = torch.cat([first[:, None], tokens], dim=1)  # [B, 1 + n, width]
    mask = None
    if padding is not None:
        mask = ~F.pad(padding, (1, 0), value=False)[:, None, None, :]  # the reading token is never padding
    last = len(blocks) - 1
    for depth, block in enumerate(blocks):
        h = block(h, mask, queries=1 if depth == last else None)
    return h[:, 0]


class OutfitTransformer(Network[ScorerArchitecture], ModelHubMixin, library_name="outfits"):
    r"""Compatibility of a set of items, as a logit: :math:`S(O) = \sigma(\mathrm{logit}(O))`.

    One learned task token and the items' tokens go through a transformer encoder without positional encoding, and a
    head reads the task token (arXiv 2204.04812), so the order of the items cannot matter. The zero of sets that are not
    outfits is a rule about categories, not of this network: see :mod:`outfits.data.category_rule`.

    ``from_pretrained(FOLDER)``, or ``ORG/NAME`` on the Hugging Face Hub, loads it from an exported run, frozen;
    ``filename="judge.safetensors"`` loads the judge. ``save_pretrained`` and ``push_to_hub`` are those of
    ``huggingface_hub``.

    Args:
        config: the architecture, or the section ``scorer`` that contains it.
        image_dim, text_dim: widths of the items' two parts.

    Raises:
        ConfigError: if tokens are to be the items' parts and have another width.
        ValueError: if the width is not divisible by the number of heads.
    """

    def __init__(self, config: ScorerArchitecture, image_dim: int, text_dim: int) -> None:
        super().__init__(ScorerArchitecture, config, image_dim=image_dim, text_dim=text_dim)
        width = config.width
        self.item_tokens = tokens_of(config, image_dim, text_dim)
        self.task = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = blocks_of(config)
        hidden = (nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()) if config.head == "mlp" else ()
        self.head = nn.Sequential(*hidden, nn.Linear(width, 1))

    def _save_pretrained(self, save_directory: Path) -> None:
        save_network(self, save_directory / run_files.SCORER)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, filename: str = run_files.SCORER, config: object = None, **hub: Any
    ) -> "OutfitTransformer":
        folder = Path(model_id)
        path = folder / filename if folder.is_dir() else Path(hf_hub_download(model_id, filename, **hub))
        return load_network(cls, ScorerArchitecture, path, "scorer", "export its run again")[0]

    def tokens(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Computes item tokens ``[..., width]`` of embeddings ``[..., d]`` with presence ``[..., 2]``."""
        tokens: Tensor = self.item_tokens(vectors, present)
        return tokens

    @torch.no_grad()
    def rescale(self, scale: float, offset: float) -> None:
        """Changes every logit to ``scale * logit + offset``."""
        last: Any = self.head[-1]
        last.weight.mul_(scale)
        last.bias.mul_(scale).add_(offset)

    def outfit_embedding(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Returns the task token's output, shape ``[B, width]``; arguments as in :meth:`forward_tokens`."""
        return read_out(self.blocks, self.task.to(tokens.dtype).expand(tokens.shape[0], -1), tokens, padding)

    def forward_tokens(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Computes logits ``[B]`` of sets given as item tokens ``[B, n, width]``.

        ``padding``, bool, shape ``[B, n]``, is True where a row holds no item.
        """
        logits: Tensor = self.head(self.outfit_embedding(tokens, padding))
        return logits.squeeze(-1)

    def forward(self, vectors: Tensor, present: Tensor, padding: Tensor | None = None) -> Tensor:
        """Computes logits ``[B]`` of sets: embeddings ``[B, n, d]``, presence ``[B, n, 2]`` and padding ``[B, n]``."""
        return self.forward_tokens(self.tokens(vectors, present), padding)
