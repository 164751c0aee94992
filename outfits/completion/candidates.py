"""Scoring sets of catalogue items with a frozen S: the one place that calls S in every search."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.rules import forbidden_categories
from outfits.models.compatibility import OutfitTransformer


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32`` or ``bf16`` for ``auto``, ``fp32`` or ``bf16``; auto is bf16 on GPUs that have it."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {precision!r}")
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


class CandidateScorer:
    """Logits of S for sets of catalogue items; :math:`S = \\sigma(\\mathrm{logit})`.

    Item tokens of the whole catalogue are computed once. A set's items are sorted by catalogue position before they are
    scored, so that their order cannot change a single bit. Sets of equal size share a forward pass, so there is no
    padding. Logits are the network's, without the zero of sets that are not outfits; forbidden additions are ``-inf``.

    Guests are items that stand in outfits but are not in the catalogue, a person's own for example: they have the
    positions from ``N`` on and are never candidates.

    Args:
        scorer: frozen compatibility model in evaluation mode; it is moved to ``device``.
        vectors: item embeddings, shape ``[N, d]``; may be memory-mapped.
        present: which parts an item has, bool, shape ``[N, 2]``.
        categories: category of every item, shape ``[N]``.
        device: where S runs.
        precision: arithmetic of S: ``fp32``, ``bf16`` or ``auto`` (bf16 on GPUs that have it).
        block: largest number of sets in one forward pass; bounds the memory.
        num_categories: ``C``; by default the largest category plus one.

    Attributes:
        calls: calls of S so far, one per scored set.
        categories: category of every item and, after them, of every guest.
        stocked: categories with an item that can be added, bool, shape ``[C]``.

    Raises:
        ValueError: if the scorer is in training mode or ``block < 1``.
    """

    def __init__(
        self,
        scorer: OutfitTransformer,
        vectors: NDArray[np.float32],
        present: NDArray[np.bool_],
        categories: NDArray[np.integer],
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        block: int = 4096,
        num_categories: int | None = None,
    ) -> None:
        if scorer.training:
            raise ValueError("the scorer is in training mode; dropout would make its scores random")
        if block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        self.device = torch.device(device)
        self.precision = resolve_precision(precision, self.device)
        self.block = block
        self.calls = 0
        self.categories = np.asarray(categories, dtype=np.int64)
        self.num_categories = int(self.categories.max()) + 1 if num_categories is None else num_categories
        self._scorer = scorer.to(self.device)
        self.stocked = np.isin(np.arange(self.num_categories), self.categories)
        self._categories = torch.from_numpy(self.categories).to(self.device)
        self._tokens = self._tokens_of(vectors, present)  # [N, width]
        self._guests = self._tokens[:0]

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def module(self) -> OutfitTransformer:
        """S itself, for methods that need its gradient."""
        return self._scorer

    def with_guests(
        self, vectors: NDArray[np.float32], present: NDArray[np.bool_], categories: NDArray[np.integer]
    ) -> "CandidateScorer":
        """A scorer over the same catalogue that also knows ``m`` guests; arguments as in the class, of the guests."""
        hosting = copy(self)
        hosting._guests = self._tokens_of(vectors, present)
        hosting.categories = np.concatenate([self.categories[: len(self)], np.asarray(categories, dtype=np.int64)])
        return hosting

    def taken_categories(self, outfits: Tensor) -> NDArray[np.bool_]:
        """Categories of the items of outfits ``[B, n]``, which the rule bars from being added; bool, ``[B, C]``."""
        return forbidden_categories(outfits.cpu().numpy(), self.categories, self.num_categories)

    def set_logits(self, sets: Tensor) -> Tensor:
        """Logits ``[B]`` of sets ``[B, n]`` of catalogue positions."""
        sets = self._positions(sets).sort(dim=1).values
        logits = torch.empty(len(sets), device=self.device)
        with self._arithmetic():
            for start in range(0, len(sets), self.block):
                logits[start : start + self.block] = self._forward(self._at(sets[start : start + self.block]))
        return logits

    @property
    def item_tokens(self) -> Tensor:
        """Tokens of the catalogue's items as S projects them, float32, shape ``[N, width]``."""
        return self._tokens

    def outfit_embeddings(self, outfits: Tensor) -> Tensor:
        """What S makes of outfits ``[B, n]`` themselves: the task token's output, float32, ``[B, width]``; B calls."""
        outfits = self._positions(outfits).sort(dim=1).values
        self.calls += len(outfits)
        with self._arithmetic():
            return torch.cat(
                [
                    self._scorer.outfit_embedding(self._at(outfits[start : start + self.block])).float()
                    for start in range(0, len(outfits), self.block)
                ]
            )

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> Tensor:
        """Logits ``[len(sets)]`` of sets of any sizes; sets of equal size are scored together."""
        logits = torch.empty(len(sets), device=self.device)
        sizes = np.array([len(items) for items in sets], dtype=np.int64)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            logits[torch.from_numpy(rows).to(self.device)] = self.set_logits(
                torch.from_numpy(np.stack([sets[row] for row in rows.tolist()]).astype(np.int64))
            )
        return logits

    def addition_logits(
        self, outfits: Tensor, candidates: Tensor | None = None, forbidden: NDArray[np.bool_] | None = None
    ) -> Tensor:
        """Logits of ``O ∪ {x}`` for every outfit and candidate.

        Args:
            outfits: catalogue positions, shape ``[B, n]``.
            candidates: catalogue positions, shape ``[M]``, or ``[B, M]`` for candidates of each outfit's own, where -1
                stands for none; None: the whole catalogue.
            forbidden: categories that must not be added beyond those of the outfit's own items, bool, shape ``[B, C]``.

        Returns:
            Logits, shape ``[B, M]``; ``-inf`` where the category rule forbids the candidate: S is not asked about it.
            So the finite entries of a row are its calls of S.
        """
        outfits = self._positions(outfits).sort(dim=1).values
        if candidates is None:
            candidates = torch.arange(len(self), device=self.device)
        candidates = self._positions(candidates)
        candidates = candidates.expand(len(outfits), -1)  # [B, M]
        barred = self.taken_categories(outfits)
        if forbidden is not None:
            barred |= forbidden
        banned = torch.from_numpy(barred).to(self.device)
        logits = torch.full(candidates.shape, -torch.inf, device=self.device)
        # Whole outfits per group, so that with a catalogue larger than the block every outfit has forward passes of
        # its own, and its bits do not depend on its neighbours in the batch.
        group = max(1, self.block // max(1, candidates.shape[1]))
        with self._arithmetic():
            for first in range(0, len(outfits), group):
                rows = slice(first, first + group)
                some = candidates[rows]
                allowed = (some >= 0) & ~banned[rows].gather(1, self._categories[some.clamp(min=0)])
                outfit, place = allowed.nonzero(as_tuple=True)
                given = self._at(outfits[rows])  # [group, n, width]
                for start in range(0, len(outfit), self.block):
                    o, p = outfit[start : start + self.block], place[start : start + self.block]
                    tokens = torch.cat([given[o], self._tokens[some[o, p]].unsqueeze(1)], dim=1)
                    logits[first + o, p] = self._forward(tokens)
        return logits

    def _tokens_of(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> Tensor:
        with self._arithmetic():
            blocks = [
                self._scorer.tokens(
                    torch.from_numpy(np.array(vectors[start : start + self.block], dtype=np.float32)).to(self.device),
                    torch.from_numpy(np.array(present[start : start + self.block])).to(self.device),
                ).float()
                for start in range(0, len(vectors), self.block)
            ]
        return torch.cat(blocks)

    def _at(self, positions: Tensor) -> Tensor:
        """Tokens of items and guests at positions ``[...]``."""
        if not len(self._guests):
            return self._tokens[positions]
        guest = positions >= len(self)
        tokens = self._tokens[positions.masked_fill(guest, 0)]
        tokens[guest] = self._guests[positions[guest] - len(self)]
        return tokens

    def _forward(self, tokens: Tensor) -> Tensor:
        self.calls += len(tokens)
        return self._scorer.forward_tokens(tokens).float()

    def _positions(self, positions: Tensor) -> Tensor:
        return positions.to(self.device, torch.int64)

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            yield
