"""One run at a time makes what lies in the cache that runs share."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.trainer import before_writing
from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import DataError
from outfits.shards import ShardStore
from pipeline.cached import alone_at, to_be_made
from pipeline.shards import compute_shards

SECONDS = 60.0  # for what takes less than one


def a_run(cache: Path, said: list[str]) -> Any:
    """A run of nothing but its cache, its log and a trainer."""
    return SimpleNamespace(
        cache=cache,
        config=SimpleNamespace(
            engine="lightning",
            trainer=TrainerConfig(accelerator="cpu", devices=1, enable_progress_bar=False),
            encoder=SimpleNamespace(num_workers=0),
        ),
        log=lambda stage, what: said.append(what),
    )


def beside(run: Any, folder: Path, work: Callable[[], object], leave: Callable[[], object]) -> None:
    """Does ``work`` while another run works on the folder, which that run leaves once ``work`` waits for it."""
    waits, done = threading.Event(), threading.Event()
    log = run.log

    def telling(stage: str, what: str) -> None:
        log(stage, what)
        if "waits for it" in what:
            waits.set()

    def working() -> None:
        work()
        done.set()

    run.log = telling
    thread = threading.Thread(target=working, daemon=True)
    with alone_at(a_run(run.cache, []), folder, "test"):
        thread.start()
        assert waits.wait(SECONDS)
        assert not done.is_set()
        leave()
    assert done.wait(SECONDS)
    thread.join()


@pytest.mark.parametrize("other_finishes", [True, False])
def test_what_another_run_makes_is_waited_for_and_made_only_if_it_did_not(other_finishes: bool, tmp_path: Path) -> None:
    path, said, made = tmp_path / "networks" / "s-1" / "s.bin", [], []
    run = a_run(tmp_path, said)

    def make() -> None:
        with to_be_made(run, path, "test", "the network") as missing:
            if missing:
                made.append(path)

    def leave() -> None:
        if other_finishes:
            path.parent.mkdir()
            path.touch()

    beside(run, path.parent, make, leave)
    assert made == ([] if other_finishes else [path])
    assert said[0] == f"another run works on {path.parent}; this one waits for it"
    assert said[1:] == ([f"reusing the network in {path.parent}"] if other_finishes else [])


@pytest.mark.parametrize("rank", [0, 1])
def test_all_ranks_go_the_way_that_rank_zero_finds(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another run writes between the looks of two ranks."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)

    def broadcast(told: list[Any]) -> None:
        if rank:
            told[:] = [True, ["of rank zero"]]

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    assert before_writing(lambda: ["of rank zero"] if rank == 0 else pytest.fail("looked")) == ["of rank zero"]


def test_where_looking_fails_it_does_on_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    told_by: dict[int, list[Any]] = {}
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)

        def broadcast(told: list[Any], rank: int = rank) -> None:
            told[:] = told_by.setdefault(0, list(told)) if rank else told
            told_by.setdefault(rank, list(told))

        monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
        with pytest.raises(DataError, match="broken"):
            before_writing(broken)
    assert told_by[0] == [False, None]


def broken() -> None:
    raise DataError("broken")


def test_two_products_are_made_at_the_same_time(tmp_path: Path) -> None:
    said: list[str] = []
    run = a_run(tmp_path, said)
    with alone_at(run, tmp_path / "a", "test"), alone_at(run, tmp_path / "b", "test"):
        pass
    assert said == []


def test_an_error_frees_the_folder(tmp_path: Path) -> None:
    run = a_run(tmp_path, [])
    with pytest.raises(KeyError), to_be_made(run, tmp_path / "s" / "s.bin", "test", "the network"):
        raise KeyError
    with to_be_made(run, tmp_path / "s" / "s.bin", "test", "the network") as missing:
        assert missing


def test_shards_that_another_run_made_meanwhile_are_not_computed(tmp_path: Path) -> None:
    store, computed = ShardStore(tmp_path / "cache" / "numbers", 6, 2, "numbers", "values"), []
    run = a_run(tmp_path / "cache", [])

    def write(shard: int) -> None:
        store.write(shard, {"values": store.rows_of(shard)})

    def work(device: object) -> Callable[[int], None]:
        def compute(shard: int) -> None:
            computed.append(shard)
            write(shard)

        return compute

    beside(run, store.folder, lambda: compute_shards(run, "test", store, work), lambda: [write(0), write(2)])
    assert computed == [1]
    np.testing.assert_array_equal(np.concatenate([part["values"] for part in store.read_all()]), np.arange(6))
