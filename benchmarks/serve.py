"""How fast the service answers: ``python benchmarks/serve.py``.

A service over a catalogue of random embeddings with untrained models of the built-in recipe's size is asked by 32
clients at once, with connections that stay open, to complete outfits of two items by two, 1,000 requests in all. First
one request at a time (``serve.max_batch=1``), then those that wait together (``serve.max_batch=32``). Last, 32 requests
at once are compared with one call of ``Stylist.complete_many`` for the same 32 outfits, in turns.

Times depend on neither embeddings nor weights, except that inverted lists of random vectors are a little more even.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch
from machine import cpu_name

from outfits import Stylist, run_files
from outfits.config.load import load_config, save_config
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.encoders.base import EncoderSource
from outfits.encoders.store import EmbeddingStore
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.storage import write_text
from outfits.stylist.export import export
from outfits.weights import save_network

REPOSITORY = Path(__file__).resolve().parent.parent
SIZES, CLIENTS, REQUESTS = (5_000, 1_000_000), 32, 1_000
DIM, CATEGORIES, SEED = 64, 40, 0
SECONDS_TO_START = 900
SHARD = 50_000


@dataclass(frozen=True)
class Load:
    """What came of many requests.

    Attributes:
        statuses: answers by HTTP's status; a request without an answer counts as 0.
        milliseconds: of every request, in the order of their ends.
        seconds: wall time of all.
    """

    statuses: dict[int, int]
    milliseconds: list[float]
    seconds: float

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the requests took at most."""
        return float(np.percentile(self.milliseconds, 100 * share))


def made_run(root: Path, items: int, index: str) -> Path:
    """Writes a run of untrained models over random embeddings, as a stylist loads it."""
    folder = root / "run"
    config = load_config(["experiment=synthetic", f"run_dir={folder}", f"cache_dir={root}", f"index.kind={index}"])
    config.encoder.shard_size = SHARD
    save_config(config, folder / run_files.CONFIG)
    rng = np.random.default_rng(SEED)
    store = EmbeddingStore(root / "embeddings", f"{items:040d}", items, DIM, DIM, SHARD)
    for shard in range(len(store)):
        start, stop = store.bounds(shard)
        vectors = rng.standard_normal((stop - start, 2 * DIM), dtype=np.float32)
        for part in (vectors[:, :DIM], vectors[:, DIM:]):
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        store.write_vectors(shard, vectors, np.ones((stop - start, 2), dtype=np.bool_))
    categories = rng.integers(CATEGORIES, size=items).astype(np.int32)
    catalogue = Catalogue(
        [f"item-{item}" for item in range(items)],
        categories,
        [f"category-{one}" for one in range(CATEGORIES)],
        [""] * items,
        [None] * items,
        store.finish(),
    )
    pairs = [np.flatnonzero(categories == one)[:2].tolist() for one in range(CATEGORIES)]
    sets = [[first, pairs[(place + 1) % CATEGORIES][1]] for place, (first, _) in enumerate(pairs)]
    outfits = Outfits.from_lists([str(place) for place in range(len(sets))], sets, np.zeros(len(sets), dtype=np.int8))
    dataset = OutfitDataset("random", catalogue, outfits, {}, {}, {}, {})
    config.encoder.image = config.encoder.text = "none"
    export(folder, dataset, root, root, EncoderSource(config.encoder, catalogue, np.zeros(0, dtype=np.int64), folder))
    torch.manual_seed(SEED)
    sha256 = save_network(OutfitTransformer(config.scorer, DIM, DIM), folder / run_files.SCORER)
    write_text(folder / run_files.COMPATIBILITY, json.dumps({"sha256": sha256, "judge_sha256": None}))
    generator = Generator(config.model, DIM, DIM, CATEGORIES)
    save_network(generator, folder / run_files.GENERATOR, scorer_sha256=sha256)
    return folder


@contextlib.contextmanager
def served(run: Path, *options: str, log: Path | None = None) -> Iterator[tuple[int, int]]:
    """A service of a run while the block runs: its port and its first process, which is stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "serve.py", f"run={run}", "serve.api=true", f"serve.port={port}", *options]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with open(os.devnull if log is None else log, "w") as errors:
        service = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert service.stdout is not None
            if not service.stdout.readline().startswith("serving on"):
                raise RuntimeError(f"the service did not start: {' '.join(command)}")
            wait_for(port)
            yield port, service.pid
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(60)


def wait_for(port: int, seconds: float = 60) -> None:
    """Waits until every worker of the service is ready."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if ask(http.client.HTTPConnection("127.0.0.1", port, timeout=10), "GET", "/health")[0] == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the service is not ready after {seconds:g} seconds")


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, asked: object = None
) -> tuple[int, dict[str, object] | str]:
    """Status and answer of one request."""
    connection.request(method, path, json.dumps(asked), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, json.loads(text) if text.startswith("{") else text


def load(port: int, asked: Sequence[object], clients: int, path: str = "/complete") -> Load:
    """Asks a service from several clients at once, each with the next request when it has its answer."""
    statuses: Counter[int] = Counter()
    times: list[float] = []
    left, lock = iter(asked), threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                return
            started = time.perf_counter()
            try:
                status = ask(connection, "POST", path, one)[0]
            except (OSError, http.client.HTTPException):
                status = 0
                connection.close()
            with lock:
                statuses[status] += 1
                times.append(1000 * (time.perf_counter() - started))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(dict(statuses), times, time.perf_counter() - started)


def outfits_of(run: Path, count: int) -> list[list[str]]:
    """Pairs of items of different categories."""
    stylist = Stylist.load(run)
    rng, found = np.random.default_rng([SEED, 1]), []
    while len(found) < count:
        pair = [stylist.item_ids[int(item)] for item in rng.integers(len(stylist), size=2)]
        if stylist.item(pair[0]).category != stylist.item(pair[1]).category:
            found.append(pair)
    return found


def overhead(run: Path, port: int, outfits: Sequence[list[str]], method: str, turns: int) -> tuple[float, float]:
    """Median seconds of one call of the stylist, and of as many requests at once, in turns."""
    stylist = Stylist.load(run).prepared()
    asked = [{"items": pair, "k": 2, "method": method} for pair in outfits]
    direct, through = [], []
    for turn in range(turns + 1):
        started = time.perf_counter()
        stylist.complete_many(outfits, 2, method=method)
        direct.append(time.perf_counter() - started)
        through.append(load(port, asked, len(asked)).seconds)
        if not turn:  # to warm up
            direct.clear(), through.clear()
    return statistics.median(direct), statistics.median(through)


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    """Prints the table and returns its lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="folder of a finished run, instead of made ones")
    parser.add_argument("--items", nargs="+", type=int, default=list(SIZES), help="sizes of the made catalogues")
    parser.add_argument("--index", default="flat", choices=["flat", "ivf"], help="index.kind of the made runs")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="requests of a line of the table")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="clients that ask at once")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32], help="serve.max_batch")
    parser.add_argument("--method", default="generator_beam", help="completion method")
    parser.add_argument("--turns", type=int, default=10, help="comparisons with the stylist; 0: none")
    parser.add_argument("--options", nargs="*", default=[], help="more of serve.py, as in serve.workers=2")
    asked = parser.parse_args(arguments)
    print(f"{cpu_name()}, {os.cpu_count()} cores, {asked.clients} clients, {asked.requests:,} requests, {asked.method}")
    print(f"{'items':>9} {'max_batch':>9} {'answered':>9} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'requests/s':>10}")
    lines: list[dict[str, object]] = []
    for items in [None] if asked.run else asked.items:
        with tempfile.TemporaryDirectory() as root:
            run = asked.run or made_run(Path(root), items, asked.index)
            outfits = outfits_of(run, 256)
            ask_for = [{"items": outfits[place % 256], "method": asked.method} for place in range(asked.requests)]
            for most in asked.batches:
                with served(run, f"serve.max_batch={most}", "serve.timeout=600", *asked.options) as (port, _):
                    load(port, ask_for[: 2 * asked.clients], asked.clients)  # to warm up
                    found = load(port, ask_for, asked.clients)
                    p50, p95, p99 = (found.percentile(share) for share in (0.5, 0.95, 0.99))
                    answered, rate = found.statuses.get(200, 0), asked.requests / found.seconds
                    name = f"{items:,}" if items else "run"
                    print(
                        f"{name:>9} {most:>9} {answered:>9,} {p50:>8,.0f} {p95:>8,.0f} {p99:>8,.0f} {rate:>10,.1f}",
                        flush=True,
                    )
                    lines.append({"items": items, "max_batch": most, "rate": rate, **asdict(found)})
                    if most > 1 and asked.turns:
                        direct, through = overhead(run, port, outfits[: asked.clients], asked.method, asked.turns)
                        more = 100 * (through / direct - 1)
                        print(
                            f"{'':>9} {asked.clients} outfits: {1000 * direct:,.0f} ms by one call of the stylist, "
                            f"{1000 * through:,.0f} ms by as many requests at once, {more:+.0f} %",
                            flush=True,
                        )
                        lines[-1] |= {"direct": direct, "through": through}
    return lines


if __name__ == "__main__":
    main()
