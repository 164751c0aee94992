"""Two processes on one machine do the work of one, with the same metrics."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.runs.programs import TWO_RANKS, Place, command, stopped, without_times
from tests.runs.test_end_to_end import METHODS
from tests.runs.test_interruption import KILLS, arrays_of

pytestmark = pytest.mark.slow


def test_evaluation_on_two_ranks_gives_the_figures_of_one(copied: Place) -> None:
    one_rank = copied.results()
    shutil.rmtree(copied.run / "shards")
    shutil.rmtree(copied.run / "report")
    command("evaluate.py", [f"run={copied.run}", f"cache_dir={copied.cache}", *TWO_RANKS]).succeeded()
    assert without_times(copied.results()) == without_times(one_rank)


def test_mining_and_embedding_on_two_ranks_give_the_products_of_one(undisturbed: Place, copied: Place) -> None:
    # Another number of ranks trains another scorer, so the one-rank scorer of the run is mined with.
    shutil.rmtree(copied.cache / "targets")
    shutil.rmtree(copied.cache / "embeddings")
    metrics = copied.run.with_name("metrics.json")
    arguments = [f"run={copied.run}", f"cache_dir={copied.cache}", *TWO_RANKS]
    command("tests/runs/validate_generator.py", [str(metrics), *arguments]).succeeded()
    mined, expected = arrays_of(copied.cache / "targets"), arrays_of(undisturbed.cache / "targets")
    assert mined.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(mined[name], array, err_msg=name)
    (made,) = copied.cache.glob("embeddings/*/embeddings.npy")
    (one_rank,) = undisturbed.cache.glob("embeddings/*/embeddings.npy")
    np.testing.assert_array_equal(np.load(made), np.load(one_rank))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_rank_zero_stops_both_ranks(fresh: Place, name: str) -> None:
    arguments = fresh.arguments(*TWO_RANKS)
    for place in ("mining, two shards written", "generator training, in its second epoch"):
        module, nth = KILLS[place]
        assert stopped(module, -(-nth // 2), arguments, name).endswith(f"resume={fresh.run} goes on from here")
        left = subprocess.run(["pgrep", "-f", str(fresh.run)], capture_output=True, text=True).stdout
        assert left == "", left


def test_validation_figures_on_two_ranks_are_those_of_one(undisturbed: Place, tmp_path: Path) -> None:
    metrics = {}
    for ranks, options in {1: (), 2: TWO_RANKS}.items():
        file = tmp_path / f"{ranks}.json"
        arguments = [f"run={undisturbed.run}", f"cache_dir={undisturbed.cache}", *options]
        command("tests/runs/validate_generator.py", [str(file), *arguments]).succeeded()
        metrics[ranks] = json.loads(file.read_text())
    assert (metrics[1].pop("world_size"), metrics[2].pop("world_size")) == (1, 2)
    assert metrics[1] == metrics[2]
    assert "valid/score_mean" in metrics[1]["metrics"]


def test_a_plain_trainer_deals_every_sample_once(undisturbed: Place, tmp_path: Path) -> None:
    """With its default settings Lightning puts a sampler of its own around any but a DistributedSampler."""
    seen = {}
    for ranks in (1, 2):
        file = tmp_path / f"{ranks}.json"
        command("tests/runs/plain_trainer.py", [str(file), str(ranks), *undisturbed.arguments()]).succeeded()
        seen[ranks] = json.loads(file.read_text())
    assert (seen[1].pop("world_size"), seen[2].pop("world_size")) == (1, 2)
    assert seen[1]["metrics"] == seen[2]["metrics"]
    assert seen[1]["trained"] - seen[2]["trained"] in (0, 1)  # an odd number cannot be shared by two


# DDP refuses a trainable parameter without a gradient, so every switch that leaves a part unused is tried once.
VARIANTS = {
    "cosine loss alone": ["loss.listwise_weight=0", "encoder.image=none", "model.retrieval=item"],
    "listwise loss alone": ["loss.cosine_weight=0", "model.readout=pool", "scorer.ranking_weight=1"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_on_two_ranks_runs_through_all_stages(fresh: Place, variant: str) -> None:
    finished = command("train.py", fresh.arguments(*TWO_RANKS, *VARIANTS[variant])).succeeded()
    assert finished.output.count("generator: training") == 1, "rank zero alone reports"
    assert "Traceback" not in finished.errors
    methods = fresh.results()["methods"]
    assert list(methods) == METHODS
    assert methods["generator"]["valid_share"] == 1.0
    for stage in ("scorer", "judge", "generator"):
        assert (fresh.run / "csv" / stage / "metrics.csv").stat().st_size > 0
