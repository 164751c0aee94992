"""The synthetic data set on disk: a complete Maryland root, the same for the same seed, whole or not there."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outfits.config.schema import SyntheticConfig
from outfits.data.maryland import read_maryland
from outfits.data.synthetic import is_complete, write_synthetic, writing
from outfits.data.synthetic.drawing import draw_garment
from outfits.data.synthetic.wardrobe import make_wardrobe
from outfits.errors import DataError

TINY = SyntheticConfig(items=80, outfits=70, image_size=24, seed=5)


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "root"
    write_synthetic(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def splits(root: Path) -> dict[str, Any]:
    return {split: json.loads((root / f"{split}_no_dup.json").read_text()) for split in ("train", "valid", "test")}


def test_same_seed_same_bytes(root: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "again", TINY)
    assert _contents(tmp_path / "again") == _contents(root)


def test_another_seed_is_another_data_set(root: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "other", replace(TINY, seed=6))
    ours, others = _contents(root), _contents(tmp_path / "other")
    assert ours["train_no_dup.json"] != others["train_no_dup.json"]
    shared = [name for name in ours.keys() & others.keys() if name.endswith(".jpg")]
    assert np.mean([ours[name] != others[name] for name in shared]) > 0.9


def test_splits_are_eighty_ten_ten_and_share_no_outfit(splits: dict[str, Any]) -> None:
    assert {split: len(sets) for split, sets in splits.items()} == {"train": 56, "valid": 7, "test": 7}
    set_ids = [entry["set_id"] for sets in splits.values() for entry in sets]
    assert len(set(set_ids)) == TINY.outfits


def test_outfits_have_the_fields_of_the_official_files(splits: dict[str, Any], root: Path) -> None:
    categories = dict(line.split(" ", 1) for line in (root / "category_id.txt").read_text().splitlines())
    for entry in (entry for sets in splits.values() for entry in sets):
        expected = {"name", "views", "items", "image", "likes", "date", "set_url", "set_id", "desc"}
        assert entry.keys() == expected
        indices = [item["index"] for item in entry["items"]]
        assert indices == sorted(set(indices))
        for item in entry["items"]:
            assert item.keys() == {"index", "name", "price", "likes", "image", "categoryid"}
            assert str(item["categoryid"]) in categories


def test_every_item_has_a_picture_that_opens(splits: dict[str, Any], root: Path) -> None:
    for entry in (entry for sets in splits.values() for entry in sets):
        for item in entry["items"]:
            with Image.open(root / "images" / entry["set_id"] / f"{item['index']}.jpg") as picture:
                assert picture.format == "JPEG"
                assert np.asarray(picture.convert("RGB")).shape == (24, 24, 3)


def test_the_maryland_parser_reads_it_whole(root: Path) -> None:
    dataset = read_maryland(root)
    assert len(dataset.outfits) == TINY.outfits
    assert len({item.item_id for item in dataset.items}) == len(dataset.items)
    assert all(item.image_path is not None and item.image_path.is_file() for item in dataset.items)
    assert len(dataset.fitb["test"]) == 7
    assert len(dataset.labelled["test"]) == 14


def test_the_first_answer_completes_the_question_to_an_outfit_of_the_test_split(
    splits: dict[str, Any], root: Path
) -> None:
    outfits = [[f"{entry['set_id']}_{item['index']}" for item in entry["items"]] for entry in splits["test"]]
    items = {item for outfit in outfits for item in outfit}
    questions = json.loads((root / "fill_in_blank_test.json").read_text())
    for question, outfit in zip(questions, outfits, strict=True):
        assert len(set(question["answers"])) == 4
        assert set(question["answers"]) <= items
        place = question["blank_position"] - 1
        assert [*question["question"][:place], question["answers"][0], *question["question"][place:]] == outfit
        assert not set(question["answers"][1:]) & set(outfit)


def test_half_of_the_labelled_sets_are_the_test_outfits(splits: dict[str, Any], root: Path) -> None:
    outfits = {frozenset(f"{entry['set_id']}_{item['index']}" for item in entry["items"]) for entry in splits["test"]}
    rows = [line.split() for line in (root / "fashion_compatibility_prediction.txt").read_text().splitlines()]
    assert {frozenset(row[1:]) for row in rows if row[0] == "1"} == outfits
    assert sum(row[0] == "0" for row in rows) == len(outfits)
    assert not {frozenset(row[1:]) for row in rows if row[0] == "0"} & outfits


def test_pictures_tell_style_colour_and_pattern_apart() -> None:
    garment = make_wardrobe(60, np.random.default_rng(0))[0]
    plain = np.asarray(draw_garment(replace(garment, pattern="plain"), 48, np.random.default_rng(0)), np.float64)
    for other in (replace(garment, pattern="checks"), replace(garment, pattern="plain", style="boho")):
        picture = np.asarray(draw_garment(other, 48, np.random.default_rng(0)), np.float64)
        assert np.abs(picture - plain).mean() > 5
    corners = plain[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 250).all()
    assert (plain.min(axis=2) < 250).mean() > 0.1


def test_a_complete_root_is_left_as_it_is(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_synthetic(root, TINY)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("stage", ["_dump", "_write_pictures"])
def test_a_write_that_breaks_off_leaves_nothing_and_a_rerun_completes(
    stage: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setattr(writing, stage, fail)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(folder, TINY)
    assert not folder.exists()
    assert not is_complete(folder, TINY)
    write_synthetic(folder, TINY)
    assert is_complete(folder, TINY)
    assert _contents(folder) == _contents(root)


def test_what_a_killed_write_left_is_never_taken_for_complete(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    remains = tmp_path / ".root.4711-00000000.part"
    (remains / "images").mkdir(parents=True)
    (remains / "train_no_dup.json").write_text("[")
    assert not is_complete(folder, TINY)
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)
    assert remains.exists()


def test_other_settings_are_an_error_that_names_them(root: Path) -> None:
    before = _contents(root)
    other = replace(TINY, outfits=90)
    assert not is_complete(root, other)
    with pytest.raises(DataError, match=r"outfits=70 not 90\); set data\.root to another folder") as error:
        write_synthetic(root, other)
    assert "\n" not in str(error.value)
    assert _contents(root) == before


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "train_no_dup.json").write_text("[]")
    with pytest.raises(DataError, match="is no synthetic data set"):
        write_synthetic(tmp_path, TINY)
    assert _contents(tmp_path) == {"train_no_dup.json": b"[]"}


def test_a_root_that_lost_a_file_is_an_error(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "root", TINY)
    (tmp_path / "root" / "category_id.txt").unlink()
    assert not is_complete(tmp_path / "root", TINY)
    with pytest.raises(DataError, match=r"without category_id\.txt; delete the folder"):
        write_synthetic(tmp_path / "root", TINY)


def test_an_empty_folder_is_filled(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)


def test_losing_the_race_ends_with_the_winners_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root"
    draw: Callable[..., None] = writing._write_pictures

    def draw_while_another_finishes(*arguments: Any) -> None:
        draw(*arguments)
        monkeypatch.undo()
        write_synthetic(folder, TINY)

    monkeypatch.setattr(writing, "_write_pictures", draw_while_another_finishes)
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_two_processes_at_once_both_end_with_a_complete_root(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for outcome in [pool.submit(write_synthetic, folder, TINY) for _ in range(2)]:
            outcome.result()
    assert _contents(folder) == _contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
