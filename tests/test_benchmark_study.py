"""benchmarks/study.py: its intervals cover seeds and outfits, and an interrupted study goes on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study

from outfits import run_files


def width(scores: list[np.ndarray]) -> float:
    low, high = study.interval_of_mean([pd.Series(one) for one in scores], resamples=400)
    return high - low


def test_interval_of_equal_scores_has_no_width() -> None:
    assert study.interval_of_mean([pd.Series(np.full(5, 0.25))] * 3, resamples=50) == (0.25, 0.25)


def test_interval_is_wider_where_seeds_disagree() -> None:
    draw = np.random.default_rng(1)
    alike = [draw.normal(0, 1, 400) for _ in range(3)]
    apart = [scores + shift for scores, shift in zip(alike, (-0.5, 0.0, 0.5), strict=True)]
    assert width(apart) > 2 * width(alike)


def test_interval_of_one_seed_is_the_bootstrap_over_outfits() -> None:
    scores = np.random.default_rng(2).normal(0, 1, 400)
    assert width([scores]) == pytest.approx(2 * 1.96 * scores.std() / 400**0.5, rel=0.15)


def test_outfits_that_seeds_share_count_once() -> None:
    hard = np.random.default_rng(3).normal(0, 1, 400)
    assert width([hard] * 3) == pytest.approx(2 * 1.96 * hard.std() / 400**0.5, rel=0.15)


def test_outfits_that_seeds_do_not_share_count_each() -> None:
    scores = np.random.default_rng(4).normal(0, 1, 1200)
    parts = [pd.Series(scores[400 * seed : 400 * seed + 400], range(400 * seed, 400 * seed + 400)) for seed in range(3)]
    low, high = study.interval_of_mean(parts, resamples=400)
    # an outfit counts only where its seed is drawn, so a little wider than that of 1,200 outfits
    assert 1.0 < (high - low) / (2 * 1.96 * scores.std() / 1200**0.5) < 1.8


def test_finished_runs_are_kept_and_begun_ones_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(study, "train", lambda name, arguments, threads: calls.append(arguments))
    new, begun, finished = study.parts([3])
    for part in (begun, finished):
        (tmp_path / f"{part.name}-3").mkdir()
        (tmp_path / f"{part.name}-3" / run_files.CONFIG).touch()
    (tmp_path / f"{finished.name}-3" / finished.leaves).touch()
    folders = [part.run(tmp_path, ["experiment=smoke"], 1) for part in (new, begun, finished)]
    assert [f"run_dir={folders[0]}" in calls[0], f"resume={folders[1]}" in calls[1], len(calls)] == [True, True, 2]
    assert all("seed=3" in call for call in calls)


def test_scorer_table_has_mean_and_range_over_seeds(tmp_path: Path) -> None:
    for seed, auc in enumerate((0.7, 0.8)):
        (tmp_path / str(seed)).mkdir()
        metrics = {"auc_same_category": auc, "calibration": {"error": 0.01, "copies_raised": 0.1}}
        (tmp_path / str(seed) / run_files.COMPATIBILITY).write_text(json.dumps(metrics))
    table = study.scorer_table({"recipe": [tmp_path / "0", tmp_path / "1"]})
    assert table.loc[("recipe", "AUC")].tolist() == pytest.approx([0.75, 0.7, 0.8])
    assert table.loc[("recipe", "calibration error")].tolist() == [0.01] * 3


def test_a_study_goes_on_with_the_same_keys_alone(tmp_path: Path) -> None:
    study.keep_configuration(tmp_path / "study", ["experiment=smoke"])
    study.keep_configuration(tmp_path / "study", ["experiment=smoke"])
    with pytest.raises(SystemExit, match="other keys"):
        study.keep_configuration(tmp_path / "study", ["experiment=smoke", "model.k=3"])
