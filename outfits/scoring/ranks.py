"""S over a catalogue whose states do not fit one process: its items are dealt to ranks, which search together."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.engine import ItemStates

T = TypeVar("T")

KEPT_STATES = 4096  # of items of other ranks, the last ones asked for


class Ranks(Protocol):
    """Processes that search together: each calls the same methods in the same order."""

    @property
    def rank(self) -> int:
        """Number of this process."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in the order of ranks, on every rank."""
        ...


@dataclass
class ProcessGroupRanks:
    """The ranks of this process's default group of ``torch.distributed``."""

    _group: Any = field(default=None, init=False)

    @classmethod
    def here(cls) -> "ProcessGroupRanks | None":
        """The ranks that this process is one of; None where it works alone."""
        together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        return cls() if together else None

    @property
    def rank(self) -> int:
        """Number of this process."""
        return dist.get_rank()

    @property
    def size(self) -> int:
        """Number of processes."""
        return dist.get_world_size()

    def gather(self, value: T) -> list[T]:
        """See :class:`Ranks`; by gloo, since what is exchanged lies in the main memory."""
        if self._group is None:
            default = dist.get_backend() == "gloo"
            self._group = dist.group.WORLD if default else dist.new_group(backend="gloo")
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._group)
        return found


class DealtScorer(CandidateScorer):
    """A :class:`CandidateScorer` that keeps the states of its rank's share of the catalogue alone.

    The share is a run of whole parts of the catalogue, the pieces in which a search scores it: so that every forward
    pass holds the same sets as in one process, and logits are equal to the bit. States of other items, such as those
    of the outfit, are computed when they are asked for, from the embeddings, which every rank can read, in the block in
    which the item stands; so what asks for many of them pays for many blocks, each once a call.

    Args:
        ranks: the processes that share the catalogue.
        part: items that a search scores at once.
        scorer, vectors, present, categories, options: as in :class:`CandidateScorer`.
    """

    def __init__(
        self,
        ranks: Ranks,
        part: int,
        scorer: OutfitTransformer,
        vectors: NDArray[np.float32],
        present: NDArray[np.bool_],
        categories: NDArray[np.integer],
        **options: Any,
    ) -> None:
        parts = -(-len(vectors) // part)
        first, after = (parts * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
        self._ranks, self._part = ranks, part
        self._start, self._stop = first * part, min(after * part, len(vectors))
        self._vectors, self._present = vectors, present
        self._elsewhere: OrderedDict[int, ItemStates] = OrderedDict()
        super().__init__(scorer, vectors, present, categories, **options)

    def __len__(self) -> int:
        return len(self._vectors)

    def over(self, *changed: Any) -> CandidateScorer:
        """Raises ValueError: a catalogue that is dealt out does not change."""
        raise ValueError("a catalogue that is dealt to ranks does not change; search the changed one in one process")

    def parts(self, size: int) -> Iterable[int]:
        """First items of this rank's parts of the catalogue; raises ValueError for parts of another size."""
        if size != self._part:
            raise ValueError(f"the catalogue is dealt out in parts of {self._part} items, not {size}")
        return range(self._start, self._stop, size)

    def gather(self, value: T) -> list[T]:
        """What every rank found."""
        return self._ranks.gather(value)

    @property
    def item_tokens(self) -> Tensor:
        """Tokens of all items, a quarter of their states, computed anew each time."""
        return self.tokens(slice(0, len(self)))

    def tokens(self, rows: slice | Tensor) -> Tensor:
        """See :meth:`CandidateScorer.tokens`; computed in the blocks in which the items stand."""
        if isinstance(rows, Tensor):
            return self._catalogue_at(rows).tokens
        start, stop, _ = rows.indices(len(self))
        found = torch.empty(stop - start, self._scorer.config.width, device=self.device)
        for block in self._blocks(len(self), start - start % self.block, stop):
            low, high = max(block.start, start), min(block.stop, stop)
            tokens = self._states_of_block(self._vectors, self._present, block).tokens
            found[low - start : high - start] = tokens[low - block.start : high - block.start]
        return found

    def _catalogue_states(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> ItemStates:
        """States of this rank's share, computed in the blocks in which one process computes them."""
        states = self._engine.empty_states(self._stop - self._start)
        for block in self._blocks(len(vectors), self._start - self._start % self.block, self._stop):
            low, high = max(block.start, self._start), min(block.stop, self._stop)
            found = self._states_of_block(vectors, present, block)
            here, there = slice(low - self._start, high - self._start), slice(low - block.start, high - block.start)
            states.tokens[here], states.first[here] = found.tokens[there], found.first[there]
        return states

    def _catalogue_at(self, positions: Tensor) -> ItemStates:
        here = (positions >= self._start) & (positions < self._stop)
        if bool(here.all()):
            return self._items.at(positions - self._start)
        states = self._engine.empty_states(positions.numel())
        flat, here = positions.flatten(), here.flatten()
        own = self._items.at(flat[here] - self._start)
        states.tokens[here], states.first[here] = own.tokens, own.first
        elsewhere = flat[~here].tolist()
        found = self._states_elsewhere(elsewhere)
        states.tokens[~here] = torch.stack([found[position].tokens for position in elsewhere])
        states.first[~here] = torch.stack([found[position].first for position in elsewhere])
        return ItemStates(*(state.view(*positions.shape, -1) for state in states))

    def _states_elsewhere(self, positions: Iterable[int]) -> dict[int, ItemStates]:
        """The states of items of other ranks' shares by position; those not kept are computed, each block once."""
        found = {position: self._elsewhere.pop(position, None) for position in dict.fromkeys(positions)}
        lacking = sorted(position for position, state in found.items() if state is None)
        for start, together in groupby(lacking, key=lambda position: position - position % self.block):
            block = slice(start, min(start + self.block, len(self)))
            states = self._states_of_block(self._vectors, self._present, block)
            for position in together:
                found[position] = ItemStates(*(state[position - start].clone() for state in states))
        known = {position: state for position, state in found.items() if state is not None}
        self._elsewhere.update(known)  # as the last ones asked for
        while len(self._elsewhere) > KEPT_STATES:
            self._elsewhere.popitem(last=False)
        return known
