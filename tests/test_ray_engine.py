"""Work in shards on a Ray cluster of two workers on this machine."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.sharded import run_shards
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.ray import RayConfig
from outfits.config.schema.targets import TargetsConfig
from outfits.config.schema.trainer import TrainerConfig
from outfits.encoders.base import EncoderSource
from outfits.encoders.build import build_item_encoder
from outfits.encoders.store import EmbeddingStore, embedding_work
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.mining.search import mining_work
from outfits.mining.targets import TargetStore
from outfits.remote_shards import RemoteShards
from outfits.shards import ShardStore
from outfits.storage import arrays_as_bytes
from tests.encoder_items import write_catalogue
from tests.tiny_world import World, tasks_of

ray = pytest.importorskip("ray", reason="needs the extra ray")

from pipeline import ray_engine  # noqa: E402
from pipeline.ray_engine import RayEngine, connect  # noqa: E402

pytestmark = pytest.mark.slow
LOCAL = RayConfig(workers=2)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    connect(LOCAL)
    yield
    ray.shutdown()


ENGINE = RayEngine(LOCAL, (), 1)


class Told:
    """A store of squares, and the one engine of these tests, whose workers go on, with what it logs."""

    def __init__(self, folder: Path, rows: int = 20, **options: Any) -> None:
        self.store = ShardStore(folder / "squares" / "key", rows, 2, "squares", counted="square")
        self.lines: list[str] = []
        self.engine, self.engine.config = ENGINE, replace(LOCAL, **options)

    def run(self, work: Callable[[torch.device], Callable[[Any], object]], inputs: Any = None) -> list[int]:
        """All squares, once the pending shards are computed."""
        self.engine.run(self.store, self.store.pending(), work, inputs, log=self.lines.append)
        return [int(square) for part in self.store.read_all() for square in part["square"]]


def squares(store: ShardStore, before: Callable[[int], None] = lambda shard: None) -> Any:
    """The square of every row's number; ``before`` is called in the worker."""

    def start(device: torch.device) -> Callable[[int], None]:
        def compute(shard: int) -> None:
            before(shard)
            store.write(shard, {"square": store.rows_of(shard) ** 2, "process": np.array([os.getpid()])})

        return compute

    return start


SQUARES = [row**2 for row in range(20)]


def killer(flags: Path, shards: tuple[int, ...], times: int = 1) -> Callable[[int], None]:
    """Kills the worker in the middle of these shards, the first times each."""

    def before(shard: int) -> None:
        flag = flags / f"{shard}"
        with flag.open("a") as file:
            file.write("x")
        if shard in shards and flag.stat().st_size <= times:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def test_workers_compute_what_one_process_computes(tmp_path: Path) -> None:
    told = Told(tmp_path)
    assert told.run(squares(told.store)) == SQUARES
    processes = {int(part["process"][0]) for part in told.store.read_all()}
    assert os.getpid() not in processes
    assert len(processes) == 2
    assert told.lines[-1] == "10 of 10 shards, 2 workers"


def test_inputs_are_read_in_the_workers(tmp_path: Path) -> None:
    told = Told(tmp_path, 4)
    inputs = [("first", 0), ("second", 1)]

    def start(device: torch.device) -> Callable[[tuple[str, int]], None]:
        return lambda given: told_store.write(given[1], {"square": np.array([len(given[0])] * 2)})

    told_store = told.store
    assert told.run(start, inputs) == [5, 5, 6, 6]


def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    told, flags = Told(tmp_path), tmp_path / "flags"
    flags.mkdir()
    assert told.run(squares(told.store, killer(flags, (1, 6)))) == SQUARES
    asked = {int(flag.name): flag.stat().st_size for flag in flags.iterdir()}
    assert (asked[1], asked[6]) == (2, 2)
    assert sum(asked.values()) <= 10 + 2 * LOCAL.in_flight  # what was finished is not computed again
    assert sum("died" in line for line in told.lines) == 2


def test_a_shard_that_always_kills_stops_the_run_and_keeps_the_others(tmp_path: Path) -> None:
    told, flags = Told(tmp_path, retries=1), tmp_path / "flags"
    flags.mkdir()
    with pytest.raises(ArtifactError, match="2 workers of the Ray cluster died .* finished and stay"):
        told.run(squares(told.store, killer(flags, (9,), times=99)))
    assert 9 in told.store.pending()
    assert len(told.store.pending()) <= 3
    assert told.run(squares(told.store)) == SQUARES


def test_an_error_of_the_data_is_that_line_alone(tmp_path: Path) -> None:
    told = Told(tmp_path)

    def broken(shard: int) -> None:
        if shard == 3:
            raise DataError("item 'a': its image is missing")

    with pytest.raises(DataError) as caught:
        told.run(squares(told.store, broken))
    assert str(caught.value) == "data error: item 'a': its image is missing"


def test_a_worker_has_few_shards_at_a_time(tmp_path: Path) -> None:
    told = Told(tmp_path, in_flight=1)
    given: list[int] = []
    give = RayEngine._give

    def watched(self: RayEngine, crew: Any, left: Any) -> None:
        give(self, crew, left)
        given.append(len(crew.shards))

    RayEngine._give = watched  # type: ignore[method-assign]
    try:
        assert told.run(squares(told.store)) == SQUARES
    finally:
        RayEngine._give = give  # type: ignore[method-assign]
    assert max(given) == 1


def test_shards_left_in_a_folder_of_fsspec_are_found_again(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    told = Told(tmp_path / "one", shards=url)
    assert told.run(squares(told.store)) == SQUARES
    assert len(list((tmp_path / "remote" / "squares" / "key").iterdir())) == 10
    # another machine: nothing but the folder of finished shards, one of which is damaged
    damaged = tmp_path / "remote" / "squares" / "key" / "shard-000004.npz"
    damaged.write_bytes(damaged.read_bytes()[:50])
    again = Told(tmp_path / "two", shards=url)
    assert again.run(squares(again.store)) == SQUARES
    assert again.lines[0].startswith("9 of 10 shards were in")
    assert again.lines[-1] == "1 of 1 shards, 1 workers"


def test_a_crew_computes_every_shard_together(tmp_path: Path) -> None:
    told, flags = Told(tmp_path), tmp_path / "flags"
    flags.mkdir()
    kill, store = killer(flags, (3,)), told.store

    def start(device: torch.device) -> Callable[[int], None]:
        def compute(shard: int) -> None:
            rank = torch.distributed.get_rank()
            if rank == 1:
                kill(shard)
            summed = torch.tensor([rank + 1])
            torch.distributed.all_reduce(summed)
            store.write(shard, {"square": store.rows_of(shard) ** 2 * int(summed)})

        return compute

    told.engine.run(store, store.pending(), start, together=True, log=told.lines.append)
    assert [int(square) for part in store.read_all() for square in part["square"]] == [3 * one for one in SQUARES]
    assert sum("died" in line for line in told.lines) == 1


def test_a_crew_does_not_wait_for_a_worker_that_died(tmp_path: Path) -> None:
    """The first worker waits where no closed connection tells it that the other is gone."""
    told, began = Told(tmp_path, 2), time.monotonic()

    def start(device: torch.device) -> Callable[[int], None]:
        def compute(shard: int) -> None:
            rank = torch.distributed.get_rank()
            flag = tmp_path / f"rank {rank}"
            if not flag.exists():
                flag.touch()
                if rank == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(300)
            store.write(shard, {"square": store.rows_of(shard) ** 2})

        return compute

    store = told.store
    told.engine.run(store, store.pending(), start, together=True, log=told.lines.append)
    assert sum("died" in line for line in told.lines) == 1
    assert time.monotonic() - began < 60


def test_a_worker_that_finds_no_others_does_not_compute_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "MINUTES_FOR_RANKS", 0.02)
    worker = ray_engine.ShardWorker((), 1)
    with pytest.raises(RuntimeError):
        worker.join("tcp://127.0.0.1:1", 1, 2)
    with pytest.raises(ArtifactError, match="workers of the Ray cluster do not reach each other"):
        worker.run(0)


def test_mining_and_embedding_are_those_of_lightning(tmp_path: Path) -> None:
    """The works of a run themselves, to the bit; tests/runs compares whole runs."""
    world, config = World(), TargetsConfig(candidates=5, candidate_block=7)
    catalogue = write_catalogue(tmp_path / "items", 20)
    source = EncoderSource(EncoderConfig(image_dim=6, text_dim=4), catalogue, np.arange(20), tmp_path / "fitted")
    encoder = build_item_encoder(source)
    found = {}
    for engine in ("lightning", "ray"):
        mined = TargetStore(tmp_path / engine / "targets", {}, tasks_of(), 2, config.candidates)
        embedded = EmbeddingStore(tmp_path / engine, "key", 20, encoder.image_dim, encoder.text_dim, 6)
        works: list[tuple[ShardStore, Any, Any]] = [
            (mined, mining_work(mined, world.module, world.catalogue, config), None),
            (embedded, embedding_work(encoder, embedded), encoder.images(catalogue, 6)),
        ]
        for store, work, inputs in works:
            if engine == "ray":
                ENGINE.config = LOCAL
                ENGINE.run(store, store.pending(), work, inputs)
            else:
                run_shards(store.pending(), work, TrainerConfig(accelerator="cpu", enable_progress_bar=False), inputs)
        found[engine] = [store.read_all() for store, _, _ in works]
    for one, other in zip(found["lightning"], found["ray"], strict=True):
        assert len(one) == len(other) > 2
        for mine, its in zip(one, other, strict=True):
            assert mine.keys() == its.keys()
            for name, array in mine.items():
                np.testing.assert_array_equal(array, its[name], err_msg=name)


def test_gpus_that_this_machine_lacks_are_one_line(tmp_path: Path) -> None:
    told = Told(tmp_path, gpus=100.0)
    with pytest.raises(ConfigError, match=r"ray.gpus: 2 workers with 100 each need more than the \d+ GPUs"):
        told.run(squares(told.store))


def test_workers_without_a_place_are_waited_for_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "SECONDS_WITHOUT_ONE", 0.2)
    told, released = Told(tmp_path, 2), tmp_path / "released"

    def log(line: str) -> None:
        told.lines.append(line)
        released.touch()

    def wait(shard: int) -> None:
        while not released.exists():
            time.sleep(0.05)

    told.engine.run(told.store, told.store.pending(), squares(told.store, wait), log=log)
    assert re.match(
        r"no shard was finished for 0 seconds; the cluster has \d+ CPUs and \d+ GPUs for 1 workers", told.lines[0]
    )


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    ray.shutdown()
    try:
        with pytest.raises(ConfigError, match="ray.address: no cluster at 'auto'"):
            connect(replace(LOCAL, address="auto"))
    finally:
        connect(LOCAL)
        ENGINE._crews.clear()


def test_a_shard_of_another_store_does_not_fit(tmp_path: Path) -> None:
    told, remote = Told(tmp_path, 4), RemoteShards(f"file://{tmp_path}/remote")
    remote.put(told.store.name(0), arrays_as_bytes({"square": np.zeros(7)}))
    assert not remote.fetch(told.store, 0)
    assert not remote.fetch(told.store, 1)
