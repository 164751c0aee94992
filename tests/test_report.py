"""The report: metrics against hand-computed values, invariants, the JSON contract and the page."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from outfits.config.schema.methods import METHODS
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import Item
from outfits.encoders.images import decode_image
from outfits.errors import ArtifactError
from outfits.report import (
    EvaluationResult,
    MethodRecord,
    MethodResult,
    SweepPoint,
    gallery_outfits,
    read_results,
    results_table,
    summarise,
    summarise_conditions,
    sweep_point,
    write_report,
    write_results,
)
from outfits.report.comparison.findings import findings
from outfits.report.comparison.gallery import SHOWN, item_thumbnail, thumbnail_uri
from outfits.report.comparison.plots import trade_off
from outfits.report.style import DARK, LIGHT, Theme, colours, description, in_order, label

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


def a_record(name: str = "generator", **changes: Any) -> MethodRecord:
    """Three outfits, two items each, with values that can be checked by hand."""
    values: dict[str, Any] = {
        "outfit_ids": ["a", "b", "c"],
        "scores": np.array([0.2, 0.4, 0.9]),
        "judge": np.array([0.5, 0.5, 0.8]),
        "chosen": np.array([[0, 1], [0, 2], [1, 3]]),
        "valid": np.array([True, True, False]),
        "calls": np.array([0, 0, 3]),
        "ms": np.array([1.0, 2.0, 6.0]),
        "removed_ranks": np.array([[0, 9], [10, -1], [1, 49]]),
    }
    return MethodRecord(name, **(values | changes))


def the_records() -> list[MethodRecord]:
    rng = np.random.default_rng(0)
    records = []
    for name in METHODS:
        ranks = rng.integers(0, 12, (5, 2)) if name.startswith(("greedy", "generator")) else None
        chosen = np.stack([rng.permutation(12)[:2] for _ in range(5)])
        outfit_ids = [f"outfit {place}" for place in range(5)]
        scores, judge, valid = rng.random(5), rng.random(5), rng.random(5) < 0.9
        calls, ms = rng.integers(0, 30, 5), rng.random(5)
        records.append(MethodRecord(name, outfit_ids, scores, judge, chosen, valid, calls, ms, ranks))
    return records


def a_result(records: list[MethodRecord], catalogue: Catalogue | None = None, **changes: Any) -> EvaluationResult:
    values: dict[str, Any] = {
        "dataset": "toy",
        "split": "test",
        "seed": 7,
        "scorer_sha256": SHA,
        "compatibility": COMPATIBILITY,
        "split_facts": {"mode": "grouped", "seed": 0, "pairs_seen": 0.125, "twin_share": 0.0625},
        "counts": {"outfits read": 9, "outfits dropped": 4},
    }
    return summarise(records, catalogue=catalogue or a_catalogue(), **(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chosen": np.array([[0, 1], [2, 2], [1, 3]])}, "chosen twice for outfit 'b'"),
        ({"chosen": np.array([[0, 1], [2, -1], [1, 3]])}, "no catalogue position"),
        ({"chosen": np.array([0, 1, 2])}, r"not \[3, k\]"),
        ({"scores": np.array([0.2, np.nan, 0.9])}, "scores must be numbers"),
        ({"scores": np.array([0.2, np.inf, 0.9])}, "scores must be numbers"),
        ({"judge": np.array([0.2, 1.1, 0.9])}, "judge must be numbers"),
        ({"scores": np.array([0.2, 0.9])}, r"scores has shape \[2\]"),
        ({"removed_ranks": np.zeros((3, 1), int)}, r"removed_ranks has shape \[3, 1\]"),
        ({"valid": np.ones(4, bool)}, "valid has shape"),
        ({"ms": np.array([1.0, np.nan, 1.0])}, "ms must be finite"),
        ({"calls": np.array([0, -1, 0])}, "not negative"),
        ({"outfit_ids": ["a", "b", "a"]}, "recorded twice"),
        ({"gradients": np.array([0, -1, 0])}, "gradients must be finite and not negative"),
        ({"similarity": np.array([0, np.nan, 0])}, "similarity must be finite"),
        ({"relaxed": np.ones(3)}, "relaxed and moved belong together"),
        ({"lipschitz": np.ones(3)}, "lipschitz to them"),
        ({"relaxed": 2 * np.ones(3), "moved": np.ones(3)}, "relaxed must be numbers"),
        ({"relaxed": np.ones(3), "moved": -np.ones(3)}, "moved must be finite and not negative"),
    ],
)
def test_a_record_refuses_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_record(**changes)


def test_figures_equal_those_computed_by_hand() -> None:
    result = a_result([a_record(), a_record("greedy_k", scores=np.array([1.0, 1.0, 0.5]), removed_ranks=None)])
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


def test_paired_figures_are_taken_over_the_outfits_that_both_completed() -> None:
    original = a_record("original", scores=np.array([0.2, 0.5, 0.1]), judge=np.array([0.5, 0.6, 0.1]))
    greedy = a_record("greedy_k", scores=np.array([1.0, 0.8, 0.5]))
    exact = a_record("exhaustive", scores=np.array([1.0, 0.9, 0.6])).take(np.array([2, 0]))  # outfits a and c alone
    result = a_result([a_record(), original, greedy, exact])
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
    alone = a_result([a_record(judge=None)]).methods["generator"]
    assert (alone.win_rate, alone.judge_win_rate, alone.difference_to_original) == (None, None, None)
    assert (alone.gap_to_exhaustive, alone.ratio_to_greedy_k, alone.judge_histogram) == (None, None, None)
    unjudged = a_result([replace(record, judge=None) for record in (a_record(), original, greedy)])
    assert unjudged.methods["generator"].win_rate == 0.5
    assert unjudged.methods["generator"].judge_win_rate is None


def test_histograms_count_every_outfit_in_its_bin() -> None:
    histogram = list(a_result([a_record(scores=np.array([0.0, 0.51, 1.0]))]).methods["generator"].score_histogram)
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
    metrics = a_result([a_record("gradient:projection=l1", **changes)]).methods["gradient:projection=l1"]
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
    unmeasured = a_result([a_record("gradient", **(changes | {"lipschitz": None}))]).methods["gradient"].relaxation
    assert unmeasured is not None
    assert (unmeasured["lipschitz"], unmeasured["share_within_bound"]) == (None, None)
    plain = a_result([a_record()]).methods["generator"]
    assert (plain.relaxation, plain.gradients_per_outfit) == (None, 0)


def test_figures_by_category_need_the_removed_items() -> None:
    removed = {"a": np.array([0, 1]), "b": np.array([4, 5]), "c": np.array([8, 2])}
    metrics = a_result([a_record()], removed=removed).methods["generator"].categories
    assert {name: metrics[name]["removed"] for name in metrics} == {"tops": 3, "shoes": 2, "bags": 1, "a <b>": 0}
    assert metrics["bags"] == {"removed": 1, "chosen": 1, "score_mean": 0.9, "recall_at_10": 0}
    assert a_result([a_record()]).methods["generator"].categories == {}
    with pytest.raises(ValueError, match="removed items of outfit 'c' are not given"):
        a_result([a_record()], removed={name: removed[name] for name in "ab"})
    with pytest.raises(ValueError, match="another number was removed"):
        a_result([a_record()], removed=removed | {"b": np.array([4])})


def test_figures_with_conditions_by_hand() -> None:
    similar = a_record("greedy_k", similarity=np.array([1.0, 0.5, 0.0]))
    conditions = summarise_conditions(
        {"categories": [a_record()], "categories_texts": [a_record(), similar]}, alpha=0.25
    )
    assert list(conditions["categories_texts"]) == ["greedy_k", "generator"]
    metrics = conditions["categories_texts"]["greedy_k"]
    assert metrics.objective_mean == pytest.approx(0.25 * 0.5 + 0.75 * 0.5)
    assert (metrics.similarity_mean, metrics.alpha, metrics.outfits) == (0.5, 0.25, 3)
    plain = conditions["categories"]["generator"]
    assert (plain.objective_mean, plain.similarity_mean, plain.alpha) == (None, None, None)
    assert plain.removed_recall["10"] == 0.5
    with pytest.raises(ValueError, match="recorded twice"):
        summarise_conditions({"categories": [a_record(), a_record()]}, 0.5)
    with pytest.raises(ValueError, match="'sizes' is not one of"):
        a_result([a_record()], conditions={"sizes": conditions["categories"]})


def test_points_of_a_sweep_by_hand() -> None:
    record = a_record("generator_beam:candidates=8:width=4")
    greedy = a_record("greedy_k", scores=np.array([1.0, 1.0, 0.6])).take(np.array([2, 0]))
    point = sweep_point("width", 4, record, greedy)
    assert (point.method, point.value, point.outfits) == ("generator_beam:candidates=8", 4, 3)
    assert point.score_mean == pytest.approx(0.5)
    assert point.ratio_to_greedy_k == pytest.approx((0.2 + 0.9) / (1.0 + 0.6))
    assert sweep_point("k", 2, record).ratio_to_greedy_k is None
    points = [sweep_point("width", width, replace(record, name=f"beam:width={width}")) for width in (16, 2, 8)]
    result = a_result([a_record()], sweeps=[*points, sweep_point("k", 1, a_record())])
    assert [(point.parameter, point.value) for point in result.sweeps] == [
        ("k", 1),
        ("width", 2),
        ("width", 8),
        ("width", 16),
    ]
    assert result.all_methods == ["beam", "generator"]
    with pytest.raises(ValueError, match="beam has two points at width=2"):
        a_result([a_record()], sweeps=[*points, points[1]])
    with pytest.raises(ValueError, match="'depth' is not one of"):
        sweep_point("depth", 2, record)


def a_full_result(names: Sequence[str] = CALLS) -> tuple[EvaluationResult, list[MethodRecord]]:
    """Every kind of figure at once: calls with options, relaxation, conditions, sweeps and a method of few outfits."""
    rng = np.random.default_rng(2)
    ids = [f"outfit {place:02d}" for place in range(30)]

    def of(name: str, **changes: Any) -> MethodRecord:
        chosen = np.stack([rng.permutation(12)[:2] for _ in ids])
        record = a_record(
            name,
            outfit_ids=ids,
            scores=rng.random(30),
            judge=rng.random(30),
            chosen=chosen,
            valid=np.ones(30, bool),
            calls=rng.integers(0, 30, 30),
            ms=rng.random(30),
            removed_ranks=rng.integers(0, 12, (30, 2)),
        )
        if name.startswith("gradient"):
            steep = {"relaxed": rng.random(30), "moved": rng.random(30), "lipschitz": rng.random(30)}
            changes = {"gradients": np.full(30, 600), **steep} | changes
        return replace(record, **changes)

    records = [of(name) for name in names] + [of("beam:width=8"), of("exhaustive").take(np.arange(10))]
    similarity = rng.random(30)
    methods = ("random", "most_frequent", "greedy_k", "generator")
    conditions = {
        "categories": [of(name) for name in methods],
        "categories_texts": [of(name, similarity=similarity) for name in methods],
    }
    sweeps = [sweep_point("k", k, of(name)) for k in (1, 2, 3) for name in ("greedy_k", "generator")]
    sweeps += [sweep_point("width", width, of(f"beam:width={width}")) for width in (1, 2, 4, 16)]
    sweeps += [sweep_point("alpha", alpha, of("generator", similarity=similarity)) for alpha in (0.0, 0.5, 1.0)]
    removed = {outfit_id: rng.permutation(12)[:2] for outfit_id in ids}
    return a_result(
        records, removed=removed, conditions=summarise_conditions(conditions, 0.5), sweeps=sweeps, resamples=200
    ), records


def test_everything_written_reads_back_equal_and_lists_of_numbers_stand_on_one_line(tmp_path: Path) -> None:
    result, _ = a_full_result()
    write_results(result, tmp_path)
    again = read_results(tmp_path)
    assert again == result
    assert isinstance(again.sweeps[0], SweepPoint)
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


def test_a_result_refuses_paired_figures_that_cannot_be() -> None:
    result, _ = a_full_result()
    metrics = result.methods["gradient:projection=l1"]
    with pytest.raises(ValueError, match="low <= mean <= high"):
        replace(metrics, difference_to_original={"mean": 0.5, "low": 0.6, "high": 0.7})
    with pytest.raises(ValueError, match="keys mean, low, high"):
        replace(metrics, judge_difference_to_greedy_k={"mean": 0.5})
    with pytest.raises(ValueError, match="40 counts of 30 outfits"):
        replace(metrics, score_histogram=[1] * 40)
    with pytest.raises(ValueError, match="point for every outfit"):
        replace(metrics, relaxation={**(metrics.relaxation or {}), "points": []})
    with pytest.raises(ValueError, match="win_rate must lie"):
        replace(metrics, win_rate=1.5)


def test_a_full_report_draws_every_section_and_the_next_one_takes_away_what_it_lacks(tmp_path: Path) -> None:
    result, records = a_full_result(["original", "greedy_k", "gradient:projection=l10", "generator"])
    paths = write_report(result, [], tmp_path, "")
    page = paths.page.read_text(encoding="utf-8")
    for title in ("Optimality gap", "Relaxation", "With conditions", "Sweeps", "By category", "Paired differences"):
        assert f"{title}</" in page
    assert "on 10 of the 30 outfits" in page
    assert "600 gradients" in page
    assert "Gradient, projection l10" in page
    assert not re.search(r"https?://|<script|<iframe|@import|url\(", page)
    # three plots, relaxation and three sweeps, each in light and dark
    assert page.count("data:image/svg+xml;base64,") == 14
    assert set(paths.images) == {
        "distributions",
        "cumulative",
        "trade_off",
        "relaxation",
        "sweep_k",
        "sweep_width",
        "sweep_alpha",
    }
    for path in paths.images.values():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 0
    assert paths.conditions_csv is not None
    assert paths.sweep_candidates is None
    bare = write_report(a_result([replace(records[0], judge=None)]), [], tmp_path, "")
    page = bare.page.read_text(encoding="utf-8")
    assert (bare.relaxation, bare.sweep_k, bare.conditions_csv) == (None, None, None)
    assert not any(
        (tmp_path / name).exists() for name in ("relaxation.png", "sweep_k.png", "conditions.csv", "sweeps.csv")
    )
    for title in ("Optimality gap", "Relaxation", "With conditions", "Sweeps", "By category", "Paired differences"):
        assert f"{title}</" not in page


def test_no_two_labels_of_the_trade_off_overlap() -> None:
    crowded = [a_record(name, scores=np.full(3, 0.9 - place / 200)) for place, name in enumerate(CALLS)]
    steep = [replace(record, calls=np.full(3, 600)) for record in crowded if record.name.startswith("g")]
    result = a_result([*steep, *(record for record in crowded if not record.name.startswith("g"))])
    figure = trade_off(result)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without the leaders
    assert len(boxes) == len(CALLS)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_the_findings_name_the_best_cheap_method_the_gap_and_what_projection_loses() -> None:
    greedy = a_record("greedy_k", scores=np.array([1.0, 0.9, 0.6]), calls=np.full(3, 1000))
    exact = a_record("exhaustive", scores=np.array([1.0, 1.0, 0.75]), calls=np.full(3, 10**6))
    cheap = a_record("generator_rerank", scores=np.array([0.9, 0.7, 0.4]), calls=np.full(3, 30))
    dear = a_record("generator_beam", scores=np.array([1.0, 0.8, 0.6]), calls=np.full(3, 200))
    relaxed = {"relaxed": np.ones(3), "moved": np.ones(3), "gradients": np.full(3, 60), "calls": np.full(3, 600)}
    gradient = a_record("gradient", **relaxed)
    conditions = summarise_conditions(
        {"categories": [a_record(), a_record("most_frequent", removed_ranks=np.full((3, 2), 9))]}, 1
    )
    records = [greedy, exact, cheap, dear, gradient, a_record(calls=np.zeros(3, int))]
    said = " ".join(findings(a_result(records, conditions=conditions)))
    assert "The generator reaches 60.0% of greedy search's mean S with no call of S." in said
    assert "“Generator, re-ranked” reaches 80.0%" in said
    assert "with 3.0% of its calls of S (30 of 1,000 per outfit)" in said
    assert "“Greedy, k steps” finds an optimum for 33.3% of the outfits and misses 0.0833 of S on average" in said
    assert "mean S 1.000 at its relaxed optimum and 0.500 once projected" in said
    assert "50.0% by “Generator”, 100.0% by “Most frequent”" in said


def test_figures_depend_on_no_order() -> None:
    rng = np.random.default_rng(1)
    removed = {f"outfit {place}": np.array([place, place + 1]) for place in range(5)}
    straight = a_result(the_records(), removed=removed)
    shuffled = []
    for record in reversed(the_records()):
        order = rng.permutation(len(record.outfit_ids))
        shuffled.append(record.take(order))
    other = a_result(shuffled, removed=dict(reversed(removed.items())))
    assert json.dumps(other.to_json()) == json.dumps(straight.to_json())
    assert list(other.methods) == list(METHODS)
    assert other.scores.equals(straight.scores)


def test_parts_of_a_record_join_to_the_whole() -> None:
    whole = a_record()
    columns = ("outfit_ids", "scores", "chosen", "valid", "calls", "ms", "removed_ranks")
    parts = [
        MethodRecord("generator", judge=None, **{name: getattr(whole, name)[rows] for name in columns})
        for rows in (slice(2, 3), slice(0, 2))
    ]
    joined = MethodRecord.joined(parts)
    assert a_result([joined]).to_json() == a_result([replace(whole, judge=None)]).to_json()
    with pytest.raises(ValueError, match="recorded twice"):
        MethodRecord.joined([*parts, parts[0]])
    with pytest.raises(ValueError, match="some parts have judge"):
        MethodRecord.joined([parts[0], replace(parts[1], judge=np.array([0.1, 0.2]))])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (a_record("random", outfit_ids=["a", "b", "d"]), "different outfits"),
        (a_record("random", chosen=np.array([[0], [1], [2]]), removed_ranks=None), "items and"),
        (a_record("random", chosen=np.array([[0, 1], [2, 3], [4, 12]])), "no catalogue position"),
        (a_record("random", judge=None), "every method or none"),
        (a_record(), "method is recorded twice"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(second: MethodRecord, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_result([a_record(), second])


def test_a_result_refuses_figures_out_of_range() -> None:
    result = a_result([a_record()])
    metrics = result.methods["generator"]
    with pytest.raises(ValueError, match="compatibility lacks fitb_random"):
        replace(result, compatibility={key: value for key, value in COMPATIBILITY.items() if key != "fitb_random"})
    with pytest.raises(ValueError, match="64 hexadecimal"):
        replace(result, scorer_sha256="none")
    with pytest.raises(ValueError, match="score_mean must lie"):
        replace(metrics, score_mean=float("nan"))
    with pytest.raises(ValueError, match="must not fall"):
        replace(metrics, score_quantiles=dict.fromkeys(metrics.score_quantiles, 0.5) | {"0.95": 0.1})


def test_results_json_has_the_keys_that_checks_rely_on(tmp_path: Path) -> None:
    write_results(a_result([replace(record, judge=None) for record in the_records()]), tmp_path)
    values = json.loads((tmp_path / "results.json").read_text())
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


def test_written_results_read_back_equal(tmp_path: Path) -> None:
    for judged in (True, False):
        records = [record if judged else replace(record, judge=None) for record in the_records()]
        result = a_result(records)
        write_results(result, tmp_path)
        again = read_results(tmp_path)
        assert again == result
        assert again.scores.equals(result.scores)
        assert again.judged is judged
    assert (tmp_path / "results.csv").read_text().count("\n") == 1 + len(METHODS)


def test_item_ids_stay_text_in_the_scores(tmp_path: Path) -> None:
    ids = ["007", "NA", "", *(f"1e{place}" for place in range(9))]
    result = a_result([a_record()], replace(a_catalogue(), item_ids=ids))
    write_results(result, tmp_path)
    assert read_results(tmp_path).scores["chosen_1"].tolist() == ["007", "007", "NA"]
    assert read_results(tmp_path).scores["chosen_2"].tolist() == ["NA", "", "1e0"]


def test_results_of_another_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"run evaluate\.py again"):
        read_results(tmp_path)
    values = a_result([a_record()]).to_json()
    with pytest.raises(ArtifactError, match="surplus"):
        EvaluationResult.from_json(values | {"surplus": 1})
    del values["methods"]["generator"]["valid_share"]
    with pytest.raises(ArtifactError, match="valid_share"):
        MethodResult.from_json(values["methods"]["generator"])


def test_the_table_has_a_line_per_method_and_aligned_columns() -> None:
    lines = results_table(a_result(the_records())).splitlines()
    assert "5 outfits, 2 items removed from each, 12 items to choose from" in lines[0]
    assert [line.split()[0] for line in lines[4:]] == list(METHODS)
    assert len({len(line) for line in lines[2:]}) == 1
    assert "judge" in lines[2]
    assert "judge" not in results_table(a_result([a_record(judge=None)]))


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


def test_the_gallery_shows_the_best_call_of_each_method_where_it_completed_the_outfit() -> None:
    _, records = a_full_result()
    ids = records[0].outfit_ids
    slow = next(record for record in records if record.name == "beam")
    records = [record for record in records if not record.name.startswith("beam")] + [slow.take(np.arange(3))]
    best = max(
        (record for record in records if record.name.startswith("gradient")), key=lambda record: record.scores.mean()
    )
    whole, removed = dict.fromkeys(ids, [0, 1, 2]), dict.fromkeys(ids, [0, 1])
    first, last = gallery_outfits(records, a_catalogue(), whole, removed, 2)
    expected = ["original", "greedy_k", "beam", best.name, "generator", "generator_rerank", "generator_beam"]
    assert [completion.method for completion in first.completions] == expected
    assert [completion.method for completion in last.completions] == [name for name in expected if name != "beam"]


def test_methods_unknown_to_the_configuration_come_last() -> None:
    assert in_order(["zigzag", "generator", "beam", "original"]) == ["original", "beam", "generator", "zigzag"]
    assert label("zigzag_search:depth=2") == "Zigzag search, depth 2"


def test_the_gallery_shows_given_and_removed_items_apart() -> None:
    records = [record for record in the_records() if record.name != "original"]
    whole = {f"outfit {place}": [place, place + 1, place + 2, place + 3] for place in range(5)}
    removed = {f"outfit {place}": [place + 3, place + 1] for place in range(5)}
    shown = gallery_outfits(records, a_catalogue(), whole, removed, 3)
    assert [outfit.outfit_id for outfit in shown] == ["outfit 0", "outfit 2", "outfit 4"]
    assert [item.item_id for item in shown[1].given] == ["item-2", "item-4"]
    assert [item.item_id for item in shown[1].removed] == ["item-5", "item-3"]
    assert [completion.method for completion in shown[1].completions] == list(SHOWN)
    assert (shown[1].completions[0].items, shown[1].completions[0].score) == (shown[1].removed, None)
    greedy = next(record for record in records if record.name == "greedy_k")
    completion = next(completion for completion in shown[1].completions if completion.method == "greedy_k")
    assert [item.item_id for item in completion.items] == [f"item-{item}" for item in greedy.chosen[2]]
    assert completion.score == greedy.scores[2]
    assert gallery_outfits(records, a_catalogue(), whole, removed, 0) == []


def test_a_photo_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    catalogue = a_catalogue(tmp_path)
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(tmp_path / "0.jpg", "PNG")
    (tmp_path / "1.jpg").unlink()
    shown = gallery_outfits([a_record()], catalogue, dict.fromkeys("abc", [0, 1, 3, 4]), dict.fromkeys("abc", [3]), 1)
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
    records = the_records()
    result = a_result(records, catalogue, dataset="toy <set>")
    whole = {f"outfit {place}": [0, 3, 4, 7] for place in range(5)}
    removed = {f"outfit {place}": [0, 7] for place in range(5)}
    gallery = gallery_outfits(records, catalogue, whole, removed, 2)
    paths = write_report(result, gallery, tmp_path / "report", "run: <unsafe>\nseed: 7\n")
    page = paths.page.read_text(encoding="utf-8")
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
    assert paths.completions is not None
    for image in (paths.completions, paths.distributions, paths.trade_off):
        with Image.open(image) as image:
            assert image.format == "PNG"
            assert np.asarray(image.convert("L")).std() > 0


def test_a_report_of_one_outfit_one_method_and_no_gallery_is_written(tmp_path: Path) -> None:
    record = MethodRecord(
        "beam", ["only"], np.ones(1), None, np.array([[2]]), np.array([True]), np.array([4]), np.array([0.5]), None
    )
    compatibility = COMPATIBILITY | {"fitb_same_category": None, "official_fitb": 0.5}
    result = a_result([record], compatibility=compatibility, split_facts={}, counts={})
    paths = write_report(result, [], tmp_path, "")
    page = paths.page.read_text(encoding="utf-8")
    assert "Beam" in page
    assert "under the judge" not in page
    assert "Completed outfits" not in page
    assert "(official file)" in page
    assert paths.completions is None
    assert read_results(tmp_path) == result


def test_the_same_result_gives_the_same_page(tmp_path: Path) -> None:
    pages = []
    for place in range(2):
        paths = write_report(a_result([a_record()]), [], tmp_path / str(place), "seed: 7\n")
        pages.append(paths.page.read_bytes())
    assert pages[0] == pages[1]
