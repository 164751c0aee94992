"""Nearest items by cosine, category by category, so that the category rule is kept exactly."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.index.proposals import CODES, PARALLEL_PRODUCTS, FlatProposals, Proposals, inverted_proposals, on_grid
from outfits.index.proposals import GPU_MAX_NEIGHBOURS as GPU_MAX_NEIGHBOURS  # callers cap their n by it

import faiss  # isort: skip

BLOCK = 2**15  # vectors that are normalised at once
LISTS = ("ivf", "ivf_pq")  # kinds of index that this one makes, beside flat
GATHERED = 2**22  # numbers of proposed vectors that are compared at once, 16 MiB of them


class Vectors(Protocol):
    """Vectors ``[N, r]`` that are read block by block: an array, a tensor, a file on disk."""

    @property
    def shape(self) -> Sequence[int]:
        """``(N, r)``."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """These rows, float, as an array or a tensor."""
        ...


def unit_rows(vectors: NDArray[np.floating] | Tensor, first: int = 0) -> NDArray[np.float32]:
    """L2-normalised float32 copy of vectors ``[N, r]``; a zero vector stays zero.

    Raises:
        ValueError: if a vector is not finite; the message counts positions from ``first``.
    """
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().to("cpu", torch.float32).numpy()
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"vectors must have shape [N, r], not {list(rows.shape)}")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(f"vector {first + bad[0]} is not finite ({len(bad)} such vectors of {len(rows)})")
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


class CategoryIndex:
    """Maximum-cosine search within every category of a catalogue; an :class:`outfits.index.item_index.ItemIndex`.

    One FAISS search per category, instead of one index with a filter: FAISS' GPU indexes ignore filters, and on the CPU
    a filter costs ten times a plain search. FAISS only proposes: the proposals' cosines are computed again pair by
    pair from their float vectors. So a query gives the same answer, bit by bit, in every batch, and the similarities
    returned are exact for every kind of index.

    With ``ivf`` and ``ivf_pq``, which items are proposed is approximate in categories of ``min_items`` and more:
    :meth:`search` may miss a nearest item there and answer with the next, but never answers with fewer items than there
    are. ``flat`` and :meth:`cosines` are exact.

    The float vectors are kept once, sorted by category; a flat index on a CPU searches them in place, inverted lists
    add a byte per number, or ``pq_bytes`` per item.

    Args:
        vectors: item vectors, shape ``[N, r]``, read block by block; a normalised copy is kept.
        categories: category of every item, shape ``[N]``.
        device: where to search; ``cuda`` puts the indexes on this process's GPU.
        num_categories: ``C``; by default the largest category in ``categories`` plus one.
        config: kind of index and its sizes; None: flat.
        chunk: most queries in one FAISS call.

    Raises:
        ConfigError: if ``pq_bytes`` does not divide the width of the vectors.
        ValueError: if shapes do not fit or a vector is not finite.
    """

    def __init__(
        self,
        vectors: Vectors,
        categories: NDArray[np.integer],
        device: torch.device | str = "cpu",
        *,
        num_categories: int | None = None,
        config: IndexConfig | None = None,
        chunk: int = 256,
    ) -> None:
        self.config = IndexConfig() if config is None else config
        self.categories: NDArray[np.int64] = np.asarray(categories, dtype=np.int64)
        items = vectors.shape[0]
        if self.categories.shape != (items,) or not items:
            raise ValueError(f"{items} vectors need as many categories, not {list(self.categories.shape)}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}")
        present = int(self.categories.max()) + 1
        self.num_categories = present if num_categories is None else num_categories
        if present > self.num_categories or self.categories.min() < 0:
            raise ValueError(f"categories must lie in 0…{self.num_categories - 1}")
        self.device = torch.device(device)
        self.chunk = chunk
        # Stable: ties are broken by the ascending position within a category.
        self._positions = np.argsort(self.categories, kind="stable").astype(np.int64)
        self._rows = _sorted_unit_rows(vectors, self._positions)
        self._starts = np.searchsorted(self.categories[self._positions], np.arange(self.num_categories + 1))
        self.empty_categories: NDArray[np.bool_] = np.diff(self._starts) == 0
        self._proposals = self._build()

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def vectors(self) -> Tensor:
        """Unit vectors in the order of the catalogue, a copy on the CPU, shape ``[N, r]``."""
        vectors = np.empty_like(self._rows)
        vectors[self._positions] = self._rows
        return torch.from_numpy(vectors)

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Similarities and positions ``[Q, C, n]`` of queries ``[Q, r]``, see :meth:`ItemIndex.search`.

        Raises:
            ValueError: if a query is not finite, ``n < 1``, or a GPU is asked for more than FAISS can give.
        """
        rows = self._unit_queries(queries)
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        similarity = np.full((len(rows), self.num_categories, n), -np.inf, dtype=np.float32)
        ids = np.full((len(rows), self.num_categories, n), -1, dtype=np.int64)
        for start in range(0, len(rows), self.chunk):
            some = slice(start, start + self.chunk)
            for found in self._proposed(rows[some], n):
                self._rerank(rows[some], found, similarity[some], ids[some])
        return similarity, ids

    def nearest(
        self, queries: NDArray[np.float32] | Tensor, n: int, forbidden: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``n`` items nearest to queries ``[Q, r]`` over all categories but the ``forbidden``, bool, ``[Q, C]``.

        Returns:
            Similarities ``[Q, n]`` and positions ``[Q, n]``, ties by the smaller position, padded with ``-inf`` and -1.
        """
        return merge(*self.search(queries, n), n, forbidden)

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Cosine of every item to every query ``[Q, r]``, shape ``[Q, N]``; of the same queries always the same bits.

        Reads the whole catalogue, whatever the kind of index.
        """
        rows = torch.from_numpy(self._unit_queries(queries)).to(self.device)
        with torch.inference_mode():
            found = (rows @ self._on_device.T).cpu().numpy()
        cosines = np.empty_like(found)
        cosines[:, self._positions] = found
        return cosines

    @cached_property
    def _on_device(self) -> Tensor:
        return torch.from_numpy(self._rows).to(self.device)

    def _unit_queries(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        rows = unit_rows(queries)
        if rows.shape[1] != self._rows.shape[1]:
            raise ValueError(f"queries have width {rows.shape[1]}, the index has {self._rows.shape[1]}")
        return rows

    def _build(self) -> dict[int, Proposals]:
        """Proposals of every category that has items."""
        parts = {
            category: self._rows[self._starts[category] : self._starts[category + 1]]
            for category in np.flatnonzero(~self.empty_categories).tolist()
        }
        least = self.config.min_items if self.config.kind != "ivf_pq" else max(self.config.min_items, CODES)
        large = [category for category, rows in parts.items() if self.config.kind in LISTS and len(rows) >= least]
        inverted = inverted_proposals([parts[category] for category in large], self.config, self.device)
        lists = dict(zip(large, inverted, strict=True))
        return {
            category: lists[category] if category in lists else FlatProposals(rows, self.device)
            for category, rows in parts.items()
        }

    def _proposed(self, queries: NDArray[np.float32], n: int) -> Iterator[dict[int, NDArray[np.int64]]]:
        """Proposals ``[Q, p]`` by category, as rows of the sorted vectors, -1 for none, some categories at a time.

        Comparing many categories at once saves the overhead of a comparison, which dominates for one query.
        """
        group: dict[int, NDArray[np.int64]] = {}
        widest, rounded = 0, on_grid(queries)
        for category, places in self._in_turn(lambda proposals: proposals.propose(queries, rounded, n), len(queries)):
            width = max(widest, places.shape[1])
            if group and (len(group) + 1) * width * queries.size > GATHERED:
                yield group
                group, width = {}, places.shape[1]
            group[category] = np.where(places >= 0, places + self._starts[category], -1)
            widest = width
        yield group

    def _in_turn(
        self, propose: Callable[[Proposals], NDArray[np.int64]], queries: int
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Proposals of every category, several categories at a time where that pays."""
        threads = faiss.omp_get_max_threads()
        few = queries * self._rows.size < PARALLEL_PRODUCTS or len(self._proposals) < threads
        if few or threads == 1 or self.device.type == "cuda":
            yield from ((category, propose(proposals)) for category, proposals in self._proposals.items())
            return
        # A pool per call: a pool that outlives it would not survive a fork. FAISS releases the GIL.
        with ThreadPoolExecutor(threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
            yield from zip(self._proposals, pool.map(propose, self._proposals.values()), strict=True)

    def _rerank(
        self,
        queries: NDArray[np.float32],
        proposed: dict[int, NDArray[np.int64]],
        similarity: NDArray[np.float32],
        ids: NDArray[np.int64],
    ) -> None:
        """Writes the proposals of some categories, nearest first, into ``[Q, C, n]`` similarities and positions."""
        widest = max(places.shape[1] for places in proposed.values())
        places = np.full((len(queries), len(proposed), widest), -1, dtype=np.int64)
        for number, found in enumerate(proposed.values()):
            places[:, number, : found.shape[1]] = found
        flat = places.reshape(len(queries), -1)
        cosine = np.einsum("qr,qpr->qp", queries, self._rows[flat]).reshape(places.shape)
        cosine = np.where(places >= 0, cosine, np.float32(-np.inf))
        position = np.where(places >= 0, self._positions[places], -1)
        order = np.lexsort((position, -cosine), axis=-1)[:, :, : similarity.shape[2]]
        columns = list(proposed)
        similarity[:, columns, : order.shape[2]] = np.take_along_axis(cosine, order, axis=2)
        ids[:, columns, : order.shape[2]] = np.take_along_axis(position, order, axis=2)


def _sorted_unit_rows(vectors: Vectors, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit vectors in the order of ``positions`` ``[N]``, without a second copy of the whole."""
    items, width = vectors.shape
    places = np.empty_like(positions)
    places[positions] = np.arange(items)
    rows = np.empty((items, width), dtype=np.float32)
    for start in range(0, items, BLOCK):
        rows[places[start : start + BLOCK]] = unit_rows(vectors[start : start + BLOCK], start)
    return rows


def merge(
    similarity: NDArray[np.float32], ids: NDArray[np.int64], n: int, forbidden: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``n`` best of an index's answer ``[Q, C, m]`` over the allowed categories, ``[Q, n]``."""
    if forbidden is not None:
        similarity = np.where(forbidden[:, :, None], np.float32(-np.inf), similarity)
        ids = np.where(forbidden[:, :, None], -1, ids)
    similarity, ids = similarity.reshape(len(ids), -1), ids.reshape(len(ids), -1)
    order = np.lexsort((ids, -similarity), axis=-1)[:, :n]
    return np.take_along_axis(similarity, order, axis=1), np.take_along_axis(ids, order, axis=1)
