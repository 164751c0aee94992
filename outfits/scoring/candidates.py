"""Scores sets of catalogue items with a frozen S; every search calls S here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.data.category_rule import forbidden_categories
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.capacity import block_size, resolve_precision
from outfits.scoring.engine import ItemStates, ScoringEngine

T = TypeVar("T")

OWN_PASSES_FROM = 256
"""Number of candidates from which an outfit has forward passes of its own, which share what is computed of it."""


class CandidateScorer:
    """Logits of S for sets of catalogue items; :math:`S = \\sigma(\\mathrm{logit})`.

    What S computes of items alone is computed once for the whole catalogue, what it computes of an outfit alone once
    per outfit, see :class:`outfits.scoring.engine.ScoringEngine`. A set's items are sorted by catalogue position
    before scoring, so that their order cannot change a single bit. Sets of equal size share a forward pass without
    padding. Logits are the network's, without the zero of sets that are not outfits; forbidden additions are
    ``-inf``.

    External items stand in outfits but not in the catalogue: they have the positions from ``N`` on and are never
    candidates.

    Args:
        scorer: frozen compatibility model in evaluation mode; it is moved to ``device``.
        vectors: item embeddings, shape ``[N, d]``; may be memory-mapped.
        present: which parts an item has, bool, shape ``[N, 2]``.
        categories: category of every item, shape ``[N]``.
        precision: arithmetic of S: ``fp32``, ``bf16`` or ``auto`` (bf16 where the hardware multiplies in it).
        block: largest number of sets in one forward pass, which bounds the memory; None: found from the free memory.
        num_categories: ``C``; by default the largest category plus one.
        compile: whether to compile S, which pays from some millions of calls on.

    Attributes:
        calls: calls of S so far, one per scored set.
        categories: category of every item and, after them, of every external item.
        has_items: categories with an item that can be added, bool, shape ``[C]``.

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
        block: int | None = None,
        num_categories: int | None = None,
        compile: bool = False,
    ) -> None:
        if scorer.training:
            raise ValueError("the scorer is in training mode; dropout would make its scores random")
        if block is not None and block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        self.device = torch.device(device)
        self.precision = resolve_precision(precision, self.device)
        self._scorer = scorer.to(self.device)
        self.block = block_size(scorer.config, self.device) if block is None else block
        self.calls = 0
        self.num_categories = int(np.max(categories)) + 1 if num_categories is None else num_categories
        self._take_categories(categories)
        self._engine = ScoringEngine(self._scorer, self.precision, compile)
        self._items = self._catalogue_states(vectors, present)
        self._joined: ItemStates | None = None  # of the catalogue's last items, which stand apart from the others
        self._external: ItemStates | None = None

    def __len__(self) -> int:
        return len(self._items.tokens) + (0 if self._joined is None else len(self._joined.tokens))

    @property
    def module(self) -> OutfitTransformer:
        """S itself, for methods that need its gradient."""
        return self._scorer

    def with_external(
        self, vectors: NDArray[np.float32], present: NDArray[np.bool_], categories: NDArray[np.integer]
    ) -> "CandidateScorer":
        """The same scorer with ``m`` external items; arguments as in the class."""
        hosting = copy(self)
        hosting._external = self._states_of(vectors, present) if len(vectors) else None
        hosting.categories = np.concatenate([self.categories[: len(self)], np.asarray(categories, dtype=np.int64)])
        return hosting

    def over(
        self,
        kept: NDArray[np.integer],
        vectors: NDArray[np.float32],
        present: NDArray[np.bool_],
        categories: NDArray[np.integer],
    ) -> "CandidateScorer":
        """The same scorer over a changed catalogue: its items at positions ``kept`` ``[K]``, then ``m`` further ones.

        Only further items are looked at, one by one, so that their bits do not depend on what else has joined. Where
        all others stay their states are shared, not copied: in a large catalogue that takes longer than all else.

        Args:
            kept: positions of the items that stay, ascending.
            vectors: embeddings of the further items, shape ``[m, d]``.
            present: which parts they have, bool, shape ``[m, 2]``.
            categories: category of every item of the changed catalogue, shape ``[K + m]``.
        """
        changed = copy(self)
        changed._take_categories(categories)
        states = [self._states_of(vectors[one : one + 1], present[one : one + 1]) for one in range(len(vectors))]
        if len(kept) < len(self):
            stay = self._catalogue_at(torch.from_numpy(np.asarray(kept, dtype=np.int64)).to(self.device))
            changed._items, changed._joined = _side_by_side([stay, *states]), None
        elif states:
            before = [] if self._joined is None else [self._joined]
            changed._joined = _side_by_side([*before, *states])
        return changed

    def _take_categories(self, categories: NDArray[np.integer]) -> None:
        """Takes the category of every item of the catalogue."""
        self.categories = np.asarray(categories, dtype=np.int64)
        self.has_items = np.bincount(self.categories, minlength=self.num_categories) > 0
        self._categories = torch.from_numpy(self.categories).to(self.device)

    def parts(self, size: int) -> Iterable[int]:
        """First items of the parts of the catalogue, of ``size`` items each, that this process scores: all of them."""
        return range(0, len(self), size)

    def gather(self, value: T) -> list[T]:
        """What every process that scores a share of the catalogue found: this one's alone."""
        return [value]

    def taken_categories(self, outfits: Tensor) -> NDArray[np.bool_]:
        """Categories of the items of outfits ``[B, n]``, which the rule forbids to add; bool, ``[B, C]``."""
        return forbidden_categories(outfits.cpu().numpy(), self.categories, self.num_categories)

    def set_logits(self, sets: Tensor) -> Tensor:
        """Logits ``[B]`` of sets ``[B, n]`` of catalogue positions."""
        sets = self._positions(sets).sort(dim=1).values
        self.calls += len(sets)
        logits = torch.empty(len(sets), device=self.device)
        with torch.inference_mode():
            for block in self._blocks(len(sets)):
                logits[block] = self._engine.set_logits(self._at(sets[block]))
        return logits

    @property
    def item_tokens(self) -> Tensor:
        """Tokens of the catalogue's items as the engine keeps them, float32, shape ``[N, width]``."""
        return self.tokens(slice(0, len(self)))

    def tokens(self, rows: slice | Tensor) -> Tensor:
        """Tokens of the items at ascending positions ``rows``, a slice, or ``[n]`` in any order, ``[n, width]``."""
        if self._joined is None:
            return self._items.tokens[rows]
        positions = torch.arange(len(self), device=self.device)[rows] if isinstance(rows, slice) else rows
        return self._catalogue_at(positions).tokens

    def outfit_embeddings(self, outfits: Tensor) -> Tensor:
        """The engine's set embeddings of outfits ``[B, n]``, float32, ``[B, width]``; one call of S each."""
        outfits = self._positions(outfits).sort(dim=1).values
        self.calls += len(outfits)
        with torch.inference_mode():
            return torch.cat(
                [self._engine.set_embeddings(self._at(outfits[block])) for block in self._blocks(len(outfits))]
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

    def addition_logits(self, outfits: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Logits ``[B, M]`` of ``O ∪ {x}`` for every outfit and candidate.

        They are ``-inf``, without a call of S, where the category rule forbids the candidate; so the finite entries of
        a row are its calls of S.

        Args:
            outfits: catalogue positions, shape ``[B, n]``.
            candidates: catalogue positions, shape ``[M]``, or ``[B, M]`` for candidates of each outfit, padded with -1;
                None: the whole catalogue.
        """
        outfits = self._positions(outfits).sort(dim=1).values
        if candidates is None:
            candidates = torch.arange(len(self), device=self.device)
        candidates = self._positions(candidates)
        candidates = candidates.expand(len(outfits), -1)  # [B, M]
        forbidden = self.taken_categories(outfits)
        banned = torch.from_numpy(forbidden).to(self.device)
        logits = torch.full(candidates.shape, -torch.inf, device=self.device)
        # An outfit with many candidates has forward passes of its own, so its bits do not depend on the batch; short
        # lists of several outfits share one.
        count = candidates.shape[1]
        group = 1 if count >= OWN_PASSES_FROM else max(1, self.block // max(1, count))
        with torch.inference_mode():
            for first in range(0, len(outfits), group):
                rows = slice(first, first + group)
                some = candidates[rows]
                allowed = (some >= 0) & ~banned[rows].gather(1, self._categories[some.clamp(min=0)])
                outfit, place = allowed.nonzero(as_tuple=True)
                if len(outfit):
                    given = self._engine.outfit_states(self._at(outfits[rows]))
                    shared = given if count >= OWN_PASSES_FROM else None
                    items = some[outfit, place]
                    self.calls += len(items)
                    for block in self._blocks(len(items)):
                        states = shared or given.at(outfit[block])
                        found = self._engine.addition_logits(states, self._catalogue_at(items[block]))
                        logits[first + outfit[block], place[block]] = found
        return logits

    def _catalogue_states(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> ItemStates:
        """States of the catalogue's items that this process keeps."""
        return self._states_of(vectors, present)

    def _states_of(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> ItemStates:
        """States of items, computed in blocks, so that embeddings may be larger than the memory."""
        states = self._engine.empty_states(len(vectors))
        for block in self._blocks(len(vectors)):
            found = self._states_of_block(vectors, present, block)
            states.tokens[block], states.first[block] = found.tokens, found.first
        return states

    def _states_of_block(self, vectors: NDArray[np.float32], present: NDArray[np.bool_], block: slice) -> ItemStates:
        with torch.inference_mode():
            return self._engine.item_states(
                torch.from_numpy(np.array(vectors[block], dtype=np.float32)).to(self.device),
                torch.from_numpy(np.array(present[block])).to(self.device),
            )

    def _catalogue_at(self, positions: Tensor) -> ItemStates:
        """States of catalogue items at positions ``[...]``."""
        if self._joined is None:
            return self._items.at(positions)
        return _at_either(self._items.at, self._joined, positions, len(self._items.tokens))

    def _at(self, positions: Tensor) -> ItemStates:
        """States of items and external items at positions ``[...]``."""
        if self._external is None:
            return self._catalogue_at(positions)
        return _at_either(self._catalogue_at, self._external, positions, len(self))

    def _blocks(self, count: int, first: int = 0, last: int | None = None) -> Iterator[slice]:
        """Blocks of ``count`` things, those from ``first`` on, where one begins, that begin before ``last``."""
        starts = range(first, count if last is None else last, self.block)
        return (slice(start, min(start + self.block, count)) for start in starts)

    def _positions(self, positions: Tensor) -> Tensor:
        return positions.to(self.device, torch.int64)


def _side_by_side(states: Sequence[ItemStates]) -> ItemStates:
    return ItemStates(*(torch.cat(parts) for parts in zip(*states, strict=True)))


def _at_either(first: Callable[[Tensor], ItemStates], second: ItemStates, positions: Tensor, start: int) -> ItemStates:
    """States at positions ``[...]``, from ``start`` on those of ``second``."""
    is_second = positions >= start
    states, found = first(positions.masked_fill(is_second, 0)), second.at(positions[is_second] - start)
    states.tokens[is_second], states.first[is_second] = found.tokens, found.first
    return states
