"""The report: figures against hand-computed values, invariants, the JSON contract and the page."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outfits.config.schema import METHODS
from outfits.data.catalogue import Catalogue
from outfits.errors import ArtifactError
from outfits.report import (
    EvaluationResult,
    MethodRecord,
    MethodResult,
    gallery_outfits,
    read_results,
    results_table,
    summarise,
    write_report,
    write_results,
)
from outfits.report.appearance import in_order, label
from outfits.report.gallery import photo, thumbnail_uri

SHA = "0123456789abcdef" * 4
COMPATIBILITY = {
    "auc_random": 0.9,
    "auc_same_category": 0.8,
    "fitb_random": 0.7,
    "fitb_same_category": 0.6,
    "fitb_frequency_control": 0.4,
}
HOSTILE = "<script>alert('x')</script> & \"quoted\""


def a_catalogue(folder: Path | None = None) -> Catalogue:
    """Twelve items; with a folder, all but two have a photo there: one has none, one's file is damaged."""
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
    ],
)
def test_a_record_refuses_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_record(**changes)


def test_figures_equal_those_computed_by_hand() -> None:
    result = a_result([a_record(), a_record("greedy_k", scores=np.array([1.0, 1.0, 0.5]), removed_ranks=None)])
    figures = result.methods["generator"]
    assert (result.k, result.outfits, result.catalogue) == (2, 3, 12)
    assert figures.score_mean == pytest.approx(0.5)
    assert figures.score_quantiles["0.5"] == 0.4
    assert figures.score_quantiles["0.25"] == pytest.approx(0.3)
    assert figures.score_quantiles["0.95"] == pytest.approx(0.85)
    assert figures.judge_mean == pytest.approx(0.6)
    assert figures.ratio_to_greedy_k == pytest.approx(0.6)
    assert figures.scorer_calls_per_outfit == 1
    assert figures.ms_per_outfit == pytest.approx(3)
    assert (figures.distinct_items, figures.distinct_share) == (4, pytest.approx(4 / 6))
    # ranks 0, 9, 10, not ranked, 1, 49: below 1 lies one of six, below 10 three, below 50 five
    assert figures.removed_recall == {"1": pytest.approx(1 / 6), "10": pytest.approx(3 / 6), "50": pytest.approx(5 / 6)}
    assert figures.valid_share == pytest.approx(2 / 3)
    assert result.methods["greedy_k"].removed_recall == {"1": None, "10": None, "50": None}


def test_figures_depend_on_no_order() -> None:
    rng = np.random.default_rng(1)
    straight = a_result(the_records())
    shuffled = []
    for record in reversed(the_records()):
        order = rng.permutation(len(record.outfit_ids))
        columns = ("scores", "judge", "chosen", "valid", "calls", "ms", "removed_ranks")
        values = {name: getattr(record, name) for name in columns}
        moved = {name: None if value is None else value[order] for name, value in values.items()}
        shuffled.append(replace(record, outfit_ids=[record.outfit_ids[place] for place in order], **moved))
    other = a_result(shuffled)
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
    figures = result.methods["generator"]
    with pytest.raises(ValueError, match="compatibility lacks fitb_random"):
        replace(result, compatibility={key: value for key, value in COMPATIBILITY.items() if key != "fitb_random"})
    with pytest.raises(ValueError, match="64 hexadecimal"):
        replace(result, scorer_sha256="none")
    with pytest.raises(ValueError, match="score_mean must lie"):
        replace(figures, score_mean=float("nan"))
    with pytest.raises(ValueError, match="must not fall"):
        replace(figures, score_quantiles=dict.fromkeys(figures.score_quantiles, 0.5) | {"0.95": 0.1})


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


def test_methods_unknown_to_the_configuration_come_last() -> None:
    assert in_order(["zigzag", "generator", "beam", "original"]) == ["original", "generator", "beam", "zigzag"]
    assert label("generator_beam") == "Generator beam"


def test_the_gallery_shows_given_and_removed_items_apart() -> None:
    records = [record for record in the_records() if record.name != "original"]
    whole = {f"outfit {place}": [place, place + 1, place + 2, place + 3] for place in range(5)}
    removed = {f"outfit {place}": [place + 3, place + 1] for place in range(5)}
    shown = gallery_outfits(records, a_catalogue(), whole, removed, 3)
    assert [outfit.outfit_id for outfit in shown] == ["outfit 0", "outfit 2", "outfit 4"]
    assert [item.item_id for item in shown[1].given] == ["item-2", "item-4"]
    assert [item.item_id for item in shown[1].removed] == ["item-5", "item-3"]
    assert [completion.method for completion in shown[1].completions] == list(METHODS)
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
    clear = photo(whole)
    assert clear is not None
    assert max(clear.size) <= 176
    assert clear.getpixel((5, 5)) == (255, 255, 255)  # transparent ground is white, not black
    assert photo(gone) is None
    assert photo(damaged) is None
    assert thumbnail_uri(shown[0].removed[0]) is None


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
    for picture in (paths.completions, paths.distributions, paths.trade_off):
        with Image.open(picture) as image:
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
