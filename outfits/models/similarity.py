r"""Similarities :math:`S_X` between items and :math:`S_O` between outfits: cosines, 1 on equal arguments."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.data.catalogue import ItemEmbeddings
from outfits.models.compatibility import OutfitTransformer

MODALITIES = ("image", "text", "joint")
PARTS = "parts"  # of the stylist: S_X of kind pyramid, see outfits.models.pyramid_similarity


def item_similarity(one: ItemEmbeddings, other: ItemEmbeddings, modality: str = "joint") -> NDArray[np.float32]:
    r"""All :math:`S_X` between A and B items of one encoder, shape ``[A, B]``, in [-1, 1].

    ``modality`` is ``image`` or ``text`` for the cosine of that part, ``joint`` for the mean of the cosines of those
    parts that both items have. Items without a common part have similarity 0.

    Raises:
        ValueError: for another modality, or embeddings of other widths.
    """
    if modality not in MODALITIES:
        raise ValueError(f"modality must be one of {', '.join(MODALITIES)}, not {modality!r}")
    if (one.image_dim, one.text_dim) != (other.image_dim, other.text_dim):
        raise ValueError("the items were embedded by different encoders")
    total = np.zeros((len(one.vectors), len(other.vectors)), dtype=np.float32)
    shared = np.zeros_like(total)
    for number, part in enumerate(("image", "text")):
        if modality not in (part, "joint"):
            continue
        both = one.present[:, number, None] & other.present[None, :, number]
        cosine = np.asarray(getattr(one, part)) @ np.asarray(getattr(other, part)).T
        total += np.where(both, cosine, 0)
        shared += both
    similarity: NDArray[np.float32] = np.clip(total / np.maximum(shared, 1), -1, 1)
    return similarity


class TextSimilarity:
    r""":math:`S_X(X, \hat T)` between the N items of a catalogue and texts of conditions.

    A text is compared with an item's text part and, if images and texts share one space, with its image part; the
    similarity is the mean over the parts that the item has.

    Shapes:
        texts ``[m, text_dim]``, unit length, zero for an empty text → similarities ``[m, N]`` in [-1, 1], 0 for an
        empty text and for items with nothing to compare.
    """

    def __init__(self, items: ItemEmbeddings, device: torch.device | str = "cpu") -> None:
        self.items = items
        self.device = device

    @cached_property
    def _vectors(self) -> torch.Tensor:
        """Item vectors that texts are multiplied with, shape ``[N, text_dim]``."""
        items = self.items
        present = np.array(items.present)
        parts = [np.where(present[:, 1:], items.text, 0)]
        count = present[:, 1].astype(np.float32)
        if items.shared_space:
            parts.append(np.where(present[:, :1], items.image, 0))
            count = count + present[:, 0]
        # the mean of the cosines is the cosine with the mean of the parts: one product instead of two
        mean = sum(parts) / np.maximum(count, 1)[:, None]
        return torch.from_numpy(np.ascontiguousarray(mean, dtype=np.float32)).to(self.device)

    def __call__(self, texts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Computes similarities of texts; see the class for shapes."""
        with torch.inference_mode():
            # one text per product: always the same shape, so the same bits in any batch
            rows = [self._vectors @ torch.from_numpy(np.array(text)).to(self.device) for text in texts]
            similarity: NDArray[np.float32] = torch.stack(rows).clamp(-1, 1).cpu().numpy()
        return similarity


def outfit_embeddings(scorer: OutfitTransformer, outfits: Sequence[ItemEmbeddings], block: int = 1) -> Tensor:
    r"""The scorer's task-token outputs for outfits, unit length, shape ``[B, width]``; their cosines are :math:`S_O`.

    Args:
        scorer: frozen compatibility model in evaluation mode.
        outfits: the items of each outfit, in any order.
        block: outfits of equal size per forward pass; 1 makes results independent of the batch, more is much faster.

    Raises:
        ValueError: if an outfit is empty.
    """
    device = scorer.task.device
    sizes = np.array([len(outfit.vectors) for outfit in outfits], dtype=np.int64)
    if not sizes.all():
        raise ValueError("an outfit is not empty")
    embedded = torch.empty(len(outfits), len(scorer.task), device=device)
    with torch.inference_mode():
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            for start in range(0, len(rows), block):
                some = rows[start : start + block].tolist()
                # sorts items by content, so that results do not depend on input order
                orders = [np.lexsort(np.array(outfits[row].vectors).T) for row in some]
                vectors = np.stack([outfits[row].vectors[order] for row, order in zip(some, orders, strict=True)])
                present = np.stack([outfits[row].present[order] for row, order in zip(some, orders, strict=True)])
                tokens = scorer.tokens(torch.from_numpy(vectors).to(device), torch.from_numpy(present).to(device))
                embedded[some] = torch.nn.functional.normalize(scorer.outfit_embedding(tokens).float(), dim=-1)
    return embedded
