"""Ten million items on one machine: ``python benchmarks/ten_million.py [--items 10000000]``.

Random embeddings of 64 numbers in a memory-mapped float16 file, untrained models, 100 categories. For the generator
with inverted lists (``ivf_pq``), with a LanceDB table, and for two-stage search with a student's index: seconds to
build, memory at most, and milliseconds to complete an outfit of three items by two. Each part runs in a process of its
own. S's states of ten million items do not fit beside the rest: in two-stage search this process keeps one part
of 64 of them, as a rank would, and computes those of shortlisted items when they are asked for.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from machine import cpu_name, peak_memory, reset_peak_memory
from numpy.typing import NDArray

from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.search import expansion
from outfits.completion.search.shortlists import Shortlists
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import resolve_call
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.model import ModelConfig
from outfits.config.schema.scorer import ScorerConfig
from outfits.config.schema.targets import TwoStageConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.models.student import TwoTower
from outfits.scoring.ranks import DealtScorer

import faiss  # isort: skip

IMAGE_DIM = TEXT_DIM = 32
LATENT, STUDENT = 64, 62  # the student's index has two numbers more
CATEGORIES, K, BLOCK, SHARES = 100, 2, 2**16, 64
PARTS = {"ivf_pq": "generator", "lance": "generator", "two_stage": "greedy_two_stage"}


class NumberedIds(Sequence[str]):
    """Ids of items by their number, which take no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        return [str(one) for one in range(self._count)[place]] if isinstance(place, slice) else str(place)


class NumberedPositions(Mapping[str, int]):
    """Positions of such ids."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (str(one) for one in range(self._count))

    def __getitem__(self, item_id: str) -> int:
        return int(item_id)


class LargeCatalogue(Catalogue):
    """A catalogue without a dictionary of its ids, which would take a gigabyte."""

    @property
    def positions(self) -> Any:
        """Position of every item id."""
        return NumberedPositions(len(self.item_ids))


class Alone:
    """The first of many ranks, which asks the others for nothing."""

    rank, size = 0, SHARES

    def gather(self, value: object) -> list[object]:
        """Raises RuntimeError: two-stage search exchanges nothing."""
        raise RuntimeError("two-stage search needs no other rank")


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Prints a line for every part; returns what was measured."""
    asked = _arguments(arguments)
    if asked.part is not None:
        _measure(asked)
        return []
    size = f"{asked.items:,} items of {IMAGE_DIM + TEXT_DIM}, {CATEGORIES} categories"
    print(f"{cpu_name()}, {asked.threads} threads; {size}")
    print(
        f"{'':<10}{'build, s':>10}{'at most, GiB':>14}{'on disk, GiB':>14}{'ms, one':>10}{'ms, of 16':>10}", flush=True
    )
    measured = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        write_embeddings(Path(folder) / "vectors.npy", asked.items)
        for part in asked.parts:
            program = [sys.executable, "-W", "ignore", __file__, f"--part={part}", f"--folder={folder}"]
            program += [f"--items={asked.items}", f"--threads={asked.threads}"]
            if subprocess.run(program).returncode:
                print(f"{part:<10} failed", flush=True)
                continue
            found = json.loads((Path(folder) / f"{part}.json").read_text())
            measured.append(found)
            print(
                f"{part:<10}{found['build']:>10,.0f}{found['peak']:>14.2f}{found['disk']:>14.2f}{found['one']:>10,.0f}"
                f"{found['many']:>10,.0f}",
                flush=True,
            )
    return measured


def write_embeddings(path: Path, items: int) -> None:
    """Writes random embeddings, each part of unit length, block by block."""
    rng = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (items, IMAGE_DIM + TEXT_DIM))
    for start in range(0, items, BLOCK):
        block = rng.standard_normal((min(BLOCK, items - start), IMAGE_DIM + TEXT_DIM), dtype=np.float32)
        for part in (slice(IMAGE_DIM), slice(IMAGE_DIM, None)):
            block[:, part] /= np.linalg.norm(block[:, part], axis=1, keepdims=True)
        vectors[start : start + BLOCK] = block
    vectors.flush()


def large_catalogue(path: Path, items: int) -> Catalogue:
    """The catalogue over such a file."""
    present = np.broadcast_to(np.ones(2, dtype=np.bool_), (items, 2))
    vectors: NDArray[Any] = np.load(path, mmap_mode="r")
    return LargeCatalogue(
        NumberedIds(items),
        np.random.default_rng(1).integers(CATEGORIES, size=items).astype(np.int32),
        [str(category) for category in range(CATEGORIES)],
        range(items),  # type: ignore[arg-type]  # texts and images, which nothing reads
        range(items),  # type: ignore[arg-type]
        ItemEmbeddings(vectors, present, IMAGE_DIM, TEXT_DIM, key="random"),
    )


def random_tasks(categories: NDArray[np.integer], outfits: int) -> CompletionTasks:
    """Outfits of three items of different categories, two more to be found."""
    rng = np.random.default_rng(2)
    given = []
    for _ in range(outfits):
        items = rng.integers(len(categories), size=50)
        first = np.sort(np.unique(categories[items], return_index=True)[1])
        given.append(items[first][:3].astype(np.int32))
    numbers = np.arange(outfits, dtype=np.int64)
    return CompletionTasks(given, np.empty((outfits, 0), np.int32), numbers, np.zeros_like(numbers), missing=K)


def _measure(asked: argparse.Namespace) -> None:
    """Builds and measures one part, and leaves the figures in the folder."""
    cpu, folder, database = torch.device("cpu"), Path(asked.folder), Path(asked.folder) / "lance"
    torch.set_num_threads(asked.threads)
    faiss.omp_set_num_threads(asked.threads)
    catalogue = large_catalogue(folder / "vectors.npy", asked.items)
    torch.manual_seed(0)
    module = OutfitTransformer(ScorerConfig(), IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
    kind = "ivf_pq" if asked.part == "two_stage" else asked.part
    context = MethodContext(
        catalogue, scorer_module=module, index_config=IndexConfig(kind=kind, uri=str(database), hubness=0)
    )
    reset_peak_memory(cpu)
    started = time.perf_counter()
    if asked.part == "two_stage":
        student = TwoTower(TwoStageConfig(width=STUDENT), module.config.width).eval().requires_grad_(False)
        embeddings, part = catalogue.require_embeddings, min(expansion.CATALOGUE_PART, asked.items)
        scorer = DealtScorer(Alone(), part, module, embeddings.vectors, embeddings.present, catalogue.categories)
        vars(context)["scorer"] = scorer
        vars(context)["shortlists"] = Shortlists(student, scorer, context.index_config)
    else:
        model = ModelConfig(retrieval_dim=LATENT)
        context.generator = Generator(model, IMAGE_DIM, TEXT_DIM, CATEGORIES).eval().requires_grad_(False)
        vars(context)["scorer"] = None  # the generator's completion needs no S
        context.index  # noqa: B018 (built here)
    build = time.perf_counter() - started
    call = resolve_call(PARTS[asked.part], EvaluateConfig())
    times = []
    for outfit in range(asked.turns):
        tasks = random_tasks(catalogue.categories, asked.turns).take(np.array([outfit]))
        started = time.perf_counter()
        complete(call, tasks, context)
        times.append(time.perf_counter() - started)
    many = random_tasks(catalogue.categories, 16)
    started = time.perf_counter()
    complete(call, many, context)
    figures = {
        "part": asked.part,
        "items": asked.items,
        "build": build,
        "peak": (peak_memory(cpu) or float("nan")) / 2**10,
        "disk": sum(path.stat().st_size for path in database.rglob("*") if path.is_file()) / 2**30,
        "one": 1e3 * float(np.median(times[1:])),
        "many": 1e3 * (time.perf_counter() - started) / 16,
    }
    (folder / f"{asked.part}.json").write_text(json.dumps(figures))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=6, help="outfits completed one at a time, the first to warm up")
    parser.add_argument("--folder", help="where files are written; by default the system's temporary folder")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
