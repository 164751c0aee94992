"""Repositories of the hub: what of the cache is taken as it is, and what is completed."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from outfits.hub import hub_folder
from tests.public_forms import HASH, as_cached

NAME = "hf://me/sets"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of a repository with one file, as a download of that file alone leaves it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.csv").write_text("a")
    as_cached(tmp_path / "files", tmp_path / "cache", "dataset", "me/sets")
    return tmp_path / "cache" / "datasets--me--sets"


def list_files(home: Path, *names: str) -> None:
    """Notes which files the repository has, as a download of the whole does."""
    files = {name: {"size": 1, "blob_id": "0" * 40} for name in names}
    (home / "trees").mkdir()
    (home / "trees" / f"{HASH}.json").write_text(json.dumps({"format_version": 1, "files": files}))


@pytest.fixture
def on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that a hub within reach gives."""
    own, fetched = huggingface_hub.snapshot_download, tmp_path / "fetched"

    def download(*arguments: Any, revision: str | None, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            return own(*arguments, revision=revision, local_files_only=True, **options)
        assert revision == HASH, "the commit that is there is completed"
        return str(fetched)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return fetched


def test_a_whole_snapshot_is_taken_as_it_is(home: Path, on_the_hub: Path) -> None:
    list_files(home, "a.csv")
    assert hub_folder(NAME, "dataset", "data.root") == home / "snapshots" / HASH


def test_what_single_files_left_is_completed(home: Path, on_the_hub: Path) -> None:
    assert hub_folder(NAME, "dataset", "data.root") == on_the_hub


def test_what_single_files_left_is_taken_where_it_is_not(home: Path) -> None:
    assert hub_folder(NAME, "dataset", "data.root") == home / "snapshots" / HASH


def test_an_interrupted_download_is_completed(home: Path, on_the_hub: Path) -> None:
    list_files(home, "a.csv", "b.csv")
    assert hub_folder(NAME, "dataset", "data.root") == on_the_hub


def test_an_interrupted_download_is_taken_where_the_hub_is_not(home: Path) -> None:
    list_files(home, "a.csv", "b.csv")
    assert hub_folder(NAME, "dataset", "data.root") == home / "snapshots" / HASH


@pytest.mark.parametrize(("pattern", "whole"), [("**/*.csv", True), ("a.*", True), ("**/*.txt", False)])
def test_files_of_a_pattern_are_enough(home: Path, on_the_hub: Path, pattern: str, whole: bool) -> None:
    list_files(home, "a.csv", "b.txt")
    expected = home / "snapshots" / HASH if whole else on_the_hub
    assert hub_folder(NAME, "dataset", "data.images", pattern) == expected


def test_the_hub_is_asked_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hub_folder(NAME, "dataset", "data.root")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert hub_folder(NAME, "dataset", "data.root") == found
