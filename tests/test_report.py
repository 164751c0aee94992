"""The report: metrics against hand-computed values, invariants, the JSON contract and the page."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from outfits.completion.completion import MethodOutcome
from outfits.completion.conditions import Conditions
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import METHODS, methods_shown
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import Item
from outfits.encoders.images import decode_image
from outfits.metrics.calibration import Bin, Calibration, SizeScores
from outfits.report.comparison.files import write_results
from outfits.report.comparison.findings import findings
from outfits.report.comparison.gallery import gallery_outfits, item_thumbnail, thumbnail_uri
from outfits.report.comparison.page import write_report
from outfits.report.comparison.plots import trade_off
from outfits.report.comparison.results import (
    EvaluationResult,
    score_table,
    summarise,
    summarise_conditions,
    summarise_sweeps,
)
from outfits.report.comparison.table import results_table
from outfits.report.style import DARK, LIGHT, Theme, colours, description, in_order, label
from tests.outcomes import an_outcome, some_tasks

Outcomes = Mapping[str, MethodOutcome]
SHA = "0123456789abcdef" * 4
COMPATIBILITY = {
    "auc_random": 0.9,
    "auc_same_category": 0.8,
    "fitb_random": 0.7,
    "fitb_same_category": 0.6,
    "fitb_frequency_control": 0.4,
}
CALLS = (
    *(name for name in METHODS if name not in ("most_frequent", "exhaustive", "gradient")),
    "gradient:projection=l1",
    "gradient:projection=l2",
    "gradient:projection=l10",
    "gradient:projection=cosine",
    "gradient:start=items:penalty=1:sequential=true",
)
HOSTILE = "<script>alert('x')</script> & \"quoted\""


def a_catalogue(folder: Path | None = None) -> Catalogue:
    """Twelve items; with a folder, all but two have an image there: one has none, one's file is damaged."""
    paths: list[Path | None] = [None] * 12
    if folder is not None:
        for place in range(12):
            paths[place] = folder / f"{place}.jpg"
            Image.new("RGB", (60, 80), (20 * place, 90, 150)).save(folder / f"{place}.jpg")
        paths[3] = None
        (folder / "4.jpg").write_bytes((folder / "4.jpg").read_bytes()[:100])
    texts = [f"text of {place}" for place in range(12)]
    texts[3] = HOSTILE
    categories = np.arange(12, dtype=np.int32) % 4
    return Catalogue(
        [f"item-{place}" for place in range(12)], categories, ["tops", "shoes", "bags", "a <b>"], texts, paths
    )


def with_texts(outcome: MethodOutcome, similarity: Sequence[float], alpha: float) -> MethodOutcome:
    """The outcome with texts of this similarity as conditions."""
    conditions = Conditions(
        np.ones((len(outcome), 2, 1), dtype=np.bool_), np.ones((len(outcome), 2, 1), np.float32), alpha
    )
    return replace(outcome, tasks=outcome.tasks.conditioned(conditions), similarity=np.array(similarity))


def the_outcomes(tasks: CompletionTasks | None = None) -> dict[str, MethodOutcome]:
    rng = np.random.default_rng(0)
    outcomes = {}
    for name in METHODS:
        ranks = rng.integers(0, 12, (5, 2)) if name.startswith(("greedy", "generator")) else None
        chosen = np.stack([rng.permutation(12)[:2] for _ in range(5)])
        scores, judge, valid = rng.random(5), rng.random(5), rng.random(5) < 0.9
        outcomes[name] = MethodOutcome(
            some_tasks(np.tile([0, 1], (5, 1))) if tasks is None else tasks,
            chosen,
            calls=rng.integers(0, 30, 5),
            seconds=rng.random(5) / 1000,
            removed_ranks=ranks,
            scores=scores,
            judge=judge,
            valid=valid,
            outfit_ids=np.array([f"outfit {place}" for place in range(5)]),
        )
    return outcomes


def a_result(outcomes: Outcomes, catalogue: Catalogue | None = None, **changes: Any) -> EvaluationResult:
    catalogue = catalogue or a_catalogue()
    resamples = changes.get("resamples", 2000)
    values: dict[str, Any] = {
        "dataset": "toy",
        "split": "test",
        "k": next(iter(outcomes.values())).tasks.k,
        "catalogue": len(catalogue),
        "seed": 7,
        "scorer_sha256": SHA,
        "compatibility": COMPATIBILITY,
        "methods": summarise(outcomes, catalogue, seed=7, resamples=resamples),
        "split_facts": {"mode": "grouped", "seed": 0, "pairs_seen": 0.125, "twin_share": 0.0625},
        "counts": {"outfits read": 9, "outfits dropped": 4},
        "scores": score_table(outcomes, catalogue),
    }
    return EvaluationResult(**(values | changes))


def results_json(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("missing", ["outfit_ids", "scores", "valid"])
def test_an_outcome_is_reported_once_it_was_evaluated(missing: str) -> None:
    with pytest.raises(ValueError, match="to be reported"):
        a_result({"generator": replace(an_outcome(), **{missing: None})})


def test_figures_equal_those_computed_by_hand() -> None:
    greedy = an_outcome(scores=np.array([1.0, 1.0, 0.5]), removed_ranks=None)
    result = a_result({"generator": an_outcome(), "greedy_k": greedy})
    metrics = result.methods["generator"]
    assert (result.k, result.outfits, result.catalogue) == (2, 3, 12)
    assert metrics.score_mean == pytest.approx(0.5)
    assert metrics.score_quantiles["0.5"] == 0.4
    assert metrics.score_quantiles["0.25"] == pytest.approx(0.3)
    assert metrics.score_quantiles["0.95"] == pytest.approx(0.85)
    assert metrics.judge_mean == pytest.approx(0.6)
    assert metrics.ratio_to_greedy_k == pytest.approx(0.6)
    assert metrics.scorer_calls_per_outfit == 1
    assert metrics.ms_per_outfit == pytest.approx(3)
    assert (metrics.distinct_items, metrics.distinct_share) == (4, pytest.approx(4 / 6))
    # ranks 0, 9, 10, not ranked, 1, 49: below 1 lies one of six, below 10 three, below 50 five
    assert metrics.removed_recall == {"1": pytest.approx(1 / 6), "10": pytest.approx(3 / 6), "50": pytest.approx(5 / 6)}
    assert metrics.valid_share == pytest.approx(2 / 3)
    assert result.methods["greedy_k"].removed_recall == {"1": None, "10": None, "50": None}


def test_paired_metrics_use_the_outfits_that_both_completed() -> None:
    original = an_outcome(scores=np.array([0.2, 0.5, 0.1]), judge=np.array([0.5, 0.6, 0.1]))
    greedy = an_outcome(scores=np.array([1.0, 0.8, 0.5]))
    exact = an_outcome(scores=np.array([1.0, 0.9, 0.6])).take(np.array([2, 0]))  # outfits a and c alone
    outcomes = {"generator": an_outcome(), "original": original, "greedy_k": greedy}
    result = a_result(outcomes | {"exhaustive": exact})
    metrics, slow = result.methods["generator"], result.methods["exhaustive"]
    assert (result.outfits, metrics.outfits, slow.outfits) == (3, 3, 2)
    assert metrics.win_rate == (0.5 + 0 + 1) / 3
    assert metrics.judge_win_rate == (0.5 + 0 + 1) / 3
    assert metrics.difference_to_original is not None
    assert metrics.difference_to_original["mean"] == pytest.approx(0.7 / 3)
    assert metrics.difference_to_greedy_k is not None
    assert metrics.difference_to_greedy_k["mean"] == pytest.approx((-0.8 - 0.4 + 0.4) / 3)
    assert metrics.judge_difference_to_greedy_k == {"mean": 0, "low": 0, "high": 0}
    assert slow.difference_to_greedy_k is not None
    assert slow.difference_to_greedy_k["mean"] == pytest.approx(0.1 / 2)
    assert slow.ratio_to_greedy_k == pytest.approx(1.6 / 1.5)
    assert metrics.gap_to_exhaustive is not None
    assert metrics.gap_to_exhaustive["mean"] == pytest.approx((0.8 - 0.3) / 2)
    assert metrics.gap_to_exhaustive["optimal_share"] == 0.5
    # nothing is compared with itself, and a ratio to oneself is one
    assert slow.gap_to_exhaustive is None
    assert result.methods["original"].win_rate is None
    assert result.methods["original"].difference_to_original is None
    assert result.methods["greedy_k"].ratio_to_greedy_k == 1
    alone = a_result({"generator": an_outcome(judge=None)}).methods["generator"]
    assert (alone.win_rate, alone.judge_win_rate, alone.difference_to_original) == (None, None, None)
    assert (alone.gap_to_exhaustive, alone.ratio_to_greedy_k, alone.judge_histogram) == (None, None, None)
    unjudged = a_result({name: replace(outcome, judge=None) for name, outcome in outcomes.items()})
    assert unjudged.methods["generator"].win_rate == 0.5
    assert unjudged.methods["generator"].judge_win_rate is None


def test_histograms_count_every_outfit_in_its_bin() -> None:
    result = a_result({"generator": an_outcome(scores=np.array([0.0, 0.51, 1.0]))})
    histogram = list(result.methods["generator"].score_histogram)
    assert (len(histogram), sum(histogram)) == (40, 3)
    assert [histogram[0], histogram[20], histogram[39]] == [1, 1, 1]


def test_relaxation_by_hand() -> None:
    changes = {
        "scores": np.array([0.25, 0.5, 0.875]),
        "relaxed": np.array([0.75, 0.75, 0.75]),
        "moved": np.array([1.0, 0.5, 2.00004]),
        "lipschitz": np.array([0.5, 0.25, 1.0]),
        "gradients": np.array([10, 20, 60]),
    }
    metrics = a_result({"gradient:projection=l1": an_outcome(**changes)}).methods["gradient:projection=l1"]
    assert metrics.gradients_per_outfit == 30
    assert metrics.relaxation == {
        "relaxed_mean": 0.75,
        "projected_mean": pytest.approx(1.625 / 3),
        "lost_mean": pytest.approx(0.625 / 3),
        "moved_mean": pytest.approx(3.50004 / 3),
        "lipschitz": 1.0,
        "lipschitz_median": 0.5,
        # 0.5 lost is just within 0.5 · 1, 0.25 lost is not within 0.25 · 0.5, and a gain is within anything
        "share_within_bound": pytest.approx(2 / 3),
        "points": [[1.0, 0.5], [0.5, 0.25], [2.0, -0.125]],
    }
    unmeasured = a_result({"gradient": an_outcome(**changes | {"lipschitz": None})}).methods["gradient"].relaxation
    assert unmeasured is not None
    assert (unmeasured["lipschitz"], unmeasured["share_within_bound"]) == (None, None)
    plain = a_result({"generator": an_outcome()}).methods["generator"]
    assert (plain.relaxation, plain.gradients_per_outfit) == (None, 0)


def test_figures_by_category_are_those_of_the_removed_items() -> None:
    outcome = an_outcome(tasks=some_tasks(np.array([[0, 1], [4, 5], [8, 2]])))
    metrics = a_result({"generator": outcome}).methods["generator"].categories
    assert {name: metrics[name]["removed"] for name in metrics} == {"tops": 3, "shoes": 2, "bags": 1, "a <b>": 0}
    assert metrics["bags"] == {"removed": 1, "chosen": 1, "score_mean": 0.9, "recall_at_10": 0}


def test_figures_with_conditions_by_hand() -> None:
    similar = with_texts(an_outcome(), [1.0, 0.5, 0.0], alpha=0.25)
    conditions = summarise_conditions(
        {
            "categories": {"generator": an_outcome()},
            "categories_texts": {"generator": an_outcome(), "greedy_k": similar},
        }
    )
    assert list(conditions["categories_texts"]) == ["greedy_k", "generator"]
    metrics = conditions["categories_texts"]["greedy_k"]
    assert metrics.objective_mean == pytest.approx(0.25 * 0.5 + 0.75 * 0.5)
    assert (metrics.similarity_mean, metrics.alpha, metrics.outfits) == (0.5, 0.25, 3)
    plain = conditions["categories"]["generator"]
    assert (plain.objective_mean, plain.similarity_mean, plain.alpha) == (None, None, None)
    assert plain.removed_recall["10"] == 0.5
    with pytest.raises(ValueError, match="'sizes' is not one of"):
        a_result({"generator": an_outcome()}, conditions={"sizes": conditions["categories"]})


def test_points_of_a_sweep_by_hand() -> None:
    greedy = an_outcome(scores=np.array([1.0, 1.0, 0.6])).take(np.array([2, 0]))
    swept = {f"beam:width={width}": an_outcome() for width in (16, 2, 8)}
    widths = {float(name.partition("=")[2]): {name: outcome} for name, outcome in swept.items()}
    widths[4.0] = {"generator_beam:candidates=8:width=4": an_outcome(), "greedy_k": greedy}
    sweeps = summarise_sweeps({"k": {1.0: {"generator": an_outcome()}}, "width": widths, "alpha": {}})
    assert {parameter: list(methods) for parameter, methods in sweeps.items()} == {
        "k": ["generator"],
        "width": ["beam", "generator_beam:candidates=8"],
    }
    assert list(sweeps["width"]["beam"]) == [2, 8, 16]
    (point,) = sweeps["width"]["generator_beam:candidates=8"].values()
    assert point.outfits == 3
    assert point.score_mean == pytest.approx(0.5)
    assert point.ratio_to_greedy_k == pytest.approx((0.2 + 0.9) / (1.0 + 0.6))
    assert sweeps["k"]["generator"][1].ratio_to_greedy_k is None
    result = a_result({"generator": an_outcome()}, sweeps=sweeps)
    assert [(point["parameter"], point["value"], point["method"]) for point in result.to_json()["sweeps"]] == [
        ("k", 1, "generator"),
        ("width", 2, "beam"),
        ("width", 8, "beam"),
        ("width", 16, "beam"),
        ("width", 4, "generator_beam:candidates=8"),
    ]
    assert result.all_methods == ["beam", "generator", "generator_beam:candidates=8"]
    with pytest.raises(ValueError, match="'depth' is not one of"):
        a_result({"generator": an_outcome()}, sweeps={"depth": sweeps["k"]})


def test_greedy_search_is_a_method_of_a_sweep_that_changes_it() -> None:
    sweeps = summarise_sweeps({"k": {1.0: {"generator": an_outcome(), "greedy_k": an_outcome()}}})
    assert sweeps["k"]["greedy_k"][1].ratio_to_greedy_k == 1


def a_full_result(names: Sequence[str] = CALLS) -> tuple[EvaluationResult, dict[str, MethodOutcome]]:
    """Every kind of figure at once: calls with options, relaxation, conditions, sweeps and a method of few outfits."""
    rng = np.random.default_rng(2)
    tasks = some_tasks(np.stack([rng.permutation(12)[:2] for _ in range(30)]))

    def of(name: str, **changes: Any) -> MethodOutcome:
        values: dict[str, Any] = {
            "tasks": tasks,
            "outfit_ids": np.array([f"outfit {place:02d}" for place in range(30)]),
            "scores": rng.random(30),
            "judge": rng.random(30),
            "chosen": np.stack([rng.permutation(12)[:2] for _ in range(30)]),
            "valid": np.ones(30, bool),
            "calls": rng.integers(0, 30, 30),
            "seconds": rng.random(30) / 1000,
            "removed_ranks": rng.integers(0, 12, (30, 2)),
        }
        if name.startswith("gradient"):
            values |= {"relaxed": rng.random(30), "moved": rng.random(30), "lipschitz": rng.random(30)}
            values |= {"gradients": np.full(30, 600)}
        return an_outcome(**values | changes)

    outcomes = {name: of(name) for name in (*names, "beam:width=8")} | {
        "exhaustive": of("exhaustive").take(np.arange(10))
    }
    similarity = rng.random(30).tolist()
    methods = ("random", "most_frequent", "greedy_k", "generator")
    conditions = {
        "categories": {name: of(name) for name in methods},
        "categories_texts": {name: with_texts(of(name), similarity, 0.5) for name in methods},
    }
    sweeps: dict[str, dict[float, Outcomes]] = {
        "k": {k: {name: of(name) for name in ("greedy_k", "generator")} for k in (1, 2, 3)},
        "width": {width: {f"beam:width={width}": of("beam")} for width in (1, 2, 4, 16)},
        "alpha": {alpha: {"generator": with_texts(of("generator"), similarity, alpha)} for alpha in (0.0, 0.5, 1.0)},
    }
    return a_result(
        outcomes,
        conditions=summarise_conditions(conditions),
        sweeps=summarise_sweeps(sweeps),
        resamples=200,
    ), outcomes


def test_results_json_has_lists_of_numbers_on_one_line(tmp_path: Path) -> None:
    result, _ = a_full_result()
    write_results(result, tmp_path)
    assert results_json(tmp_path) == json.loads(json.dumps(result.to_json()))
    text = (tmp_path / "results.json").read_text()
    assert re.search(r'"score_histogram": \[ ?\d+(, \d+){39} ?\]', text)
    frame = result.frame()
    assert len(frame) == len(result.methods)
    assert not frame.map(lambda cell: isinstance(cell, dict | list)).any(axis=None)
    assert {"difference_to_original_low", "relaxation_lost_mean", "gap_to_exhaustive_mean"} <= set(frame.columns)
    assert {name: len(table) for name, table in result.tables().items()} == {
        "categories": sum(len(method.categories) for method in result.methods.values()),
        "conditions": 8,
        "sweeps": 13,
    }


def test_metrics_keep_their_bounds() -> None:
    result, _ = a_full_result()
    points = [point for methods in result.sweeps.values() for values in methods.values() for point in values.values()]
    conditioned = [method for methods in result.conditions.values() for method in methods.values()]
    for method in [*result.methods.values(), *points, *conditioned]:
        shares = [method.score_mean, method.judge_mean, method.win_rate, method.judge_win_rate, method.distinct_share]
        shares += [method.valid_share, *method.removed_recall.values()]
        assert all(0 <= share <= 1 for share in shares if share is not None)
        assert min(method.outfits, method.distinct_items) > 0
        assert min(method.scorer_calls_per_outfit, method.gradients_per_outfit, method.ms_per_outfit) >= 0
        for quantiles, histogram in (
            (method.score_quantiles, method.score_histogram),
            (method.judge_quantiles, method.judge_histogram),
        ):
            assert quantiles is not None
            assert histogram is not None
            assert list(quantiles.values()) == sorted(quantiles.values())
            assert (len(histogram), sum(histogram)) == (40, method.outfits)
        for interval in (method.difference_to_original, method.judge_difference_to_greedy_k):
            if interval is not None:
                assert list(interval) == ["mean", "low", "high"]
                assert -1 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
        if method.relaxation is not None:
            assert len(method.relaxation["points"]) == method.outfits
            assert 0 <= method.relaxation["share_within_bound"] <= 1


def test_a_report_draws_its_sections_and_removes_old_ones(tmp_path: Path) -> None:
    result, outcomes = a_full_result(["original", "greedy_k", "gradient:projection=l10", "generator"])
    paths = write_report(result, [], tmp_path, "")
    page = paths["page"].read_text(encoding="utf-8")
    for title in ("Optimality gap", "Relaxation", "With conditions", "Sweeps", "By category", "Paired differences"):
        assert f"{title}</" in page
    assert "on 10 of the 30 outfits" in page
    assert "600 gradients" in page
    assert "Gradient, projection l10" in page
    assert not re.search(r"https?://|<script|<iframe|@import|url\(", page)
    # three plots, relaxation and three sweeps, each in light and dark
    assert page.count("data:image/svg+xml;base64,") == 14
    images = {name: path for name, path in paths.items() if path.suffix == ".png"}
    assert set(images) == {
        "distributions",
        "cumulative",
        "trade_off",
        "relaxation",
        "sweep_k",
        "sweep_width",
        "sweep_alpha",
    }
    for path in images.values():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 0
    assert paths["conditions_csv"].is_file()
    tasks = replace(outcomes["original"].tasks, removed=np.empty((30, 0), dtype=np.int32), missing=2)
    plain = replace(outcomes["original"], tasks=tasks, removed_ranks=None, judge=None)
    bare = write_report(a_result({"original": plain}), [], tmp_path, "")
    page = bare["page"].read_text(encoding="utf-8")
    assert not {"relaxation", "sweep_k", "conditions_csv"} & set(bare)
    assert not any(
        (tmp_path / name).exists() for name in ("relaxation.png", "sweep_k.png", "conditions.csv", "sweeps.csv")
    )
    for title in ("Optimality gap", "Relaxation", "With conditions", "Sweeps", "By category", "Paired differences"):
        assert f"{title}</" not in page


def test_no_two_labels_of_the_trade_off_overlap() -> None:
    crowded = {
        name: an_outcome(scores=np.full(3, 0.9 - place / 200), calls=np.full(3, 600 if name.startswith("g") else 1))
        for place, name in enumerate(CALLS)
    }
    figure = trade_off(a_result(crowded))
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without the leaders
    assert len(boxes) == len(CALLS)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_findings_name_cheap_methods_the_gap_and_the_loss() -> None:
    relaxed = {"relaxed": np.ones(3), "moved": np.ones(3), "gradients": np.full(3, 60), "calls": np.full(3, 600)}
    unranked = an_outcome(removed_ranks=np.full((3, 2), 9))
    conditions = summarise_conditions({"categories": {"generator": an_outcome(), "most_frequent": unranked}})
    outcomes = {
        "greedy_k": an_outcome(scores=np.array([1.0, 0.9, 0.6]), calls=np.full(3, 1000)),
        "exhaustive": an_outcome(scores=np.array([1.0, 1.0, 0.75]), calls=np.full(3, 10**6)),
        "generator_rerank": an_outcome(scores=np.array([0.9, 0.7, 0.4]), calls=np.full(3, 30)),
        "generator_beam": an_outcome(scores=np.array([1.0, 0.8, 0.6]), calls=np.full(3, 200)),
        "gradient": an_outcome(**relaxed),
        "generator": an_outcome(calls=np.zeros(3, int)),
    }
    said = " ".join(findings(a_result(outcomes, conditions=conditions)))
    assert "The generator reaches 60.0% of greedy search's mean S with no call of S." in said
    assert "“Generator, re-ranked” reaches 80.0%" in said
    assert "with 3.0% of its calls of S (30 of 1,000 per outfit)" in said
    assert "“Greedy, k steps” finds an optimum for 33.3% of the outfits and misses 0.0833 of S on average" in said
    assert "mean S 1.000 at its relaxed optimum and 0.500 once projected" in said
    assert "50.0% by “Generator”, 100.0% by “Most frequent”" in said


def test_figures_depend_on_no_order() -> None:
    rng = np.random.default_rng(1)
    outcomes = the_outcomes(some_tasks(np.array([[place, place + 1] for place in range(5)])))
    straight = a_result(outcomes)
    other = a_result({name: outcome.take(rng.permutation(5)) for name, outcome in reversed(outcomes.items())})
    assert json.dumps(other.to_json()) == json.dumps(straight.to_json())
    assert list(other.methods) == list(METHODS)
    assert other.scores.equals(straight.scores)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (an_outcome(outfit_ids=np.array(["a", "b", "d"])), "different outfits"),
        (
            an_outcome(
                tasks=some_tasks(np.array([[0], [1], [2]])), chosen=np.array([[0], [1], [2]]), removed_ranks=None
            ),
            "items and",
        ),
        (an_outcome(chosen=np.array([[0, 1], [2, 3], [4, 13]])), "no catalogue position"),
        (an_outcome(judge=None), "every method or none"),
    ],
    ids=["other outfits", "other k", "no item", "no judge"],
)
def test_methods_that_do_not_belong_together_are_refused(second: MethodOutcome, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_result({"generator": an_outcome(), "random": second})


def test_a_result_refuses_figures_out_of_range(tmp_path: Path) -> None:
    result = a_result({"generator": an_outcome()})
    with pytest.raises(ValueError, match="compatibility lacks fitb_random"):
        replace(result, compatibility={key: value for key, value in COMPATIBILITY.items() if key != "fitb_random"})
    with pytest.raises(ValueError, match="auc_random must lie"):
        replace(result, compatibility=COMPATIBILITY | {"auc_random": 1.5})
    with pytest.raises(ValueError, match="64 hexadecimal"):
        replace(result, scorer_sha256="none")
    broken = replace(result, methods={"generator": replace(result.methods["generator"], score_mean=float("nan"))})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(broken, tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_results_json_has_the_keys_that_checks_rely_on(tmp_path: Path) -> None:
    write_results(a_result({name: replace(one, judge=None) for name, one in the_outcomes().items()}), tmp_path)
    values = results_json(tmp_path)
    top = {"dataset", "split", "k", "outfits", "catalogue", "seed", "scorer_sha256", "compatibility", "methods"}
    assert top <= set(values)
    assert (values["dataset"], values["k"], values["outfits"], values["catalogue"]) == ("toy", 2, 5, 12)
    assert set(COMPATIBILITY) <= set(values["compatibility"])
    assert set(values["methods"]) == set(METHODS)
    needed = {
        "score_mean",
        "score_quantiles",
        "judge_mean",
        "scorer_calls_per_outfit",
        "ms_per_outfit",
        "distinct_share",
    }
    for method in values["methods"].values():
        assert needed | {"removed_recall", "valid_share"} <= set(method)
        assert list(method["score_quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
        assert list(method["removed_recall"]) == ["1", "10", "50"]
        assert method["judge_mean"] is None
    assert values["methods"]["random"]["removed_recall"]["10"] is None


@pytest.mark.parametrize("judged", [True, False])
def test_written_files_hold_the_result(judged: bool, tmp_path: Path) -> None:
    outcomes = {name: one if judged else replace(one, judge=None) for name, one in the_outcomes().items()}
    result = a_result(outcomes)
    write_results(result, tmp_path)
    assert results_json(tmp_path) == json.loads(json.dumps(result.to_json()))
    assert pd.read_parquet(tmp_path / "scores.parquet").equals(result.scores)
    assert result.judged is judged
    assert (tmp_path / "results.csv").read_text().count("\n") == 1 + len(METHODS)


def test_item_ids_stay_text_in_the_scores(tmp_path: Path) -> None:
    ids = ["007", "NA", "", *(f"1e{place}" for place in range(9))]
    result = a_result({"generator": an_outcome()}, replace(a_catalogue(), item_ids=ids))
    write_results(result, tmp_path)
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert scores["chosen_1"].tolist() == ["007", "007", "NA"]
    assert scores["chosen_2"].tolist() == ["NA", "", "1e0"]


def test_the_table_has_a_line_per_method_and_aligned_columns() -> None:
    lines = results_table(a_result(the_outcomes())).splitlines()
    assert "5 outfits, 2 items removed from each, 12 items to choose from" in lines[0]
    assert [line.split()[0] for line in lines[4:]] == list(METHODS)
    assert len({len(line) for line in lines[2:]}) == 1
    assert "judge" in lines[2]
    assert "judge" not in results_table(a_result({"generator": an_outcome(judge=None)}))


def test_the_table_of_many_calls_fits_a_terminal() -> None:
    result, _ = a_full_result()
    lines = results_table(result).splitlines()
    assert max(map(len, lines)) <= 150
    wrapped = next(place for place, line in enumerate(lines) if line.startswith("gradient:start=items "))
    assert lines[wrapped + 1 : wrapped + 3] == ["  :penalty=1", "  :sequential=true"]
    assert lines[2].split()[:2] == ["method", "n"]


def test_a_call_is_shown_with_its_options() -> None:
    assert label("beam:width=8") == "Beam, width 8"
    assert label("gradient:projection=l1") == "Gradient, projection l1"
    assert label("gradient:start=items:penalty=1:sequential=true") == "Gradient, start items, penalty 1, sequential"
    assert label("generator_rerank:joint=false") == "Generator, re-ranked, not joint"
    assert description("gradient:projection=l1") == "nearest items by L1 distance"
    assert description("beam:width=8") == description("beam") != ""
    assert all(description(name) for name in METHODS)


def test_calls_of_one_method_stand_together_by_number() -> None:
    calls = ["beam:width=16", "gradient:start=items:penalty=1", "beam:width=4", "beam", "gradient:projection=l1"]
    assert in_order(calls) == [
        "beam",
        "beam:width=4",
        "beam:width=16",
        "gradient:projection=l1",
        "gradient:start=items:penalty=1",
    ]
    # in the configuration, a projection comes before a start and a penalty
    options = ["gradient:penalty=0.5", "gradient:start=items", "gradient:projection=l10", "gradient:projection=l2"]
    assert in_order(options) == [*options[3:1:-1], *options[1::-1]]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_all_methods_of_a_page_have_colours_of_their_own(theme: Theme) -> None:
    methods = [*METHODS, *CALLS, *(f"beam:width={width}" for width in (2, 4, 8)), "beam", "zigzag", "zigzag:depth=2"]
    found = colours(methods, theme)
    shown = {name: found[name] for name in methods}
    assert len(set(shown.values())) == len(shown)
    beside_its_method = colours(["beam", "beam:width=8"], theme)
    assert beside_its_method["beam"] != beside_its_method["beam:width=8"]
    # a single call has its method's own colour
    assert colours(["gradient:projection=l1"], theme)["gradient:projection=l1"] == found["gradient"]


def test_the_gallery_shows_the_best_call_of_each_method() -> None:
    result, outcomes = a_full_result()
    tasks = some_tasks(np.tile([0, 1], (30, 1)), [[2]] * 30)
    chosen = np.tile([3, 4], (30, 1))
    shown = {
        name: replace(outcome, tasks=tasks, chosen=chosen) for name, outcome in outcomes.items() if len(outcome) == 30
    }
    shown = {name: outcome for name, outcome in shown.items() if not name.startswith("beam")}
    shown["beam"] = replace(outcomes["beam"], tasks=tasks, chosen=chosen).take(np.arange(3))
    best = max(
        (name for name in shown if name.startswith("gradient")), key=lambda name: result.methods[name].score_mean
    )
    methods = {name: result.methods[name] for name in result.methods if name in shown}
    first, last = gallery_outfits(shown, methods, a_catalogue(), 2)
    expected = ["original", "greedy_k", "beam", best, "generator", "generator_rerank", "generator_beam"]
    assert list(first.completions) == expected
    assert list(last.completions) == [name for name in expected if name != "beam"]


def test_methods_unknown_to_the_configuration_come_last() -> None:
    assert in_order(["zigzag", "generator", "beam", "original"]) == ["original", "beam", "generator", "zigzag"]
    assert label("zigzag_search:depth=2") == "Zigzag search, depth 2"


def test_the_gallery_shows_given_and_removed_items_apart() -> None:
    removed = np.array([[place + 3, place + 1] for place in range(5)])
    given = [[place, place + 2] for place in range(5)]
    outcomes = {
        name: replace(
            outcome, tasks=some_tasks(removed, given), chosen=np.array([[8, 9], [0, 9], [8, 9], [0, 1], [0, 1]])
        )
        for name, outcome in the_outcomes().items()
        if name != "original"
    }
    methods = summarise(outcomes, a_catalogue(), seed=0)
    shown = gallery_outfits(outcomes, methods, a_catalogue(), 3)
    assert [outfit.outfit_id for outfit in shown] == ["outfit 0", "outfit 2", "outfit 4"]
    assert [item.item_id for item in shown[1].given] == ["item-2", "item-4"]
    assert [item.item_id for item in shown[1].removed] == ["item-5", "item-3"]
    assert list(shown[1].completions) == methods_shown("gallery")
    assert shown[1].completions["original"] == shown[1].removed
    assert "original" not in shown[1].scores
    greedy = outcomes["greedy_k"]
    assert greedy.scores is not None
    assert greedy.judge is not None
    assert [item.item_id for item in shown[1].completions["greedy_k"]] == ["item-8", "item-9"]
    assert shown[1].scores["greedy_k"] == {"S": greedy.scores[2], "judge": greedy.judge[2]}
    assert gallery_outfits(outcomes, methods, a_catalogue(), 0) == []


def test_a_photo_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    catalogue = a_catalogue(tmp_path)
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(tmp_path / "0.jpg", "PNG")
    (tmp_path / "1.jpg").unlink()
    tasks = some_tasks(np.array([[3], [3], [3]]), [[0, 1, 4]] * 3)
    outcome = an_outcome(tasks=tasks, chosen=np.array([[2], [2], [2]]), removed_ranks=None)
    shown = gallery_outfits({"generator": outcome}, summarise({"generator": outcome}, catalogue, seed=0), catalogue, 1)
    whole, gone, damaged = shown[0].given
    clear = item_thumbnail(whole)
    assert clear is not None
    assert max(clear.size) <= 176
    assert clear.getpixel((5, 5)) == (255, 255, 255)  # transparent ground is white, not black
    assert item_thumbnail(gone) is None
    assert item_thumbnail(damaged) is None
    assert thumbnail_uri(shown[0].removed[0]) is None


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_thumbnail_is_read_as_an_encoder_reads(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(np.full((80, 60), 30_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("F", (9, 9)).save(tmp_path / "floats.tif")
    for name in ("turned.jpg", "deep.png"):
        small = item_thumbnail(Item("a", "coat", "", tmp_path / name))
        assert small is not None
        assert np.array_equal(np.asarray(small), np.asarray(decode_image(tmp_path / name)))
    assert item_thumbnail(Item("a", "coat", "", tmp_path / "floats.tif")) is None


def test_the_page_is_whole_by_itself_and_escapes_what_items_say(tmp_path: Path) -> None:
    catalogue = a_catalogue(tmp_path)
    tasks = some_tasks(np.tile([0, 7], (5, 1)), [[3, 4]] * 5)
    chosen = np.tile([8, 9], (5, 1))
    outcomes = {name: replace(one, tasks=tasks, chosen=chosen) for name, one in the_outcomes().items()}
    result = a_result(outcomes, catalogue, dataset="toy <set>")
    gallery = gallery_outfits(outcomes, result.methods, catalogue, 2)
    paths = write_report(result, gallery, tmp_path / "report", "run: <unsafe>\nseed: 7\n")
    page = paths["page"].read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<iframe|@import|url\(", page)
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|srcset|href)="([^"]*)"', page))
    assert "&lt;script&gt;" in page
    assert "toy &lt;set&gt;" in page
    assert "run: &lt;unsafe&gt;" in page
    for name in METHODS:
        assert label(name) in page
        assert f"{result.methods[name].score_mean:.3f}" in page
    for shown in ("grouped", "12.5%", "6.2%", SHA, "outfits dropped", "text of 4", 'src="data:image/jpeg;base64,'):
        assert shown in page
    # six plots: three, each in light and dark
    assert page.count("data:image/svg+xml;base64,") == 6
    assert page.count("<picture><source") == page.count("</picture>") == 3
    for name in ("completions", "distributions", "trade_off"):
        with Image.open(paths[name]) as image:
            assert image.format == "PNG"
            assert np.asarray(image.convert("L")).std() > 0


def test_a_report_of_one_outfit_and_one_method_is_written(tmp_path: Path) -> None:
    outcome = MethodOutcome(
        some_tasks(np.array([[0]])),
        np.array([[2]]),
        calls=np.array([4]),
        seconds=np.array([0.5]),
        scores=np.ones(1),
        valid=np.array([True]),
        outfit_ids=np.array(["only"]),
    )
    compatibility = COMPATIBILITY | {"fitb_same_category": None, "official_fitb": 0.5, "probe_official_fitb": 0.125}
    result = a_result({"beam": outcome}, compatibility=compatibility, split_facts={}, counts={})
    paths = write_report(result, [], tmp_path, "")
    page = paths["page"].read_text(encoding="utf-8")
    assert "Beam" in page
    assert "under the judge" not in page
    assert "Completed outfits" not in page
    official = page.partition("(official file)")[2].partition("</tr>")[0]
    assert re.findall(r'class="number">([^<]*)<', official) == ["50.0%", "12.5%", "–"]
    assert "completions" not in paths
    assert results_json(tmp_path) == json.loads(json.dumps(result.to_json()))


def test_a_report_shows_whether_s_means_what_it_says(tmp_path: Path) -> None:
    sizes = {2: SizeScores(7, 0.75, 0.5, 0.25), 3: SizeScores(5, 0.625, 0.5, None)}
    measured = Calibration(0.0625, [Bin(9, 0.2, 0.1), Bin(3, 0.8, 0.9)], sizes, 12, 0.25, -0.125)
    result = a_result({"generator": an_outcome()}, calibration=measured)
    page = write_report(result, [], tmp_path, "")["page"].read_text(encoding="utf-8")
    assert "the expected calibration error is 0.062" in page
    assert "raises S in 25.0% of 12 outfits, by -0.125 in the mean" in " ".join(page.split())
    assert "<td>0.625</td><td>0.500</td><td>–</td>" in page
    assert (tmp_path / "calibration.png").is_file()
    assert results_json(tmp_path)["calibration"]["sizes"]["2"]["real"] == 0.75
    write_report(a_result({"generator": an_outcome()}), [], tmp_path, "")
    assert not (tmp_path / "calibration.png").exists()


def test_the_same_result_gives_the_same_page(tmp_path: Path) -> None:
    pages = []
    for place in range(2):
        paths = write_report(a_result({"generator": an_outcome()}), [], tmp_path / str(place), "seed: 7\n")
        pages.append(paths["page"].read_bytes())
    assert pages[0] == pages[1]
