"""LanceDB beside FAISS: ``python benchmarks/lance_index.py [--items 10000 100000]``.

Clustered random vectors in 100 categories; the two latents of an outfit are looked for in all categories, as the
generator's completion asks. For every kind of index: seconds to build, how often the nearest item of a category is
found, the cosine lost on average, and milliseconds for the two latents, the median over outfits.
"""

import argparse
import tempfile
import time
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from machine import cpu_name
from numpy.typing import NDArray

from outfits.config.schema.index import IndexConfig
from outfits.index.build import build_index

import faiss  # isort: skip

CATEGORIES, CLUSTERS, LATENTS = 100, 20, 2
NEVER = 10**9  # items from which a table would get lists: none does
KINDS = {
    "flat": IndexConfig(),
    "ivf": IndexConfig(kind="ivf"),
    "ivf_pq": IndexConfig(kind="ivf_pq"),
    "lance, no index": IndexConfig(kind="lance", min_items=NEVER),
    "lance, IVF-PQ": IndexConfig(kind="lance"),
}


def main(arguments: list[str] | None = None) -> list[dict[str, float | str]]:
    """Prints a line for every size and kind; returns what was measured."""
    asked = _arguments(arguments)
    faiss.omp_set_num_threads(torch.get_num_threads())
    size = f"width {asked.width}, {CATEGORIES} categories, {LATENTS} latents"
    print(f"{cpu_name()}, {torch.get_num_threads()} threads; {size}")
    print(
        f"{'items':>10} {'index':<16} {'build, s':>9} {'nearest found':>14} {'cosine lost':>12} {'ms':>8}", flush=True
    )
    rows = []
    for items in asked.items:
        vectors, categories = clustered(items, asked.width)
        queries = vectors[: asked.outfits * LATENTS] + np.random.default_rng(1).normal(
            scale=0.2, size=(asked.outfits * LATENTS, asked.width)
        ).astype(np.float32)
        exact: NDArray[np.float32] | None = None
        for name, config in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                config.uri = str(Path(folder) / "db") if config.kind == "lance" else None
                started = time.perf_counter()
                index = build_index(
                    vectors, categories, "cpu", num_categories=CATEGORIES, config=config, name=f"items-{items}"
                )
                build = time.perf_counter() - started
                times, near = [], []
                for row in range(0, len(queries), LATENTS):
                    started = time.perf_counter()
                    near.append(index.search(queries[row : row + LATENTS], 1)[0][:, :, 0])
                    times.append(time.perf_counter() - started)
                found = np.concatenate(near)
                exact = found if exact is None else exact
                row_of = {
                    "items": items,
                    "index": name,
                    "build": build,
                    "found": float((found == exact).mean()),
                    "lost": float((exact - found)[np.isfinite(exact)].mean()),
                    "ms": 1e3 * float(np.median(times)),
                }
            rows.append(row_of)
            print(
                f"{items:>10,} {name:<16} {build:>9.1f} {row_of['found']:>14.1%} {row_of['lost']:>12.5f} "
                f"{row_of['ms']:>8.1f}",
                flush=True,
            )
    return rows


def clustered(items: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors in clusters within their categories, and the categories."""
    rng = np.random.default_rng(0)
    categories = rng.integers(CATEGORIES, size=items)
    centres = rng.normal(size=(CATEGORIES, CLUSTERS, width)).astype(np.float32)
    vectors = centres[categories, rng.integers(CLUSTERS, size=items)]
    return vectors + 0.4 * rng.standard_normal(vectors.shape, dtype=np.float32), categories


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--items", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--outfits", type=int, default=10)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
