"""Exact nearest items by cosine, one FAISS index per category, so that the category rule is exact too."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from numpy.typing import NDArray
from torch import Tensor

import faiss  # isort: skip

# Below this number of queries FAISS avoids BLAS, which is ten times slower for the few dozen latents of a batch.
faiss.cvar.distance_compute_blas_threshold = 1

# Multiplications of one search from which on threads pay. Most categories are small, and waking threads for each of
# them took 12 ms where the search itself takes 0.03, on two cores shared with other work.
PARALLEL_PRODUCTS = 2**27

GPU_MAX_NEIGHBOURS = 2048  # FAISS' own limit of a GPU search
ROUNDING = 1e-5  # more than float32 rounding can move the cosine of two unit vectors of common widths
GPU_TEMPORARY_BYTES = 256 * 1024**2  # FAISS would reserve about 1.5 GB


@cache
def gpu_resources() -> faiss.StandardGpuResources:
    """The one FAISS resource object of this process."""
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(GPU_TEMPORARY_BYTES)
    return resources


@contextmanager
def faiss_threads(count: int | None) -> Iterator[None]:
    """Lets FAISS use this many CPU threads inside the block; None: as many as outside."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def unit_rows(vectors: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
    """L2-normalised float32 copy of vectors ``[N, r]``; a zero vector stays zero.

    Raises:
        ValueError: if a vector is not finite.
    """
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().to("cpu", torch.float32).numpy()
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"vectors must have shape [N, r], not {list(rows.shape)}")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(f"vector {bad[0]} is not finite ({len(bad)} such vectors of {len(rows)})")
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


class CategoryIndex:
    """Exact maximum-cosine search within every category of a catalogue.

    One inner-product index per category, instead of one index with a filter: FAISS' GPU indexes ignore filters, and on
    the CPU a filter costs ten times a plain search.

    A query gives the same answer, bit by bit, whatever batch it comes in. Chunks of one size are not enough for that:
    the rounding of a matrix product depends on the row as well. So FAISS proposes, a few more than asked for wherever
    rounding could decide who is in, and the proposals' cosines are computed again pair by pair.

    Args:
        vectors: item vectors, shape ``[N, r]``; normalised copies are kept.
        categories: category of every item, shape ``[N]``.
        device: where to search; ``cuda`` puts the indexes on this process's GPU.
        num_categories: ``C``, the number of categories; by default the largest category in ``categories`` plus one.
        chunk: queries per FAISS call. Every call has exactly this many (the last is padded).

    Raises:
        ValueError: if shapes do not fit or a vector is not finite.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32] | Tensor,
        categories: NDArray[np.integer],
        device: torch.device | str = "cpu",
        *,
        num_categories: int | None = None,
        chunk: int = 64,
    ) -> None:
        rows = unit_rows(vectors)
        self.categories = np.asarray(categories, dtype=np.int64)
        if self.categories.shape != (len(rows),) or not len(rows):
            raise ValueError(f"{len(rows)} vectors need as many categories, not {list(self.categories.shape)}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}")
        present = int(self.categories.max()) + 1
        self.num_categories = present if num_categories is None else num_categories
        if present > self.num_categories or self.categories.min() < 0:
            raise ValueError(f"categories must lie in 0…{self.num_categories - 1}")
        self.device = torch.device(device)
        self.chunk = chunk
        self._rows = rows
        self.vectors = torch.from_numpy(rows).to(self.device)
        self._members: dict[int, NDArray[np.int64]] = {}
        self._indexes: dict[int, faiss.Index] = {}
        for category in np.unique(self.categories).tolist():
            members = np.flatnonzero(self.categories == category)  # ascending: the order in which ties are broken
            index: faiss.Index = faiss.IndexFlatIP(rows.shape[1])
            index.add(np.ascontiguousarray(rows[members]))
            if self.device.type == "cuda":
                gpu = self.device.index if self.device.index is not None else torch.cuda.current_device()
                index = faiss.index_cpu_to_gpu(gpu_resources(), gpu, index)
            self._members[category] = members
            self._indexes[category] = index

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def empty_categories(self) -> NDArray[np.bool_]:
        """Categories without any item, shape ``[C]``."""
        return ~np.isin(np.arange(self.num_categories), list(self._members))

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``n`` nearest items of every category, nearest first, ties by the smaller catalogue position.

        Args:
            queries: shape ``[Q, r]``, of any length greater than zero.
            n: items per category.

        Returns:
            Cosine similarities ``[Q, C, n]`` and catalogue positions ``[Q, C, n]``; where a category has fewer than
            ``n`` items, similarity ``-inf`` and position ``-1``.

        Raises:
            ValueError: if a query is not finite, ``n < 1``, or a GPU is asked for more than FAISS can give.
        """
        rows = unit_rows(queries)
        if rows.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"queries have width {rows.shape[1]}, the index has {self.vectors.shape[1]}")
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        similarity = np.full((len(rows), self.num_categories, n), -np.inf, dtype=np.float32)
        ids = np.full((len(rows), self.num_categories, n), -1, dtype=np.int64)
        for start in range(0, len(rows), self.chunk):
            some = rows[start : start + self.chunk]
            padded = np.concatenate([some, np.repeat(some[:1], self.chunk - len(some), axis=0)])
            for category, members in self._members.items():
                found = self._propose(category, padded, n)[: len(some)]
                positions = members[found]  # [some, fetched]
                cosine = np.einsum("qr,qfr->qf", some, self._rows[positions])
                width = min(n, len(members))
                order = np.lexsort((positions, -cosine), axis=-1)[:, :width]
                similarity[start : start + len(some), category, :width] = np.take_along_axis(cosine, order, axis=1)
                ids[start : start + len(some), category, :width] = np.take_along_axis(positions, order, axis=1)
        return similarity, ids

    def nearest(
        self, queries: NDArray[np.float32] | Tensor, n: int, forbidden: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``n`` nearest items over all categories that are not forbidden, ties by the smaller catalogue position.

        Args:
            queries: shape ``[Q, r]``.
            n: items per query.
            forbidden: bool, shape ``[Q, C]``: categories that a query must not find; None: none.

        Returns:
            Similarities ``[Q, n]`` and positions ``[Q, n]``, padded with ``-inf`` and ``-1``.
        """
        return merge(*self.search(queries, n), n, forbidden)

    def _propose(self, category: int, queries: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """Places among a category's members that certainly hold its ``n`` nearest; ``[chunk, fetched]``."""
        index, size = self._indexes[category], len(self._members[category])
        limit = min(size, GPU_MAX_NEIGHBOURS) if self.device.type == "cuda" else size
        width = min(n, size)
        if width > limit:
            raise ValueError(f"FAISS finds at most {limit} items on a GPU, {width} were asked for")
        fetched = min(width + 1, limit)
        while True:
            with faiss_threads(1 if len(queries) * size * queries.shape[1] < PARALLEL_PRODUCTS else None):
                found, local = index.search(queries, fetched)
            if fetched == limit or (found[:, width - 1] - found[:, -1] > ROUNDING).all():
                places: NDArray[np.int64] = local
                return places
            fetched = min(2 * fetched, limit)


def merge(
    similarity: NDArray[np.float32], ids: NDArray[np.int64], n: int, forbidden: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``n`` best of :meth:`CategoryIndex.search`'s answer ``[Q, C, m]`` over the allowed categories, ``[Q, n]``."""
    if forbidden is not None:
        similarity = np.where(forbidden[:, :, None], np.float32(-np.inf), similarity)
        ids = np.where(forbidden[:, :, None], -1, ids)
    similarity, ids = similarity.reshape(len(ids), -1), ids.reshape(len(ids), -1)
    order = np.lexsort((ids, -similarity), axis=-1)[:, :n]
    return np.take_along_axis(similarity, order, axis=1), np.take_along_axis(ids, order, axis=1)
