"""FAISS proposes items of one category that certainly or probably hold a query's nearest ones, in no reliable order."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from numpy.typing import NDArray

from outfits.config.schema.index import PQ_BYTES, IndexConfig
from outfits.errors import ConfigError

import faiss  # isort: skip

# From this number of queries on FAISS multiplies by BLAS. Its default of 20 makes the few dozen latents of a batch four
# times slower; two latents take 0.7 of their time without BLAS.
faiss.cvar.distance_compute_blas_threshold = 6

# Multiplications of one search from which on threads pay. Most categories are small, and waking threads for each of
# them took 12 ms where the search itself takes 0.03, on two cores shared with other work.
PARALLEL_PRODUCTS = 2**27

GPU_MAX_NEIGHBOURS = 2048  # FAISS' own limit of a GPU search
GPU_TEMPORARY_BYTES = 256 * 1024**2  # FAISS would reserve about 1.5 GB
ROUNDING = 1e-5  # more than float32 rounding can move the cosine of two unit vectors of common widths

GRID = 2**11  # see on_grid
SEED = 1
LIST_ITERATIONS, CODE_ITERATIONS = 10, 10  # of k-means
CODE_SAMPLE = 2**14  # items that the codes are learned from
CODES = 256  # per byte: fewer items than this cannot be coded
SPARE = 8  # items proposed beyond the nearest n: 8 bits and the grid move cosines by less than items differ


@contextmanager
def faiss_threads(count: int | None) -> Iterator[None]:
    """Lets FAISS use this many CPU threads inside the block; None: as many as outside."""
    before = faiss.omp_get_max_threads()
    if count is None or count == before:
        yield
        return
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@cache
def gpu_resources() -> faiss.StandardGpuResources:
    """The one FAISS resource object of this process."""
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(GPU_TEMPORARY_BYTES)
    return resources


def on_device(index: Any, device: torch.device) -> Any:
    """The index on this process's GPU if the device is one, else as it is."""
    if device.type != "cuda":
        return index
    gpu = device.index if device.index is not None else torch.cuda.current_device()
    return faiss.index_cpu_to_gpu(gpu_resources(), gpu, index)


class Proposals(Protocol):
    """Proposes items of one category."""

    def propose(self, queries: NDArray[np.float32], rounded: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """Rows of the category's items ``[Q, p]``, ``p >= min(n, items)``, in any order, padded with -1.

        At least ``min(n, items)`` proposals of a query are items.

        Args:
            queries: unit vectors, shape ``[Q, r]``.
            rounded: the same :func:`on_grid`.
            n: nearest items that are looked for.
        """
        ...


class FlatProposals:
    """Proposes by comparing with every item: the proposals certainly hold the nearest ones.

    FAISS' rounding depends on the other queries of the batch. So it searches for a few more than wanted wherever
    rounding could decide which items are proposed.

    Args:
        rows: unit vectors of the category's items, shape ``[n, r]``; a CPU searches them in place.
        device: where to search.
    """

    def __init__(self, rows: NDArray[np.float32], device: torch.device) -> None:
        self._rows = rows
        self._gpu: faiss.Index | None = None
        if device.type == "cuda":
            index = faiss.IndexFlatIP(rows.shape[1])
            index.add(rows)
            self._gpu = on_device(index, device)

    def propose(self, queries: NDArray[np.float32], rounded: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """See :class:`Proposals`; raises :class:`ValueError` if a GPU is asked for more than FAISS can give."""
        size = len(self._rows)
        limit = size if self._gpu is None else min(size, GPU_MAX_NEIGHBOURS)
        width = min(n, size)
        if width > limit:
            raise ValueError(f"FAISS finds at most {limit} items on a GPU, {width} were asked for")
        fetched = min(width + 1, limit)
        while True:
            found, places = self._search(queries, fetched)
            if fetched == limit or (found[:, width - 1] - found[:, -1] > ROUNDING).all():
                return places
            fetched = min(2 * fetched, limit)

    def _search(self, queries: NDArray[np.float32], n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        with faiss_threads(1 if len(queries) * self._rows.size < PARALLEL_PRODUCTS else None):
            if self._gpu is None:
                found, places = faiss.knn(queries, self._rows, n, metric=faiss.METRIC_INNER_PRODUCT)
            else:
                found, places = self._gpu.search(queries, n)
        return found, places


def on_grid(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors ``[..., r]`` with components rounded to multiples of 2⁻¹¹, which moves cosines by some 10⁻⁴.

    The inner product of two such vectors is exact in float32, in whatever order its terms are added: every product is
    a multiple of 2⁻²², and every partial sum is below 2, by Cauchy and Schwarz. So queries on the grid choose the same
    lists, whose centroids lie on it too, in any batch.
    """
    return (np.round(vectors * np.float32(GRID)) / np.float32(GRID)).astype(np.float32)


class InvertedProposals:
    """Proposes from the inverted lists whose centroids are nearest to the query: some nearest items may be missed.

    Items in these lists are compared by codes, so more are proposed than are looked for. A query whose lists hold too
    few items searches all lists.

    Args:
        index: trained and filled, on a CPU.
        probes: lists that are searched for a query.
        refine: proposals for each item looked for, plus :data:`SPARE`.
        device: where to search.
    """

    def __init__(self, index: faiss.IndexIVF, probes: int, refine: int, device: torch.device) -> None:
        self._size: int = index.ntotal
        self._lists: int = index.nlist
        self._probes = min(probes, self._lists)
        self._refine = refine
        self._width: int = index.d
        self._limit = GPU_MAX_NEIGHBOURS if device.type == "cuda" else self._size
        self._index: Any = on_device(index, device)

    def propose(self, queries: NDArray[np.float32], rounded: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """See :class:`Proposals`; raises :class:`ValueError` if a GPU is asked for more than FAISS can give."""
        width = min(n, self._size)
        if width > self._limit:
            raise ValueError(f"FAISS finds at most {self._limit} items on a GPU, {width} were asked for")
        fetched = min(n * self._refine + SPARE, self._size, self._limit)
        places = self._search(rounded, fetched, self._probes)
        short = np.flatnonzero(places[:, width - 1] < 0)
        if len(short):
            places[short] = self._search(rounded[short], fetched, self._lists)
        return places

    def _search(self, queries: NDArray[np.float32], n: int, probes: int) -> NDArray[np.int64]:
        asked = faiss.SearchParametersIVF()
        asked.nprobe = probes  # of this search: the index's own number would be that of all threads
        products = len(queries) * self._width * (self._lists + self._size * probes // self._lists)
        with faiss_threads(1 if products < PARALLEL_PRODUCTS else None):
            places: NDArray[np.int64] = self._index.search(queries, n, params=asked)[1]
        return places


def train_lists(rows: NDArray[np.float32], lists: int) -> faiss.IndexFlatIP:
    """Centroids of unit vectors ``[n, r]``, by spherical k-means with a fixed seed, on the grid."""
    width = rows.shape[1]
    clustering = faiss.Clustering(width, lists)
    clustering.niter, clustering.seed, clustering.spherical = LIST_ITERATIONS, SEED, True
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, 64
    clustering.train(rows, faiss.IndexFlatIP(width))
    centroids = faiss.vector_to_array(clustering.centroids).reshape(lists, width)
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(on_grid(centroids))
    return quantizer


def train_codes(residuals: NDArray[np.float32], code_bytes: int) -> faiss.ProductQuantizer:
    """Trains codes for residuals to list centroids ``[n, r]``, ``n >= 256``, with a fixed seed."""
    codes = faiss.ProductQuantizer(residuals.shape[1], code_bytes, 8)
    codes.cp.niter, codes.cp.seed = CODE_ITERATIONS, SEED
    codes.cp.min_points_per_centroid, codes.cp.max_points_per_centroid = 1, CODE_SAMPLE // CODES
    codes.train(residuals)
    return codes


def code_bytes(config: IndexConfig, width: int) -> int:
    """Bytes of an item's code: as configured, or the largest that FAISS supports on a GPU too, at most a quarter of r.

    Raises :class:`ConfigError` if the configured number does not divide the width.
    """
    possible = [size for size in PQ_BYTES if width % size == 0]
    if config.pq_bytes is None:
        return max((size for size in possible if 4 * size <= width), default=1)
    if config.pq_bytes not in possible:
        sizes = ", ".join(map(str, possible))
        text = f"{config.pq_bytes} does not divide the latents' width {width}; {sizes} do"
        raise ConfigError([f"index.pq_bytes: {text}"])
    return config.pq_bytes


def number_of_lists(config: IndexConfig, items: int) -> int:
    """Inverted lists of a category: as configured, or twice the square root of its items."""
    return min(items, round(2 * items**0.5) if config.lists is None else config.lists)


def number_of_probes(config: IndexConfig, lists: int) -> int:
    """Lists searched for a query: as configured, or every twelfth, at least 8."""
    return max(8, round(lists / 12)) if config.probes is None else config.probes


def inverted_proposals(
    parts: list[NDArray[np.float32]], config: IndexConfig, device: torch.device
) -> list[InvertedProposals]:
    """Inverted lists for each of some categories, their items in 8 bits per number (``ivf``) or product codes.

    8 bits leave the float vectors' recall as it is, and scan a quarter of their memory, which limits the speed of a
    search. Product codes are learned from all categories at once. Training uses one thread, so that the outcome does
    not depend on their number.

    Args:
        parts: unit vectors of every category's items, ``[n, r]`` each; with codes at least 256 of them in all.
    """
    if not parts:
        return []
    with faiss_threads(1):
        quantizers = [train_lists(rows, number_of_lists(config, len(rows))) for rows in parts]
        codes = None
        if config.kind == "ivf_pq":
            sampled = _residuals(parts, quantizers)
            codes = train_codes(sampled, code_bytes(config, sampled.shape[1]))
        made = []
        for rows, quantizer in zip(parts, quantizers, strict=True):
            index = _empty(quantizer, codes)
            if codes is None:
                index.train(rows)
            index.add(rows)
            probes = number_of_probes(config, index.nlist)
            made.append(InvertedProposals(index, probes, 1 if codes is None else config.refine, device))
    return made


def _empty(quantizer: Any, codes: faiss.ProductQuantizer | None) -> Any:
    """A trained index without items."""
    width, lists = quantizer.d, quantizer.ntotal
    index: Any
    if codes is None:
        eight_bits = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(quantizer, width, lists, eight_bits, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQ(quantizer, width, lists, codes.M, codes.nbits, faiss.METRIC_INNER_PRODUCT)
        index.pq = codes
        index.is_trained = True
    index.own_fields = True  # the index owns the quantizer
    quantizer.this.disown()
    return index


def _residuals(parts: list[NDArray[np.float32]], quantizers: list[Any]) -> NDArray[np.float32]:
    """Residuals to the nearest centroids of evenly spaced items of all categories, shape ``[<= CODE_SAMPLE, r]``."""
    step = max(1, -(-sum(map(len, parts)) // CODE_SAMPLE))
    left = []
    for rows, quantizer in zip(parts, quantizers, strict=True):
        some = np.ascontiguousarray(rows[::step])
        left.append(some - quantizer.reconstruct_batch(quantizer.search(some, 1)[1][:, 0]))
    return np.concatenate(left)
