"""Projects frozen item embeddings to tokens, image and text part separately."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ItemTokens(nn.Module):
    r"""Projects the image part and the text part of item embeddings to half of the token width each.

    :math:`t_X = [W_I\,e_I \,\|\, W_T\,e_T]`, as in OutfitTransformer (arXiv 2204.04812). A missing part is replaced by
    a learned vector, so that "no image" differs from an image whose embedding is zero. Where one part has width 0, the
    other takes the whole token. Dropout acts on the frozen embeddings. ``normalised`` scales both parts of a token to
    unit length, as the open implementation of OutfitTransformer by owj0421 does.

    Shapes:
        vectors ``[..., image_dim + text_dim]``, present ``[..., 2]`` bool → tokens ``[..., width]``.
    """

    def __init__(
        self, image_dim: int, text_dim: int, width: int, dropout: float = 0.0, *, normalised: bool = False
    ) -> None:
        super().__init__()
        if image_dim + text_dim == 0:
            raise ValueError("items need an image part or a text part")
        self.image_dim = image_dim
        self.text_dim = text_dim
        image_width = width if text_dim == 0 else 0 if image_dim == 0 else width // 2
        self.image = nn.Linear(image_dim, image_width) if image_dim else None
        self.text = nn.Linear(text_dim, width - image_width) if text_dim else None
        # without an encoder for a part its replacement is never used, and DDP refuses parameters without a gradient
        self.no_image = nn.Parameter(torch.randn(image_width) * 0.02, requires_grad=image_dim > 0)
        self.no_text = nn.Parameter(torch.randn(width - image_width) * 0.02, requires_grad=text_dim > 0)
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
