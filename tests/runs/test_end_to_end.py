"""``train.py`` and ``evaluate.py`` as a user calls them, on data sets small enough to wait for."""

import json
import math
import shutil
from pathlib import Path

import pytest

from outfits.config.schema import methods as schema
from outfits.models.frozen import load_generator
from tests.layouts import write_maryland_root, write_polyvore_root, write_tables_root
from tests.runs.programs import REPOSITORY, Finished, Place, command, here, without_times

pytestmark = pytest.mark.slow

COMPATIBILITY = ("auc_random", "auc_same_category", "fitb_random", "fitb_same_category", "fitb_frequency_control")
QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
# most_similar is for texts of conditions alone; others need a student or a retriever, see test_two_stage_runs.py and
# test_retrieval_runs.py
LEFT_OUT = ("most_similar", "greedy_two_stage", "beam_two_stage", "retrieval")
METHODS = [method for method in schema.METHODS if method not in LEFT_OUT]
CHOOSING = [method for method in METHODS if method != "original"]


def test_one_command_makes_everything_from_nothing_and_says_where(first_run: tuple[Place, Finished]) -> None:
    place, finished = first_run
    for stage in ("data", "embeddings", "compatibility", "targets", "generator", "test"):
        assert f"] {stage}: " in finished.output, stage
    for method in METHODS:
        assert f"\n{method} " in finished.output, method
    for name in ("report/results.json", "report/results.csv", "report/index.html"):
        assert str(place.run / name) in finished.output
        assert (place.run / name).stat().st_size > 0
    for name in ("scorer", "judge", "generator"):
        assert (place.run / "csv" / name / "metrics.csv").stat().st_size > 0, "curves are always written as CSV"
    assert list(place.run.glob("wandb/offline-run-*/*.wandb")), "W&B without a key goes offline"
    assert "Traceback" not in finished.errors


def test_results_have_every_figure_that_checks_rely_on(undisturbed: Place) -> None:
    results = undisturbed.results()
    assert results["dataset"].startswith("synthetic")
    assert (results["split"], results["k"], results["outfits"], results["seed"]) == ("test", 2, 6, 0)
    assert results["catalogue"] == json.loads((undisturbed.run / "dataset.json").read_text())["items"]
    assert len(results["scorer_sha256"]) == 64
    for name in COMPATIBILITY:
        assert 0 <= results["compatibility"][name] <= 1, name
    assert list(results["methods"]) == list(METHODS)
    for method, metrics in results["methods"].items():
        quantiles = [metrics["score_quantiles"][q] for q in QUANTILES]
        assert quantiles == sorted(quantiles), method
        assert 0 < quantiles[0] <= metrics["score_mean"] <= quantiles[-1] < 1 or math.isclose(
            quantiles[0], quantiles[-1], rel_tol=1e-3
        ), method
        assert 0 < metrics["judge_mean"] < 1, method
        assert metrics["ms_per_outfit"] >= 0, method
        assert 0 < metrics["distinct_share"] <= 1, method
        recall = [metrics["removed_recall"][n] for n in ("1", "10", "50")]
        if method in ("original", "gradient"):
            assert recall == [None, None, None], "these rank nothing"
        else:
            assert 0 <= recall[0] <= recall[1] <= recall[2] <= 1, method


def test_every_method_that_chooses_items_completes_outfits_by_the_rule(undisturbed: Place) -> None:
    methods = undisturbed.results()["methods"]
    assert {method: methods[method]["valid_share"] for method in CHOOSING} == dict.fromkeys(CHOOSING, 1.0)


def test_methods_spend_the_calls_of_the_scorer_that_the_spec_gives_them(undisturbed: Place) -> None:
    results = undisturbed.results()
    calls = {method: metrics["scorer_calls_per_outfit"] for method, metrics in results["methods"].items()}
    for method in ("original", "random", "most_selected", "generator"):
        assert calls[method] == 0, method
    catalogue, k = results["catalogue"], results["k"]
    assert 0.4 * catalogue < calls["greedy_1"] <= catalogue  # items of categories already worn are not scored
    assert 0.4 * k * catalogue < calls["greedy_k"] <= k * catalogue
    assert calls["greedy_1"] < calls["greedy_k"]
    assert 0 < calls["generator_rerank"] <= 6, "2 nearest items of 2 latents, then of 1"
    assert calls["greedy_k"] < calls["beam"] <= (1 + (k - 1) * 4) * catalogue
    assert calls["exhaustive"] > (0.4 * catalogue) ** k / 2
    assert calls["gradient"] == 0
    assert results["methods"]["gradient"]["gradients_per_outfit"] == 5 * 2, "5 steps of 2 restarts"


def test_greedy_search_finds_better_completions_than_chance(undisturbed: Place) -> None:
    methods = undisturbed.results()["methods"]
    assert methods["greedy_k"]["score_mean"] > methods["random"]["score_mean"]
    assert methods["greedy_k"]["score_mean"] >= methods["greedy_1"]["score_mean"]


def test_no_method_finds_more_than_exhaustive_search_on_the_outfits_that_both_completed(undisturbed: Place) -> None:
    methods = undisturbed.results()["methods"]
    assert methods["exhaustive"]["outfits"] == 4
    for method in CHOOSING:
        if method != "exhaustive":
            gap = methods[method]["gap_to_exhaustive"]
            assert -1e-6 <= gap["median"] <= gap["max"], method
            assert gap["mean"] >= -1e-6, method
    assert methods["beam"]["gap_to_exhaustive"]["mean"] <= methods["random"]["gap_to_exhaustive"]["mean"]


def test_conditioned_categories_are_reported_for_every_configured_method(undisturbed: Place) -> None:
    conditions = undisturbed.results()["wishes"]  # the key that results.json has had from the start
    assert list(conditions) == ["categories", "categories_texts"]
    assert {metrics["alpha"] for metrics in conditions["categories"].values()} == {None}
    described = {method: metrics["similarity_mean"] for method, metrics in conditions["categories_texts"].items()}
    assert max(described.values()) == described["most_similar"]
    for kind, methods in conditions.items():
        seeing = {"most_similar"} if kind == "categories_texts" else set()
        assert set(methods) == {"random", "most_frequent", "greedy_k", "generator", "generator_rerank"} | seeing
        for method, metrics in methods.items():
            assert metrics["valid_share"] == 1, (kind, method)
            assert 0 <= metrics["removed_recall"]["1"] <= metrics["removed_recall"]["50"] <= 1, (kind, method)
    assert (
        conditions["categories_texts"]["greedy_k"]["similarity_mean"]
        > conditions["categories_texts"]["random"]["similarity_mean"]
    )


def test_sweeps_reach_the_report(copied: Place) -> None:
    points = {"k": [1, 3], "width": [1, 2], "candidates": [1, 3], "alpha": [0, 0.5, 1]}
    arguments = [f"evaluate.sweep.{name}={values}".replace(" ", "") for name, values in points.items()]
    place = [f"run={copied.run}", f"cache_dir={copied.cache}", "evaluate.sweep.outfits=3"]
    here("evaluate", [*place, "evaluate.methods=[original,greedy_k]", *arguments]).succeeded()
    swept = copied.results()["sweeps"]
    for name, values in points.items():
        assert sorted({point["value"] for point in swept if point["parameter"] == name}) == values
        assert (copied.run / "report" / f"sweep_{name}.png").stat().st_size > 0
    by_alpha = {p["value"]: p for p in swept if (p["parameter"], p["method"]) == ("alpha", "greedy_k")}
    assert by_alpha[0]["similarity_mean"] >= by_alpha[1]["similarity_mean"]
    assert by_alpha[0]["score_mean"] <= by_alpha[1]["score_mean"]


def test_exhaustive_search_beyond_its_budget_ends_the_command_with_the_number_of_calls(copied: Place) -> None:
    arguments = [
        f"run={copied.run}",
        f"cache_dir={copied.cache}",
        "evaluate.methods=[original,exhaustive:max_calls=10]",
    ]
    mistake = here("evaluate", arguments).mistake()
    assert "calls of S, more than 10; raise it, or take another method" in mistake


def test_the_same_command_again_reuses_everything_and_says_so(copied: Place) -> None:
    before = copied.results()
    written = {path: path.stat().st_mtime_ns for path in copied.cache.rglob("*") if path.is_file()}
    finished = here("train", copied.arguments()).succeeded()
    for line in finished.output.splitlines():
        stage, _, said = line.partition("] ")[2].partition(": ")
        if stage in ("embeddings", "compatibility", "targets", "generator"):
            counted = said.startswith("items without a usable ") or " conditions: " in said
            known = counted or said.startswith(("reusing", "test split: "))
            assert known, line  # S is measured anew, not trained
    assert {path: path.stat().st_mtime_ns for path in copied.cache.rglob("*") if path.is_file()} == written
    assert copied.results() == before, "times too, as nothing was measured again"


def test_evaluate_reproduces_the_figures_of_training(copied: Place) -> None:
    before = copied.results()
    shutil.rmtree(copied.run / "report")
    shutil.rmtree(copied.run / "shards")
    command("evaluate.py", [f"run={copied.run}", "evaluate.outfits=6", f"cache_dir={copied.cache}"]).succeeded()
    assert without_times(copied.results()) == without_times(before)


def test_evaluate_needs_no_scorers_nor_targets_from_the_cache(copied: Place) -> None:
    for folder in ("scorers", "targets"):
        shutil.rmtree(copied.cache / folder)
    arguments = [f"run={copied.run}", f"cache_dir={copied.cache}", "evaluate.split=valid", "evaluate.outfits=3"]
    here("evaluate", [*arguments, "evaluate.methods=[greedy_k,generator]"]).succeeded()
    results = copied.results()
    assert (results["split"], results["outfits"], list(results["methods"])) == ("valid", 3, ["greedy_k", "generator"])


def test_a_saved_configuration_repeats_its_run(undisturbed: Place, fresh: Place) -> None:
    arguments = [f"experiment={undisturbed.run / 'config.yaml'}", f"run_dir={fresh.run}", f"cache_dir={fresh.cache}"]
    here("train", arguments).succeeded()
    assert without_times(fresh.results()) == without_times(undisturbed.results())


def test_stages_run_alone_make_what_one_command_makes(undisturbed: Place, fresh: Place) -> None:
    for stage in ("embeddings", "compatibility", "targets", "generator", "test"):
        here("train", fresh.arguments(f"stages=[{stage}]")).succeeded()
        assert (fresh.run / "report").exists() == (stage == "test")
    assert without_times(fresh.results()) == without_times(undisturbed.results())


@pytest.mark.parametrize("layout", ["maryland", "polyvore_outfits"])
def test_research_layouts_train_end_to_end(tmp_path: Path, layout: str) -> None:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    {"maryland": write_maryland_root, "polyvore_outfits": write_polyvore_root}[layout](place.data)
    here("train", place.arguments(f"data={layout}", f"data.root={place.data}")).succeeded()
    results = place.results()
    assert results["dataset"].startswith(layout)
    assert results["methods"]["generator"]["valid_share"] == 1.0
    official = json.loads((place.run / "compatibility.json").read_text())
    assert any("official" in name for name in official), f"the data set's own tasks are used: {sorted(official)}"


def test_a_users_tables_train_end_to_end(tmp_path: Path) -> None:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    write_tables_root(place.data)
    columns = ["data.tables.image=image", "data.tables.text={colour} {name}", "data.split.shares=[0.6,0.2,0.2]"]
    here("train", place.arguments("data=tables", f"data.root={place.data}", *columns)).succeeded()
    results = place.results()
    assert results["dataset"] == place.data.name
    assert results["methods"]["generator_rerank"]["valid_share"] == 1.0


VARIANTS = {
    "accumulation": ["trainer.accumulate_grad_batches=2"],
    "bf16": ["trainer.precision=bf16-mixed"],
    "early stopping": ["optimizer.patience=1", "scorer.patience=1"],
    "pooled readout": ["model.readout=pool", "model.retrieval=item"],
    "cosine loss alone": ["loss.listwise_weight=0"],
    "ordered loss": ["loss.assignment=ordered", "loss.cosine_weight=0"],
    "three items": ["model.k=3", "targets.removals=2", "evaluate.methods=[original,beam,generator,generator_beam]"],
    "images alone": ["encoder.text=none", "evaluate.sweep.k=[1,3]", "evaluate.sweep.outfits=2"],
    "no judge": ["judge.share=0"],
    "texts alone": ["encoder.image=none"],
    "ranking loss": ["scorer.ranking_weight=1", "trainer.gradient_clip_val=0"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_configured_variants_train_end_to_end(fresh: Place, variant: str) -> None:
    short = ["trainer.max_epochs=2", "scorer.epochs=2", "targets.train_outfits=12", "evaluate.outfits=4"]
    here("train", fresh.arguments(*short, *VARIANTS[variant])).succeeded()
    results = fresh.results()
    assert results["methods"]["generator"]["valid_share"] == 1.0
    assert (results["methods"]["generator"]["judge_mean"] is None) == (variant == "no judge")
    assert results["k"] == (3 if variant == "three items" else 2)


def test_fast_dev_run_reaches_the_end_and_leaves_nothing_that_a_later_run_takes_for_finished(fresh: Place) -> None:
    quick = here("train", fresh.arguments("trainer.fast_dev_run=true")).succeeded()
    assert "done" in quick.output
    later = Place(fresh.data, fresh.cache, fresh.run.with_name("later"))
    said = here("train", later.arguments()).succeeded().output
    for product in ("training the scorer", "training the judge", "generator: training", "mining"):
        assert product in said, product
    assert without_times(later.results())["scorer_sha256"] != fresh.results()["scorer_sha256"]


def test_a_generator_belongs_to_the_scorer_that_it_was_trained_against(undisturbed: Place) -> None:
    with pytest.raises(Exception, match="sha|scorer"):
        load_generator(undisturbed.run / "generator.safetensors", "0" * 64)


def test_every_shipped_entry_point_prints_its_help() -> None:
    for program in ("train.py", "evaluate.py"):
        assert (REPOSITORY / program).is_file()
        assert "trainer.devices" in command(program, ["--help"]).succeeded().output
