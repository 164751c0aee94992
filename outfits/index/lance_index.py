"""Nearest items from a LanceDB table on a disk, in an object store or on a server."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from outfits.config.schema.index import IndexConfig
from outfits.errors import ArtifactError, ConfigError, one_line, raised_as
from outfits.index.category_index import Vectors, unit_rows
from outfits.index.proposals import CODES, ROUNDING, SPARE, code_bytes

BLOCK = 2**15  # rows that are written or read at once
READY = "ready"  # tag of the version of a table that was written to its end
LIST_SIZE = 4096  # items of an inverted list of the table
SEARCHES = 4  # categories that are searched at a time
IDS_OF_A_DELETION = 10_000
KEPT_VERSIONS = timedelta(days=36_500)  # none is cleaned up: an index of each may be open, and one is tagged


class LanceIndex:
    """Maximum-cosine search in a LanceDB table; an :class:`outfits.index.item_index.ItemIndex`.

    A row of the table is an item: its key, its category, which has a scalar index that filters before a search, and its
    unit vector. This process keeps keys and categories, 16 bytes per item. The table proposes, the proposals' cosines
    are computed again from their vectors, pair by pair; so without an index over the vectors answers are equal, bit by
    bit, to those of a flat :class:`outfits.index.category_index.CategoryIndex`. Tables of ``min_items`` and more get an
    IVF-PQ index, whose best ``refine`` candidates per item asked for are compared by their vectors; categories of fewer
    items, and those where the lists hold too few, are compared as a whole.

    An index reads one version of its table, whatever others add and delete meanwhile; :meth:`changed` makes a new
    version, :attr:`version` and :meth:`open` lead back to an old one.

    Args:
        table: of lancedb, at the version to read.
        num_categories: ``C``.
        config: kind ``lance``.

    Raises:
        ArtifactError: if the table cannot be read, now or by a search to come.
    """

    def __init__(self, table: Any, num_categories: int, config: IndexConfig) -> None:
        self._table = table
        self.config = config
        self.num_categories = num_categories
        with _table_fault(f"table {table.name} cannot be read"):
            columns = table.search().select(["key", "category"]).limit(table.count_rows()).to_arrow()
        keys = columns["key"].to_numpy()
        order = np.argsort(keys)
        self._keys: NDArray[np.int64] = keys[order]
        self.categories: NDArray[np.int64] = columns["category"].to_numpy()[order].astype(np.int64)
        self._sizes = np.bincount(self.categories, minlength=num_categories)
        self.empty_categories: NDArray[np.bool_] = self._sizes == 0
        self._width = int(table.schema.field("vector").type.list_size)
        self.has_lists = any(index.columns == ["vector"] for index in table.list_indices())

    @classmethod
    def build(
        cls, vectors: Vectors, categories: NDArray[np.integer], *, name: str, num_categories: int, config: IndexConfig
    ) -> "LanceIndex":
        """Opens the table of these items, or writes one.

        Args:
            vectors: item vectors, shape ``[N, r]``, read block by block.
            categories: category of every item, shape ``[N]``.
            name: beginning of the table's name, which tells its content.
            num_categories: ``C``.
            config: where the table lies, and its index.

        Raises:
            ArtifactError: if a table cannot be read.
            ConfigError: if lancedb is not installed, or there is no database at ``uri`` and none can be made.
            ValueError: if shapes do not fit or a vector is not finite.
        """
        base = connect(config)
        items, width = vectors.shape
        if np.shape(categories) != (items,) or not items:
            raise ValueError(f"{items} vectors need as many categories, not {list(np.shape(categories))}")
        for found in sorted(one for one in _names(base) if one.startswith(f"{name}-")):
            try:
                tags = base.open_table(found).tags.list()
            except Exception:  # lancedb's own; another process has begun to write it, or it is damaged
                continue
            if READY in tags:
                return cls.open(config, found, num_categories, int(tags[READY]["version"]))
        # Two processes may write at once, each a table of its own; one that was stopped is never ready.
        schema = pa.schema([("key", pa.int64()), ("category", pa.int32()), ("vector", pa.list_(pa.float32(), width))])
        failed: list[ValueError] = []
        rows = _batches(vectors, categories, np.arange(items), schema, failed)
        try:
            reader = pa.RecordBatchReader.from_batches(schema, rows)
            table = base.create_table(f"{name}-{uuid4().hex[:8]}", data=reader)
        except Exception as error:
            if failed:
                raise failed[0] from None
            raise ConfigError(
                [f"index.uri: no table can be written to {config.uri} ({one_line(error, 160)})"]
            ) from error
        with _table_fault(f"table {table.name} gets no index"):
            cls._index(table, items, width, config)
            table.tags.create(READY, table.version)
        return cls(table, num_categories, config)

    @classmethod
    def open(cls, config: IndexConfig, name: str, num_categories: int, version: int | None = None) -> "LanceIndex":
        """Opens a table by its whole name at a version, None: the newest; ArtifactError if it cannot be read."""
        base = connect(config)
        with _table_fault(f"table {name} cannot be opened"):
            table = base.open_table(name)
            if version is not None:
                table.checkout(version)
        return cls(table, num_categories, config)

    @staticmethod
    def _index(table: Any, items: int, width: int, config: IndexConfig) -> None:
        from lancedb.index import Bitmap, IvfPq

        table.create_index("category", config=Bitmap())
        if items < max(config.min_items, CODES):
            return
        lists = max(1, round(items / LIST_SIZE)) if config.lists is None else min(items, config.lists)
        codes = IvfPq(
            distance_type="dot", num_partitions=lists, num_sub_vectors=code_bytes(config, width), max_iterations=10
        )
        table.create_index("vector", config=codes)

    @property
    def name(self) -> str:
        """Name of the table."""
        return str(self._table.name)

    @property
    def version(self) -> int:
        """Version of the table that this index reads."""
        return int(self._table.version)

    def __len__(self) -> int:
        return len(self._keys)

    def changed(
        self, kept: NDArray[np.integer], vectors: Vectors | None = None, categories: Sequence[int] = ()
    ) -> "LanceIndex":
        """An index of a new version of the table: the items at positions ``kept``, ascending, then further ones.

        This index, and every other of the table, stays as it is. Further items are compared as a whole until
        :meth:`optimised`.

        Args:
            kept: positions of the items that stay, shape ``[K]``.
            vectors: further items' vectors, shape ``[m, r]``.
            categories: their categories, shape ``[m]``.

        Raises:
            ArtifactError: if the table cannot be changed, or another process changes it at the same time.
        """
        base = connect(self.config)
        further = 0 if vectors is None else len(categories)
        with _table_fault(f"table {self.name} cannot be changed"):
            table = base.open_table(self.name)
            if table.version != self.version:
                table.checkout(self.version)
                table.restore()
            gone = np.delete(self._keys, kept).tolist()
            for start in range(0, len(gone), IDS_OF_A_DELETION):
                table.delete(f"key IN ({', '.join(map(str, gone[start : start + IDS_OF_A_DELETION]))})")
            if vectors is not None and further:
                first = int(self._keys[-1]) + 1
                rows = _batches(vectors, np.asarray(categories), np.arange(first, first + further), table.schema, [])
                table.add(pa.Table.from_batches(rows, schema=table.schema))
        found = type(self)(table, self.num_categories, self.config)
        if len(found) != len(kept) + further:
            raise ArtifactError(
                f"index.uri: table {self.name} was changed by another process at the same time; change it again"
            )
        return found

    def optimised(self) -> "LanceIndex":
        """An index of a new version, whose lists have the items that joined too."""
        base = connect(self.config)
        with _table_fault(f"table {self.name} cannot be optimised"):
            table = base.open_table(self.name)
            table.checkout(self.version)
            table.restore()
            table.optimize(cleanup_older_than=KEPT_VERSIONS)
        return type(self)(table, self.num_categories, self.config)

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Similarities and positions ``[Q, C, n]`` of queries ``[Q, r]``, see :meth:`ItemIndex.search`."""
        rows = self._unit_queries(queries)
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        similarity = np.full((len(rows), self.num_categories, n), -np.inf, dtype=np.float32)
        ids = np.full((len(rows), self.num_categories, n), -1, dtype=np.int64)
        filled = np.flatnonzero(~self.empty_categories).tolist()
        # a query of its own each, so that answers do not depend on the batch; a pool per call survives a fork
        with ThreadPoolExecutor(SEARCHES) as pool:
            found = pool.map(lambda category: self._nearest(rows, category, n), filled)
            for category, (cosine, position) in zip(filled, found, strict=True):
                similarity[:, category, : cosine.shape[1]] = cosine
                ids[:, category, : cosine.shape[1]] = position
        return similarity, ids

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Cosine of every item to every query ``[Q, r]``, shape ``[Q, N]``; reads the whole table."""
        rows = self._unit_queries(queries)
        cosines = np.empty((len(rows), len(self)), dtype=np.float32)
        with _table_fault(f"table {self.name} cannot be read"):
            for batch in self._table.search().select(["key", "vector"]).limit(len(self)).to_batches(BLOCK):
                positions = np.searchsorted(self._keys, batch.column("key").to_numpy())
                vectors = _matrix(batch.column("vector"), self._width)
                cosines[:, positions] = np.einsum("qr,nr->qn", rows, vectors)
        return cosines

    def _nearest(
        self, queries: NDArray[np.float32], category: int, n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Cosines and positions ``[Q, min(n, items)]`` of the nearest items of a category."""
        size = int(self._sizes[category])
        width = min(n, size)
        exact = not self.has_lists or size < max(self.config.min_items, CODES)
        fetched = min(width + 1, size) if exact else min(width + SPARE, size)
        left = np.arange(len(queries))
        cosines = np.empty((len(queries), width), dtype=np.float32)
        positions = np.empty((len(queries), width), dtype=np.int64)
        while len(left):
            distances, keys, vectors = self._propose(queries[left], category, fetched, exact)
            enough = (keys >= 0).sum(axis=1) >= width
            if exact and fetched < size:  # rounding must not decide who is among the nearest
                enough &= distances[:, -1] - distances[:, width - 1] > ROUNDING
            cosine = np.einsum("qr,qpr->qp", queries[left], vectors)
            cosine = np.where(keys >= 0, cosine, np.float32(-np.inf))
            order = np.lexsort((keys, -cosine), axis=-1)[:, :width]
            done = left[enough]
            cosines[done] = np.take_along_axis(cosine, order, axis=1)[enough]
            near = np.take_along_axis(keys, order, axis=1)[enough]
            positions[done] = np.searchsorted(self._keys, near)
            left = left[~enough]
            if exact:
                fetched = min(2 * fetched, size)
            else:  # too few in the lists that were searched
                exact, fetched = True, min(width + 1, size)
        return cosines, positions

    def _propose(
        self, queries: NDArray[np.float32], category: int, n: int, exact: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Distances ``[Q, n]``, keys ``[Q, n]`` and vectors ``[Q, n, r]``; infinite, -1 and 0 where there are fewer."""
        distances = np.full((len(queries), n), np.inf, dtype=np.float32)
        keys = np.full((len(queries), n), -1, dtype=np.int64)
        vectors = np.zeros((len(queries), n, self._width), dtype=np.float32)
        for row, query in enumerate(queries):
            asked = self._table.search(query).distance_type("dot").where(f"category = {category}", prefilter=True)
            if exact:
                asked = asked.bypass_vector_index()
            else:
                asked = asked.refine_factor(self.config.refine)
                if self.config.probes is not None:
                    asked = asked.nprobes(self.config.probes)
            with _table_fault(f"table {self.name} cannot be searched"):
                found = asked.limit(n).select(["key", "vector", "_distance"]).to_arrow().combine_chunks()
            count = found.num_rows
            distances[row, :count] = found["_distance"].to_numpy()
            keys[row, :count] = found["key"].to_numpy()
            vectors[row, :count] = _matrix(found["vector"], self._width)
        return distances, keys, vectors

    def _unit_queries(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        rows = unit_rows(queries)
        if rows.shape[1] != self._width:
            raise ValueError(f"queries have width {rows.shape[1]}, the index has {self._width}")
        return rows


def table_name(*content: str | NDArray[Any]) -> str:
    """A name of a table by what its rows are made of."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return f"items-{digest.hexdigest()[:24]}"


def connect(config: IndexConfig) -> Any:
    """The database at ``uri``; raises :class:`ConfigError` if it cannot be had."""
    try:
        import lancedb
    except ImportError as error:
        raise ConfigError(["index.kind: lance needs the package lancedb; pip install 'outfits[lance]'"]) from error
    if config.uri is None:
        raise ConfigError(["index.uri: is null, but index.kind=lance keeps its table there; name a folder or a URL"])
    try:
        return lancedb.connect(config.uri)
    except Exception as error:  # lancedb has errors of its own for every kind of store
        raise ConfigError([f"index.uri: no database at {config.uri} ({one_line(error, 160)})"]) from error


def _table_fault(what: str) -> AbstractContextManager[None]:
    """Raises ArtifactError for errors of lancedb, which has other ones for every kind of store."""
    return raised_as(ArtifactError, f"index.uri: {what}", "; if it stays so, delete the table, it is written again")


def _names(base: Any) -> list[str]:
    """Names of all tables of a database."""
    names: list[str] = []
    token = None
    while True:
        page = base.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def _batches(
    vectors: Vectors,
    categories: NDArray[np.integer],
    keys: NDArray[np.int64],
    schema: pa.Schema,
    failed: list[ValueError],
) -> Iterator[pa.RecordBatch]:
    """Rows of a table; an error about a vector is also put into ``failed``, since Arrow makes another of it."""
    for start in range(0, len(keys), BLOCK):
        some = slice(start, start + BLOCK)
        try:
            rows = unit_rows(vectors[some], start)
        except ValueError as error:
            failed.append(error)
            raise
        columns = [
            pa.array(keys[some]),
            pa.array(np.asarray(categories[some], dtype=np.int32)),
            pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1]),
        ]
        yield pa.record_batch(columns, schema=schema)


def _matrix(column: Any, width: int) -> NDArray[np.float32]:
    """Vectors ``[n, width]`` of a column of lists."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    numbers: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(-1, width)
