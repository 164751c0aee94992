"""An exported run: the same answers as the run, no path of this machine, a card to be read; from a folder or a hub."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import constants

import outfits
from outfits import run_files
from outfits.config.load import load_export, read_config
from outfits.config.schema.data import DATA_FORMATS
from outfits.errors import ArtifactError, ConfigError
from outfits.metrics.intervals import auc_interval, share_interval
from outfits.models.compatibility import OutfitTransformer
from outfits.stylist import Stylist, publishing
from pipeline.export import main
from tests.export_answers import answers
from tests.public_forms import as_cached
from tests.tiny_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outfits.export(run, tmp_path_factory.mktemp("out") / "tiny-outfits")


def files_of(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def test_an_exported_run_answers_as_the_run_does(run: Path, exported: Path) -> None:
    expected = answers(Stylist.load(run))
    assert answers(Stylist.load(exported)) == expected
    assert len(expected[0]) == 3


def test_a_moved_folder_loads_and_has_no_images(run: Path, exported: Path, tmp_path: Path) -> None:
    moved = exported.rename(tmp_path / "elsewhere")
    try:
        stylist = Stylist.load(moved)
        assert stylist.item(stylist.item_ids[0]).image_path is None
        root = read_config(run / run_files.CONFIG).data.root
        path = Stylist.load(moved, data_root=root).item(stylist.item_ids[0]).image_path
        assert path is not None
        assert path.is_file()
    finally:
        moved.rename(exported)


def test_a_judge_of_another_run_is_not_loaded(run: Path, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(exported, folder)
    recorded = json.loads((folder / run_files.COMPATIBILITY).read_text())
    (folder / run_files.COMPATIBILITY).write_text(json.dumps({**recorded, "judge_sha256": None}))
    shutil.copy(folder / run_files.SCORER, folder / run_files.JUDGE)
    stylist = Stylist.load(folder)
    assert stylist.judge(stylist.item_ids[:2]) is None


def test_a_run_on_the_hub_loads_from_its_cache(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ArtifactError, match=r"hf://me/tiny is not in the cache .*hf download me/tiny$"):
        Stylist.load("hf://me/tiny")
    as_cached(exported, tmp_path, "model", "me/tiny")
    assert answers(Stylist.load("hf://me/tiny")) == answers(Stylist.load(exported))
    with pytest.raises(ConfigError, match="is not hf://ORG/NAME"):
        Stylist.load("hf://tiny")


def test_no_file_names_a_path_of_this_machine(run: Path, exported: Path) -> None:
    texts = [path for path in exported.rglob("*") if path.suffix in (".yaml", ".json", ".md", ".csv")]
    assert {path.name for path in texts} >= {"config.yaml", "manifest.json", "README.md", "config.json"}
    for path in texts:
        assert str(run.parent) not in path.read_text(encoding="utf-8"), path
    assert not [path for path in exported.rglob("*") if path.suffix in (".jpg", ".png")]
    config = read_config(run / run_files.CONFIG)
    for images, kept in (("/photos/*.tar", "*.tar"), ("hf://me/sets/data/*.parquet", "hf://me/sets/data/*.parquet")):
        assert publishing._without_paths(replace(config, data=replace(config.data, images=images))).data.images == kept


def test_images_outside_the_data_sets_folder_are_left_out(run: Path, exported: Path, tmp_path: Path) -> None:
    name = Path(run_files.STYLIST) / run_files.STYLIST_CATALOGUE
    before = (run / name).read_bytes()
    items = pd.read_parquet(run / name)
    items.loc[0, "image"] = "../../secret/photos.parquet/image/17"
    items.to_parquet(run / name, index=False)
    try:
        folder = outfits.export(run, tmp_path / "out")
    finally:
        (run / name).write_bytes(before)
    found, expected = pd.read_parquet(folder / name), pd.read_parquet(exported / name)
    assert pd.isna(found.loc[0, "image"])
    assert found.iloc[1:].equals(expected.iloc[1:])
    assert found.drop(columns="image").equals(expected.drop(columns="image"))


def test_s_loads_alone_from_the_folder(run: Path, exported: Path, tmp_path: Path) -> None:
    scorer = OutfitTransformer.from_pretrained(exported)
    expected = Stylist.load(run)._run.context.require_scorer_module()
    assert not any(parameter.requires_grad for parameter in scorer.parameters())
    for name, tensor in expected.state_dict().items():
        assert torch.equal(scorer.state_dict()[name], tensor), name
    scorer.save_pretrained(tmp_path)
    assert OutfitTransformer.from_pretrained(tmp_path).settings == expected.settings


def test_a_card_states_data_split_licence_and_limits(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("apache-2.0", "outfits")
    for words in ("# tiny-outfits", "**Licence of the data: Apache-2.0.**", "Split mode `official`", "## Limits"):
        assert words in card, words
    assert "48 train, 6 valid, 6 test" in card
    assert "No method was evaluated" in card


def test_a_card_has_the_figures_of_the_report(run: Path, tmp_path: Path) -> None:
    gap = {"mean": -0.1, "low": -0.25, "high": 0.05}
    method = {
        "outfits": 6,
        "score_mean": 0.5,
        "difference_to_original": gap,
        "judge_mean": None,
        "removed_recall": {"10": 0.125},
    }
    method |= {"distinct_share": 0.5, "ms_per_outfit": 1.5}
    results = run / run_files.REPORT / run_files.RESULTS
    compatibility = run / run_files.COMPATIBILITY
    before = compatibility.read_text()
    results.parent.mkdir()
    results.write_text(json.dumps({"k": 2, "outfits": 6, "methods": {"greedy_k": method}}))
    measured = {"auc_random": 0.75, "fitb_random": 0.5, "split": "valid", "distractors": 9}
    measured |= {"official_fitb": 0.25, "official": {"positives": 0, "negatives": 0, "questions": 40}}
    compatibility.write_text(json.dumps({**json.loads(before), **measured}))
    try:
        card = (outfits.export(run, tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    finally:
        compatibility.write_text(before)
        results.unlink()
        results.parent.rmdir()
    assert " | 6 | 0.500 | -0.100 (-0.250 to +0.050) | – | 12.5% | 50% | 1.50 |" in card
    low, high = share_interval(0.5, 6)
    assert f"| 0.500 | {low:.3f} to {high:.3f} | – |" in card
    low, high = share_interval(0.25, 40)  # of the data set's own questions, however many outfits there are
    assert f"| 0.250 | {low:.3f} to {high:.3f} | – |" in card
    assert "\n| `greedy_k`: " in card
    (model,) = yaml.safe_load(card.split("---")[1])["model-index"]
    values = {metric["type"]: metric["value"] for each in model["results"] for metric in each["metrics"]}
    assert values == {"auc": 0.75, "accuracy": 0.25}
    assert {each["dataset"]["split"] for each in model["results"]} == {"valid"}  # the run's configuration says test
    assert "All on the valid split" in card
    assert "among 9 wrong ones, so that chance is 0.100" in card


def test_intervals_are_those_of_their_papers() -> None:
    assert share_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson, from a table
    assert share_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    low, high = auc_interval(0.893, 50, 50)  # Hanley and McNeil: standard error about 0.032
    assert (high - low) / 2 / 1.96 == pytest.approx(0.032, abs=0.002)
    low, high = auc_interval(0.893, 51, 58)  # their example: 51 abnormal and 58 normal images
    assert (high - low) / 2 / 1.96 == pytest.approx(0.0325, abs=0.0002)


def test_other_files_are_not_overwritten_and_an_export_is(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else than an exported run"):
        outfits.export(run, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    folder = outfits.export(run, tmp_path / "new")
    (folder / "old.safetensors").write_text("left from before")
    outfits.export(run, folder)
    assert not (folder / "old.safetensors").exists()


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_a_run_is_not_exported_onto_itself(exported: Path, tmp_path: Path, place: str) -> None:
    source = tmp_path / "whole" / "copy"
    shutil.copytree(exported, source)
    link = tmp_path / "link"
    link.symlink_to(source)
    before = files_of(tmp_path)
    with pytest.raises(ConfigError, match="are one or lie in each other"):
        outfits.export(source, link / place)
    assert files_of(tmp_path) == before


def test_a_failed_export_leaves_the_earlier_one(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = outfits.export(run, tmp_path / "out")
    before = files_of(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(publishing, "model_card", lambda facts: 1 / 0)
        for target in (folder, tmp_path / "new"):
            with pytest.raises(ZeroDivisionError):
                outfits.export(run, target)
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "onnxruntime", None)
        missing.setattr(publishing, "_copy_run", lambda *_: pytest.fail("copied before the extra was looked for"))
        with pytest.raises(ConfigError, match=r"pip install 'outfits\[onnx\]'"):
            outfits.export(run, folder, onnx=True)
    assert files_of(tmp_path) == before
    assert outfits.export(run, folder) == folder
    assert files_of(tmp_path) == before


def test_the_command_writes_and_pushes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: dict[str, Any] = {}
    there: list[str] = []

    class Api(huggingface_hub.HfApi):
        def create_repo(self, repo_id: str, **options: Any) -> Any:
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def list_repo_files(self, repo_id: str, **options: Any) -> list[str]:
            return [".gitattributes", *there]

        def hf_hub_download(self, repo_id: str, filename: str, **options: Any) -> str:  # type: ignore[override]
            return str(tmp_path / "there" / filename)

        def upload_folder(self, **options: Any) -> Any:  # type: ignore[override]
            pushed.update(options)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    main([f"run={run}", f"folder={tmp_path / 'out'}", "licence=CC BY 4.0", "push=me/tiny"])
    assert (pushed["repo_id"], Path(pushed["folder_path"])) == ("me/tiny", tmp_path / "out")
    assert capsys.readouterr().out.splitlines()[-1] == "pushed: hf://me/tiny"
    assert pushed["delete_patterns"] == ["*"]
    used = ["stylist/changes.sqlite", "stylist/changes.sqlite-wal", "stylist/added_images/a.png", "scorer.safetensors"]
    ignored = pushed["ignore_patterns"]
    assert list(huggingface_hub.utils.filter_repo_objects(used, ignore_patterns=ignored)) == ["scorer.safetensors"]
    assert "**Licence of the data: CC BY 4.0.**" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text(json.dumps({"library_name": "timm"}))
    for name in ("model.bin", "config.json"):
        there[:] = [name]
        with pytest.raises(ConfigError, match="push: hf://me/tiny holds something else"):
            outfits.push_to_hub(tmp_path / "out", "me/tiny")
    shutil.copy(tmp_path / "out" / "config.json", tmp_path / "there" / "config.json")
    assert outfits.push_to_hub(tmp_path / "out", "me/tiny") == "hf://me/tiny"


def test_missing_keys_and_wrong_folders_are_one_line_each(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_export([])
    assert [error.partition(":")[0] for error in caught.value.errors] == ["run", "folder"]
    with pytest.raises(ArtifactError, match="holds no run"):
        outfits.export(tmp_path, tmp_path / "out")
    with pytest.raises(ArtifactError, match="is no exported run"):
        outfits.push_to_hub(tmp_path, "me/tiny")


def test_the_licence_of_own_data_has_to_be_stated(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATA_FORMATS._entries, "synthetic", replace(DATA_FORMATS["synthetic"], licence=""))
    with pytest.raises(ConfigError, match=r"licence: that of the data is not known for data\.format=synthetic"):
        outfits.export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
