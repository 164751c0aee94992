"""How fast outfits are completed: ``python benchmarks/complete.py``.

Every method completes random outfits of three and four items, two items missing, over catalogues of growing size, one
outfit at a time and many at once. Embeddings are random and weights untrained: the speed depends on neither, except
that inverted lists of random vectors are a little more even than those of clothes. Models have their default sizes.

Methods take turns, several times; a time is the median over the turns. What would take longer than ``--budget`` seconds
is measured on fewer outfits or on a smaller catalogue and scaled up in proportion: ``~`` marks it, and the last column
says from what. A fast method answers several times in its turn, so it finds its data in the caches as a busy server
would. For ``generator`` the time is split into building graphs, the network, and the search in the index.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from machine import cpu_name, peak_memory
from numpy.typing import NDArray
from torch import Tensor

from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall, resolve_call
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.methods import spec_of
from outfits.config.schema.model import ModelConfig
from outfits.config.schema.scorer import ScorerConfig
from outfits.config.schema.targets import TargetsConfig, TwoStageConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator, latents_of
from outfits.models.student import TwoTower

import faiss  # isort: skip

SIZES, BATCHES = (1000, 10_000, 100_000, 1_000_000), (1, 256)
IMAGE_DIM, TEXT_DIM, CATEGORIES, K, SEED = 256, 256, 100, 2, 0
COMPARED = ("random", "greedy_k", "beam", "greedy_two_stage", "generator", "generator_rerank", "generator_beam")
PARTS = ("graphs", "network", "search")
BLOCK = 2**15  # embeddings drawn at once
PILOT_ITEMS = 10_000  # size of the catalogue that tells how long a method may take
FAST = 0.1  # seconds; a method that takes less answers ANSWERS times in a turn
ANSWERS = 5


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    Attributes:
        items: catalogue items.
        batch: outfits completed at once.
        method: the method as it was called.
        seconds: for the whole batch, median.
        answers: how many answers the median is of.
        calls: calls of S per outfit.
        measured_items: size of the catalogue that was measured; where it is not ``items``, seconds were scaled up.
        measured_outfits: outfits that were measured; where they are not ``batch``, seconds were scaled up.
        parts: the generator's seconds for graphs, network and search, medians.
    """

    items: int
    batch: int
    method: str
    seconds: float
    answers: int
    calls: float
    measured_items: int
    measured_outfits: int
    parts: dict[str, float] | None = None

    @property
    def scaled(self) -> bool:
        """Whether the time was scaled up."""
        return (self.items, self.batch) != (self.measured_items, self.measured_outfits)

    def at(self, items: int, batch: int) -> "Cell":
        """What this measurement lets expect of another catalogue and number of outfits."""
        larger = items / self.items if spec_of(self.method).scans_catalogue else 1
        seconds, calls = self.seconds * larger * batch / self.batch, self.calls * larger
        parts = self.parts if (items, batch) == (self.items, self.batch) else None
        return replace(self, items=items, batch=batch, seconds=seconds, calls=calls, parts=parts)


@dataclass(frozen=True)
class Answer:
    """One answer of a method: its wall time, calls of S per outfit, and times of the generator's parts."""

    seconds: float
    calls: float
    parts: dict[str, float]


class TimedContext(MethodContext):
    """What methods need, and how long graphs and network of the generator's latents took the last time, seconds."""

    graph_seconds = network_seconds = 0.0

    def latents(self, tasks: CompletionTasks) -> Tensor:
        """Latents ``[B, k, r]``."""
        start = time.perf_counter()
        graphs = self.graphs(tasks)
        made = time.perf_counter()
        latents = latents_of(self.require_generator(), graphs, tasks.k, self.device)
        self.graph_seconds, self.network_seconds = made - start, time.perf_counter() - made
        return latents


@dataclass(frozen=True)
class World:
    """A catalogue of random embeddings with untrained models over it.

    Attributes:
        context: what methods need.
        scorer_seconds: how long S took to look at every item.
        index_seconds: how long it took to map the items and build the index.
    """

    context: TimedContext
    scorer_seconds: float
    index_seconds: float

    @property
    def items(self) -> int:
        """Size of the catalogue."""
        return len(self.context.categories)

    def tasks(self, batch: int) -> CompletionTasks:
        """Random outfits of three and four items of different categories."""
        rng = np.random.default_rng([SEED, self.items])
        categories, given = self.context.categories, []
        for number in range(batch):
            items = rng.choice(self.items, min(self.items, 50), replace=False)
            first = np.sort(np.unique(categories[items], return_index=True)[1])
            given.append(items[first][: 3 + number % 2].astype(np.int32))
        numbers = np.arange(batch, dtype=np.int64)
        return CompletionTasks(given, np.empty((batch, 0), dtype=np.int32), numbers, np.zeros_like(numbers), missing=K)

    def answer(self, call: MethodCall, tasks: CompletionTasks) -> Answer:
        """Completes a batch once."""
        start = time.perf_counter()
        completions = complete(call, tasks, self.context)  # the answer is on the CPU: no GPU work is left
        seconds = time.perf_counter() - start
        graphs, network = self.context.graph_seconds, self.context.network_seconds
        parts = dict(zip(PARTS, (graphs, network, seconds - graphs - network), strict=True))
        return Answer(seconds, float(completions.calls.mean()), parts)


def main(arguments: list[str] | None = None) -> list[Cell]:
    """Prints the table and returns its lines."""
    options = _arguments(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        faiss.omp_set_num_threads(options.threads)
    device = torch.device(options.device)
    calls = [resolve_call(text, EvaluateConfig()) for text in options.methods]
    index = IndexConfig(kind=options.index)
    machine = f"{cpu_name()}, {torch.get_num_threads()} threads, {device}"
    print(f"{machine}; S in {options.precision}, index {options.index}, {K} items missing")
    head = f"{'items':>9} {'batch':>5} {'method':<18} {'ms':>12} {'ms/outfit':>12} {'outfits/s':>10} {'calls of S':>11}"
    print(head, flush=True)
    cells: list[Cell] = []
    built = []
    with tempfile.TemporaryDirectory() as folder:
        vectors = random_embeddings(max(options.items), Path(folder))
        two_stage = any("student" in spec_of(call.name).needs for call in calls)
        build = partial(
            build_world,
            vectors,
            index=index,
            precision=options.precision,
            device=device,
            student=two_stage,
            compile=not options.no_compile,
        )
        world = build(min(PILOT_ITEMS, len(vectors)))
        known = [measure(call, world, 1, 1) for call in calls]
        for items in sorted(options.items):
            del world
            world = build(items)
            built.append({"items": items, "scorer_seconds": world.scorer_seconds, "index_seconds": world.index_seconds})
            for batch in sorted(options.batches):
                found = compare(calls, world, batch, known, options.budget, options.turns)
                known += [cell for cell in found if not cell.scaled]
                cells += found
                _print(found)
            peak = _peak_gib()
            print(
                f"{items:>9,} built: S looked at every item in {world.scorer_seconds:.1f} s, index in "
                f"{world.index_seconds:.1f} s" + (f"; peak memory so far {peak:.1f} GiB\n" if peak else "\n"),
                flush=True,
            )
    if options.json is not None:
        settings = {"index": asdict(index), "precision": options.precision, "k": K, "categories": CATEGORIES}
        metrics = {
            "machine": machine,
            "torch": torch.__version__,
            "faiss": faiss.__version__,
            **settings,
            "cells": [asdict(cell) | {"scaled": cell.scaled} for cell in cells],
            "ratios": ratios(cells),
            "built": built,
            "peak_memory_gib": _peak_gib(),
        }
        options.json.write_text(json.dumps(metrics, indent=1))
    return cells


def compare(
    calls: Sequence[MethodCall], world: World, batch: int, known: Sequence[Cell], budget: float, turns: int
) -> list[Cell]:
    """One line for every method over one catalogue, measured in turns.

    Args:
        calls: the methods.
        world: catalogue and models.
        batch: outfits completed at once.
        known: what was measured before, on anything of every method.
        budget: seconds that a method may take, all turns together.
        turns: most turns.
    """
    answers: dict[str, list[Answer]] = {call.text: [] for call in calls}
    outfits: dict[str, int] = {}
    expected: dict[str, Cell] = {}
    for call in calls:
        before = [cell.at(world.items, batch) for cell in known if cell.method == call.text]
        expected[call.text] = max(before, key=lambda cell: cell.measured_items * cell.measured_outfits)
        # in proportion is too much for whatever grows more slowly, so the smallest expectation is the nearest
        outfits[call.text] = min(batch, int(batch * budget / min(cell.seconds for cell in before)))
    for _ in range(turns):
        for call in calls:
            had = answers[call.text]
            spent = sum(answer.seconds for answer in had)
            if outfits[call.text] and (not had or spent + had[-1].seconds <= budget):
                had += in_turn(call, world, outfits[call.text])
    return [
        _cell(call, world, outfits[call.text], answers[call.text]).at(world.items, batch)
        if answers[call.text]
        else expected[call.text]
        for call in calls
    ]


def in_turn(call: MethodCall, world: World, outfits: int) -> list[Answer]:
    """The answers of one turn: one, or several after one to warm up if the method is fast."""
    tasks = world.tasks(outfits)
    first = world.answer(call, tasks)
    return [first] if first.seconds > FAST else [world.answer(call, tasks) for _ in range(ANSWERS)]


def measure(call: MethodCall, world: World, outfits: int, turns: int) -> Cell:
    """A method over one catalogue, measured by itself after one turn to warm up."""
    in_turn(call, world, outfits)
    return _cell(call, world, outfits, [answer for _ in range(turns) for answer in in_turn(call, world, outfits)])


def ratios(cells: Sequence[Cell]) -> list[dict[str, float]]:
    """How many times faster the generator is than greedy search, for every size and batch that has both."""
    seconds = {(cell.items, cell.batch, cell.method): cell.seconds for cell in cells}
    return [
        {"items": items, "batch": batch, "ratio": seconds[items, batch, "greedy_k"] / own}
        for (items, batch, method), own in seconds.items()
        if method == "generator" and (items, batch, "greedy_k") in seconds
    ]


def random_embeddings(items: int, folder: Path) -> NDArray[np.float32]:
    """Random embeddings ``[items, d]``, each part of unit length, memory-mapped like those of a real catalogue."""
    rng = np.random.default_rng(SEED)
    shape = (items, IMAGE_DIM + TEXT_DIM)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, items, BLOCK):
        block = rng.standard_normal((min(BLOCK, items - start), shape[1]), dtype=np.float32)
        for part in (slice(IMAGE_DIM), slice(IMAGE_DIM, None)):
            block[:, part] /= np.linalg.norm(block[:, part], axis=1, keepdims=True)
        vectors[start : start + BLOCK] = block
    vectors.flush()
    return np.load(folder / "vectors.npy", mmap_mode="r")


def build_world(
    vectors: NDArray[np.float32],
    items: int,
    index: IndexConfig,
    precision: str,
    device: torch.device,
    student: bool,
    compile: bool,
) -> World:
    """Models of default size over the first items.

    Args:
        vectors: embeddings ``[N, d]``.
        items: how many of them make the catalogue.
        index: kind of index.
        precision: arithmetic of S.
        device: where everything runs.
        student: whether two-stage methods are wanted.
        compile: whether S is compiled for searching the whole catalogue.
    """
    categories = np.random.default_rng([SEED, 1]).integers(CATEGORIES, size=len(vectors))[:items]
    features = ItemEmbeddings(vectors[:items], np.ones((items, 2), dtype=np.bool_), IMAGE_DIM, TEXT_DIM)
    catalogue = Catalogue(
        [str(item) for item in range(items)],
        categories.astype(np.int32),
        [str(category) for category in range(CATEGORIES)],
        [""] * items,
        [None] * items,
        features,
    )
    torch.manual_seed(SEED)
    module = OutfitTransformer(ScorerConfig(), IMAGE_DIM, TEXT_DIM)
    model = Generator(ModelConfig(), IMAGE_DIM, TEXT_DIM, CATEGORIES)
    context = TimedContext(
        catalogue,
        scorer_module=module.eval().requires_grad_(False),
        generator=model.eval().requires_grad_(False),
        student=TwoTower(TwoStageConfig(), module.config.width).eval() if student else None,
        search=TargetsConfig(precision=precision, compile="always" if compile else "never"),
        index_config=index,
        seed=SEED,
        device=device,
    )
    start = time.perf_counter()
    _ = context.scorer
    scored = time.perf_counter()
    _ = context.index
    indexed = time.perf_counter()
    if student:
        _ = context.shortlists
    return World(context, scored - start, indexed - scored)


def _cell(call: MethodCall, world: World, outfits: int, answers: Sequence[Answer]) -> Cell:
    seconds = statistics.median(answer.seconds for answer in answers)
    parts = {part: statistics.median(answer.parts[part] for answer in answers) for part in PARTS}
    return Cell(
        world.items,
        outfits,
        call.text,
        seconds,
        len(answers),
        answers[-1].calls,
        world.items,
        outfits,
        parts if call.name == "generator" else None,
    )


def _print(cells: Sequence[Cell]) -> None:
    for cell in cells:
        mark, each = "~" if cell.scaled else "", 1000 * cell.seconds / cell.batch
        line = (
            f"{cell.items:>9,} {cell.batch:>5} {cell.method:<18} {mark + format(1000 * cell.seconds, ',.1f'):>12} "
            f"{mark + format(each, ',.2f'):>12} {mark + format(1000 / each, ',.1f'):>10} {cell.calls:>11,.0f}"
        )
        if cell.scaled:
            line += f"  from {cell.measured_outfits} outfits over {cell.measured_items:,} items"
        if cell.parts is not None:
            line += "  " + ", ".join(f"{part} {1000 * seconds:,.2f}" for part, seconds in cell.parts.items())
        print(line, flush=True)
    for row in ratios(cells):
        scaled = any(cell.scaled for cell in cells if cell.method in ("greedy_k", "generator"))
        print(f"{'':>15} generator : greedy_k = 1 : {'~' if scaled else ''}{row['ratio']:,.0f}", flush=True)


def _peak_gib() -> float | None:
    """Largest memory of the process, GiB, mapped pages of the embeddings' file included; None where it is not told."""
    mebibytes = peak_memory(torch.device("cpu"))
    return None if mebibytes is None else mebibytes / 2**10


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--items", nargs="+", type=int, default=list(SIZES), help="sizes of the catalogue")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help="outfits completed at once")
    parser.add_argument(
        "--methods", nargs="+", default=list(COMPARED), help="methods as in evaluate.methods, as in beam:width=8"
    )
    parser.add_argument("--index", default="flat", choices=["flat", "ivf", "ivf_pq"], help="index.kind")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "auto"], help="arithmetic of S")
    parser.add_argument("--no-compile", action="store_true", help="S without torch.compile")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds that one line of the table may take")
    parser.add_argument("--turns", type=int, default=5, help="most turns of every method")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch's and FAISS's choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="file for the metrics")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
