"""How fast a machine trains and searches that has other work too: ``python benchmarks/busy.py``, some five minutes.

The pieces of the built-in demo's work are done in turn, alone and beside one and two processes that compute without a
break: a training step of S and of the generator, an outfit completed by greedy search and by the gradient method. One
process does them for every number of threads and every way in which threads wait for each other: ``active``, spinning,
OpenMP's own choice, and ``passive``, sleeping, the choice of this project's programs. Items are random and weights
untrained: the speed depends on neither.

In every round each cell of the table is measured once, so whatever else the machine does falls on all of them. A cell
is the median over the rounds: how often a second, and the CPU time of one. Compare cells of one table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WORKS = ("scorer", "generator", "greedy", "gradient")
WAITS: dict[str, dict[str, str]] = {"active": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
ITEMS, CATEGORIES, OUTFITS, GIVEN, REMOVED = 5000, 20, 512, 3, 2
BUSY_LIMIT = 600.0  # seconds after which a busy process ends in any case
BUSY = """
import os, sys, time
parent, end = os.getppid(), time.monotonic() + float(sys.argv[1])
while os.getppid() == parent and time.monotonic() < end:
    for _ in range(100_000):
        pass
"""

Work = Callable[[], int]
"""Does a piece of work and returns how many steps or outfits it was."""


@dataclass(frozen=True)
class Row:
    """One piece of work in one process, beside so many busy ones.

    Attributes:
        work: a name in :data:`WORKS`.
        threads: OpenMP threads.
        wait: a name in :data:`WAITS`.
        busy: processes that compute beside it.
        per_second: steps or outfits per second, median over the rounds.
        cpu_ms: CPU time of one in milliseconds, median over the rounds.
    """

    work: str
    threads: int
    wait: str
    busy: int
    per_second: float
    cpu_ms: float


class Worker:
    """A process that works when it is asked to, and sleeps in between.

    Args:
        threads: OpenMP threads.
        wait: a name in :data:`WAITS`.
    """

    def __init__(self, threads: int, wait: str) -> None:
        self.threads = threads
        self.wait = wait
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--worker"],
            env={**environment, **WAITS[wait], "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, work: str, seconds: float) -> tuple[float, float]:
        """Does the work for some time; returns how often a second, and CPU milliseconds for one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(work, seconds, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{work}, {self.threads} threads, {self.wait}: the process ended")
        done, wall, cpu = json.loads(answer)
        return done / wall, 1000 * cpu / done

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that compute without a break on one thread each, until the block is left."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY, str(BUSY_LIMIT)]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(arguments: list[str] | None = None) -> list[Row]:
    """Prints the table and returns its rows."""
    asked = _arguments(arguments)
    if asked.worker:
        answer_questions()
        return []
    print(f"{os.cpu_count()} cores; {asked.rounds} rounds, {asked.seconds:g} s for each cell in each", flush=True)
    with ExitStack() as stack:
        workers = []
        for threads in asked.threads:
            for wait in asked.waits if threads > 1 else asked.waits[-1:]:  # one thread waits for no other
                workers.append(Worker(threads, wait))
                stack.callback(workers[-1].stop)
        rows = measure(workers, asked)
    print(table(rows))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return rows


def measure(workers: Sequence[Worker], asked: argparse.Namespace) -> list[Row]:
    """All cells of the table, every round one measurement of each."""
    found: dict[tuple[str, Worker, int], list[tuple[float, float]]] = {}
    for turn in range(asked.rounds):
        for busy in asked.busy:
            for work in asked.works:
                with busy_processes(busy):
                    for worker in workers:
                        found.setdefault((work, worker, busy), []).append(worker.measure(work, asked.seconds))
                rates = ", ".join(
                    f"{worker.threads} {worker.wait} {found[work, worker, busy][-1][0]:.3g}" for worker in workers
                )
                print(f"round {turn + 1}, beside {busy}, {work} per second by threads: {rates}", flush=True)
    return [
        Row(
            work, worker.threads, worker.wait, busy, *(statistics.median(column) for column in zip(*parts, strict=True))
        )
        for (work, worker, busy), parts in sorted(found.items(), key=lambda entry: asked.works.index(entry[0][0]))
    ]


def answer_questions() -> None:
    """Does what the lines of stdin ask for, until it ends: a piece of work, for so many seconds."""
    works = make_works()
    for line in sys.stdin:
        name, seconds = line.split()
        work = works[name]
        work()  # the first one also builds what all others find
        started, cpu, done = time.perf_counter(), time.process_time(), 0
        while not done or time.perf_counter() < started + float(seconds):
            done += work()
        print(json.dumps([done, time.perf_counter() - started, time.process_time() - cpu]), flush=True)


def make_works() -> dict[str, Work]:
    """The pieces of work, with networks and batches of the sizes that the built-in demo has."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader
    from torch_geometric.data import Batch

    from datamodules.compatibility import CollateCompatibility, OutfitsWithNegatives
    from lightning_modules.compatibility import CompatibilityModule
    from lightning_modules.generator import GeneratorModule
    from outfits.completion.context import MethodContext
    from outfits.completion.methods import complete
    from outfits.completion.tasks import CompletionTasks
    from outfits.config.load import load_config
    from outfits.config.method_calls import resolve_call
    from outfits.data.catalogue import Catalogue, ItemEmbeddings
    from outfits.data.negatives import NegativeSampler
    from outfits.data.outfits import Outfits
    from outfits.graphs.completion_graph import CompletionGraphs, GraphTargets, TrainingGraphs

    config = load_config(["experiment=synthetic"], "train")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    image_dim, text_dim = config.encoder.image_dim, config.encoder.text_dim
    vectors = rng.standard_normal((ITEMS, image_dim + text_dim), dtype=np.float32) / image_dim**0.5
    embeddings = ItemEmbeddings(vectors, np.ones((ITEMS, 2), dtype=np.bool_), image_dim, text_dim, key="random")
    categories = np.arange(ITEMS, dtype=np.int32) % CATEGORIES
    names = [str(number) for number in range(ITEMS)]
    catalogue = Catalogue(names, categories, names[:CATEGORIES], [""] * ITEMS, [None] * ITEMS, embeddings)
    several = np.stack([rng.permutation(CATEGORIES)[: GIVEN + REMOVED] for _ in range(OUTFITS)])
    several += CATEGORIES * rng.integers(ITEMS // CATEGORIES, size=several.shape)  # items of different categories
    given, removed = list(several[:, :GIVEN].astype(np.int32)), several[:, GIVEN:].astype(np.int32)

    outfits = Outfits.from_lists(names[:OUTFITS], several.tolist(), np.zeros(OUTFITS, dtype=np.int8))
    negatives = NegativeSampler(categories, config.scorer.negatives, 1)
    scorer_batches = DataLoader(
        OutfitsWithNegatives(outfits, negatives, 0),
        config.scorer.batch_size,
        collate_fn=CollateCompatibility(embeddings),
    )
    shape = (OUTFITS, config.model.k_max, config.targets.candidates)
    targets = GraphTargets(
        chosen=rng.integers(ITEMS, size=shape[:2]).astype(np.int32),
        candidates=rng.integers(ITEMS, size=shape).astype(np.int32),
        candidate_scores=rng.random(shape, dtype=np.float32),
        scores=np.zeros(OUTFITS),
    )
    graphs = TrainingGraphs([CompletionGraphs(catalogue, given, removed, targets)], config.model.k_max)
    generator_batches = DataLoader(graphs, config.optimizer.batch_size, collate_fn=Batch.from_data_list)
    scorer = CompatibilityModule(catalogue, config.scorer)
    frozen = CompatibilityModule(catalogue, config.scorer).model.eval().requires_grad_(False)
    context = MethodContext(catalogue, scorer_module=frozen, search=config.targets)
    numbers = np.arange(OUTFITS)
    tasks = CompletionTasks(given, removed, numbers, np.zeros_like(numbers))

    def completing(text: str, count: int) -> Work:
        call, some = resolve_call(text, config.evaluate), tasks.take(range(count))
        return lambda: len(complete(call, some, context).chosen)

    return {
        "scorer": training(scorer, scorer_batches),
        "generator": training(GeneratorModule(catalogue, config.model, config.loss), generator_batches),
        "greedy": completing("greedy_k", 1),
        "gradient": completing("gradient", 4),  # as many as ascend together
    }


def training(module: Any, batches: Any) -> Work:
    """A training step of a LightningModule, as its trainer takes it."""
    import torch

    optimizer = torch.optim.AdamW(module.parameters())
    without_end = (batch for _ in iter(int, 1) for batch in batches)

    def step() -> int:
        loss = module.training_step(next(without_end), 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        return 1

    return step


def table(rows: Sequence[Row]) -> str:
    """A line for each process and piece of work, a column for each number of busy processes."""
    cells: dict[tuple[str, int, str], dict[int, Row]] = {}
    for row in rows:
        cells.setdefault((row.work, row.threads, row.wait), {})[row.busy] = row
    columns = sorted({row.busy for row in rows})
    heads = (f"{f'beside {busy}' if busy else 'alone':>24}" for busy in columns)
    lines = [f"{'':>9} {'threads':>7} {'wait':>7} {''.join(heads)}"]
    for (work, threads, wait), by_busy in cells.items():
        found = (f"{row.per_second:>11.2f}/s {row.cpu_ms:>8.1f} ms" for row in (by_busy[busy] for busy in columns))
        lines.append(f"{work:>9} {threads:>7} {wait:>7} {''.join(found)}")
    return "\n".join(lines)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="busy processes beside it")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of OpenMP")
    parser.add_argument("--waits", nargs="+", default=list(WAITS), choices=list(WAITS), help="how threads wait")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a cell is measured in a round, at least")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
