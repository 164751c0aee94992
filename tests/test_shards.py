"""Work in shards: what is stored, what is pending, and what runs on which rank."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_modules.sharded import ShardedPrediction, run_once, run_shards
from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import ArtifactError
from outfits.shards import ShardStore

CPU = TrainerConfig(accelerator="cpu", devices=1, enable_progress_bar=False)


def squares(store: ShardStore) -> Callable[[torch.device], Callable[[int], None]]:
    """The square of every row's number, as work in shards."""
    return lambda _: lambda shard: store.write(shard, {"square": store.rows_of(shard) ** 2})


def test_shards_are_whole_rows_in_order(tmp_path: Path) -> None:
    store = ShardStore(tmp_path, 10, 4, "squares", counted="square")
    assert [store.bounds(shard) for shard in range(len(store))] == [(0, 4), (4, 8), (8, 10)]
    assert np.concatenate([store.rows_of(shard) for shard in range(3)]).tolist() == list(range(10))
    for shard in (-1, 3):
        with pytest.raises(ValueError, match=f"shard {shard} is not one of 3"):
            store.bounds(shard)
    for rows, size in ((0, 4), (10, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            ShardStore(tmp_path, rows, size, "squares")


@pytest.mark.parametrize("damage", ["gone", "cut", "of_another_size"])
def test_only_shards_that_do_not_fit_are_made_again(tmp_path: Path, damage: str) -> None:
    store = ShardStore(tmp_path, 10, 4, "squares", counted="square")
    assert store.pending() == [0, 1, 2]
    run_shards(store.pending(), squares(store), CPU)
    assert store.pending() == []
    assert [part["square"].tolist() for part in store.read_all()] == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    if damage == "gone":
        store.path(1).unlink()
    elif damage == "cut":
        store.path(1).write_bytes(store.path(1).read_bytes()[:100])
    else:
        store.path(1).write_bytes(store.path(2).read_bytes())
    kept = store.path(0).stat().st_mtime_ns
    assert store.pending() == [1]
    with pytest.raises(ArtifactError, match="squares in .* 1 of 3 shards are missing or damaged"):
        store.read_all()
    run_shards(store.pending(), squares(store), CPU)
    assert store.read_all()[1]["square"].tolist() == [16, 25, 36, 49]
    assert store.path(0).stat().st_mtime_ns == kept


@pytest.mark.parametrize(("rank", "share"), [(0, [0, 2, 6]), (1, [3, 5])])
def test_a_rank_computes_its_own_shards(monkeypatch: pytest.MonkeyPatch, rank: int, share: list[int]) -> None:
    class Trainer:
        world_size = 2
        global_rank = rank

    prediction = ShardedPrediction([0, 2, 3, 5, 6], lambda _: print)
    monkeypatch.setattr(ShardedPrediction, "trainer", Trainer())
    assert list(prediction.predict_dataloader()) == share


def test_inputs_of_pending_shards_come_from_the_loader() -> None:
    seen: list[str] = []
    inputs = ["a", "b", "c", "d"]
    run_shards([1, 3], lambda _: seen.append, CPU, inputs, num_workers=0)  # type: ignore[arg-type]
    assert seen == ["b", "d"]


def test_what_cannot_be_divided_is_made_once() -> None:
    made: list[str] = []
    run_once(lambda device: made.append(device.type), CPU)
    assert made == ["cpu"]
