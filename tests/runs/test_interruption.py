"""A run that is killed and started again ends where an undisturbed one ends."""

import csv
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runs.programs import Place, command, here, killed, stopped, without_times

pytestmark = pytest.mark.slow

# In the order in which one run after another passes them: of 5 shards of embeddings 4 are left after the first kill,
# an epoch of the scorer validates on 6 batches, one of the generator has 9 training batches, a method has 3 shards.
KILLS = {
    "embedding, a shard written": ("outfits.shards:ShardStore.write", 1),
    "embedding, all shards written": ("outfits.shards:ShardStore.write", 4),
    "scorer training, in its third epoch": ("lightning_modules.compatibility:CompatibilityModule.validation_step", 13),
    "mining, two shards written": ("outfits.mining.targets:TargetStore.write_trace", 2),
    "generator training, in its second epoch": ("lightning_modules.generator:GeneratorModule.training_step", 14),
    "generator training, before its weights are exported": ("lightning:Trainer.fit", 1),
    "evaluation, some methods done": ("outfits.shards:ShardStore.write", 8),
}


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """Every array below a folder of ``.npz`` files by file and name."""
    found = {}
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            found |= {f"{path.relative_to(folder)}/{name}": file[name] for name in file.files}
    return found


def assert_same_products(place: Place, undisturbed: Place) -> None:
    """Targets bit by bit, weights byte by byte, results but for the clock's metrics."""
    mined, expected = arrays_of(place.cache / "targets"), arrays_of(undisturbed.cache / "targets")
    assert mined.keys() == expected.keys()
    assert len(expected) > 0
    for name, array in expected.items():
        np.testing.assert_array_equal(mined[name], array, err_msg=name)
    for name in ("scorer.safetensors", "judge.safetensors", "generator.safetensors"):
        assert (place.run / name).read_bytes() == (undisturbed.run / name).read_bytes(), name
    assert without_times(place.results()) == without_times(undisturbed.results())


def curve(place: Place, stage: str, start: int = 1) -> list[dict[str, str]]:
    """Logged metrics of a stage's n-th start; learning rates, which are logged by step alone, left out."""
    folder = stage if start == 1 else f"{stage}-{start}"
    with (place.run / "csv" / folder / "metrics.csv").open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["epoch"]]


def assert_same_last_epoch(place: Place, undisturbed: Place, stage: str, start: int) -> None:
    """The best epoch may lie before the kill; what the last one logged shows whether training went on as it was."""
    last = [row for row in curve(place, stage, start) if row["epoch"] == "2"]
    assert last == [row for row in curve(undisturbed, stage) if row["epoch"] == "2"]
    assert len(last) > 1


def test_a_run_killed_in_every_stage_ends_with_the_products_of_an_undisturbed_run(
    undisturbed: Place, fresh: Place
) -> None:
    for where in KILLS:
        killed(*KILLS[where], fresh.arguments())
        assert not (fresh.run / "report").exists(), where
    last = here("train", fresh.arguments()).succeeded()
    assert "generator: reusing" in last.output
    assert_same_products(fresh, undisturbed)
    for stage, start in {"scorer": 2, "judge": 1, "generator": 2}.items():
        assert_same_last_epoch(fresh, undisturbed, stage, start)
    assert {row["epoch"] for row in curve(fresh, "scorer", 2)} == {"2"}, "two epochs were finished before the kill"


def test_a_run_stopped_by_signals_says_how_it_goes_on_and_does(undisturbed: Place, fresh: Place) -> None:
    same = "the same command starts again, on what it has put into the cache"
    resume = f"train.py resume={fresh.run} goes on from here"
    for where, (name, way_on) in {
        "embedding, a shard written": ("SIGTERM", same),
        "mining, two shards written": ("SIGINT", resume),
        "generator training, in its second epoch": ("SIGTERM", resume),
        "evaluation, some methods done": ("SIGTERM", resume),
    }.items():
        assert stopped(*KILLS[where], fresh.arguments(), name) == f"stopped by {name}; {way_on}", where
        assert fresh.run.exists() == (way_on == resume)
        assert not (fresh.run / "report").exists(), where
    here("train", [f"resume={fresh.run}"]).succeeded()
    assert_same_products(fresh, undisturbed)


def test_a_width_changed_by_hand_in_a_run_is_one_line(undisturbed: Place, fresh: Place) -> None:
    killed(*KILLS["generator training, in its second epoch"], fresh.arguments())
    config = fresh.run / "config.yaml"
    before, model, after = config.read_text().partition("\nmodel:\n")
    changed = before + model + after.replace("  width: 16", "  width: 32", 1)
    assert changed != config.read_text()
    config.write_text(changed)
    line = here("train", [f"resume={fresh.run}"]).mistake()
    assert "is of another network" in line
    assert str(fresh.run / "checkpoints" / "last.ckpt") in line


def test_finished_shards_are_not_computed_again(undisturbed: Place, fresh: Place) -> None:
    killed(*KILLS["mining, two shards written"], fresh.arguments())
    shards = {path: path.stat().st_mtime_ns for path in fresh.cache.glob("targets/*/shard-*.npz")}
    assert len(shards) == 2
    said = here("train", fresh.arguments("stages=[targets]")).succeeded().output
    assert "mining 4 of 6 shards, 24 train tasks" in said
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


def test_resume_continues_a_generator_to_the_very_same_weights(undisturbed: Place, copied: Place) -> None:
    shutil.rmtree(copied.run)
    killed(*KILLS["generator training, in its second epoch"], copied.arguments())
    assert (copied.run / "checkpoints" / "last.ckpt").exists()
    said = here("train", [f"resume={copied.run}"]).succeeded().output
    assert "generator: continuing from" in said
    assert_same_products(copied, undisturbed)
    assert_same_last_epoch(copied, undisturbed, "generator", start=2)
    assert "0" in {row["epoch"] for row in curve(copied, "generator")}, "the curve from before the kill is kept"
    assert {row["epoch"] for row in curve(copied, "generator", start=2)} == {"1", "2"}, "it goes on where it was"


def test_damaged_shards_are_computed_again(undisturbed: Place, copied: Place) -> None:
    for folder in (copied.cache / "targets", copied.run / "shards"):
        damaged = sorted(folder.rglob("*.npz"))[::2]
        assert damaged
        for path in damaged:
            path.write_bytes(path.read_bytes()[:100])
    (copied.run / "generator.safetensors").unlink()
    shutil.rmtree(copied.run / "checkpoints")
    shutil.rmtree(copied.run / "report")
    here("train", copied.arguments()).succeeded()
    assert_same_products(copied, undisturbed)


def test_a_damaged_embedding_shard_is_computed_again(undisturbed: Place, fresh: Place) -> None:
    killed(*KILLS["embedding, a shard written"], fresh.arguments())
    (shard,) = fresh.cache.glob("embeddings/*/shards/*.npz")
    shard.write_bytes(shard.read_bytes()[:50])
    here("train", fresh.arguments("stages=[embeddings]")).succeeded()
    (made,) = fresh.cache.glob("embeddings/*/embeddings.npy")
    (expected,) = undisturbed.cache.glob("embeddings/*/embeddings.npy")
    np.testing.assert_array_equal(np.load(made), np.load(expected))


def test_two_runs_at_once_make_every_shared_product_once(fresh: Place) -> None:
    places = [fresh, replace(fresh, run=fresh.run.with_name("other-run"))]
    stages = "stages=[embeddings,compatibility,targets]"
    with ThreadPoolExecutor(len(places)) as pool:
        ended = pool.map(lambda place: command("train.py", place.arguments(stages)).succeeded().output, places)
        said = "\n".join(ended).splitlines()
    for made in ("training the scorer", "training the judge"):
        assert sum(made in line for line in said) == 1, said
    assert sum("reusing the scorer" in line for line in said) == 1
    first, second = ((place.run / "scorer.safetensors").read_bytes() for place in places)
    assert first == second
