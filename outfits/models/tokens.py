"""Projects frozen item embeddings to tokens, image and text part separately."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.schema.scorer import ScorerArchitecture
from outfits.errors import ConfigError


class ItemTokens(nn.Module):
    r"""Projects the image part and the text part of item embeddings to half of the token width each.

    :math:`t_X = [W_I\,e_I \,\|\, W_T\,e_T]`, as in OutfitTransformer (arXiv 2204.04812). A missing part is replaced by
    a learned vector, so that "no image" differs from an image whose embedding is zero. Where one part has width 0, the
    other takes the whole token. Dropout acts on the frozen embeddings. ``normalised`` scales both parts of a token to
    unit length, as the open implementation of OutfitTransformer by owj0421 does; without ``projected``, as there, the
    parts themselves stand side by side, a missing one replaced by a vector that begins as zero.

    Shapes:
        vectors ``[..., image_dim + text_dim]``, present ``[..., 2]`` bool → tokens ``[..., width]``.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        width: int,
        dropout: float = 0.0,
        *,
        normalised: bool = False,
        projected: bool = True,
    ) -> None:
        super().__init__()
        if image_dim + text_dim == 0:
            raise ValueError("items need an image part or a text part")
        if not projected and width != image_dim + text_dim:
            raise ConfigError(
                [
                    f"scorer.width: is {width}, but with scorer.projected=false a token is as wide as an item's "
                    f"embedding: set scorer.width={image_dim + text_dim}"
                ]
            )
        self.image_dim = image_dim
        self.text_dim = text_dim
        image_width = width if text_dim == 0 else 0 if image_dim == 0 else width // 2
        if not projected:
            image_width = image_dim
        part: type[nn.Module] = nn.Linear if projected else nn.Identity  # which takes and ignores sizes
        self.image = part(image_dim, image_width) if image_dim else None
        self.text = part(text_dim, width - image_width) if text_dim else None
        # without an encoder for a part its replacement is never used, and DDP refuses parameters without a gradient
        spread = 0.02 if projected else 0.0
        self.no_image = nn.Parameter(torch.randn(image_width) * spread, requires_grad=image_dim > 0)
        self.no_text = nn.Parameter(torch.randn(width - image_width) * spread, requires_grad=text_dim > 0)
        self.dropout = nn.Dropout(dropout)
        self.normalised = normalised

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Computes tokens of items; see the class for shapes."""
        vectors = self.dropout(vectors)
        parts = []
        if self.image is not None:
            parts.append(torch.where(present[..., :1], self.image(vectors[..., : self.image_dim]), self.no_image))
        if self.text is not None:
            parts.append(torch.where(present[..., 1:], self.text(vectors[..., self.image_dim :]), self.no_text))
        if self.normalised:
            parts = [F.normalize(part, dim=-1) for part in parts]
        return torch.cat(parts, dim=-1)


def tokens_of(config: ScorerArchitecture, image_dim: int, text_dim: int) -> ItemTokens:
    """Builds the item tokens of S's architecture for items with parts of these widths.

    Raises:
        ConfigError: if the architecture does not project the parts and its width is not theirs.
    """
    return ItemTokens(
        image_dim,
        text_dim,
        config.width,
        config.input_dropout,
        normalised=config.normalised_halves,
        projected=config.projected,
    )
