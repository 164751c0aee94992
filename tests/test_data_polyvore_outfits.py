"""The Polyvore Outfits parser: layout, look-ups by SETID_INDEX, and files that are not as they should be."""

import json
from pathlib import Path

import pytest

from outfits.data.polyvore_outfits import (
    item_text,
    read_compatibility_file,
    read_fill_in_blank_file,
    read_polyvore_outfits,
    read_split_file,
)
from outfits.errors import DataError
from tests.layouts import OUTFITS, garments, looks, write_json, write_polyvore_root


@pytest.mark.parametrize("variant", ["disjoint", "nondisjoint"])
def test_full_root_has_every_outfit_item_and_task(tmp_path: Path, variant: str) -> None:
    write_polyvore_root(tmp_path)
    raw = read_polyvore_outfits(tmp_path, variant, "fine")
    made = looks(disjoint=variant == "disjoint")
    assert [set(outfit.item_ids) for outfit in raw.outfits] == [{g.item_id for g in look.garments} for look in made]
    assert [outfit.split for outfit in raw.outfits] == [look.split for look in made]
    assert [item.item_id for item in raw.items] == [garment.item_id for garment in garments()]
    assert all(item.image_path is not None and item.image_path.is_file() for item in raw.items)
    assert {split: len(tasks) for split, tasks in raw.fitb.items()} == OUTFITS
    assert {split: len(rows) // 2 for split, rows in raw.labelled.items()} == OUTFITS


def test_true_answer_completes_the_outfit_wherever_it_stands(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path)
    raw = read_polyvore_outfits(tmp_path, "nondisjoint", "fine")
    sets = {frozenset(outfit.item_ids) for outfit in raw.outfits}
    for tasks in raw.fitb.values():
        assert all(frozenset({*task.question, task.answers[task.correct]}) in sets for task in tasks)
    assert len({task.correct for task in raw.fitb["train"]}) > 1


def test_positive_rows_are_outfits(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path, images=False)
    raw = read_polyvore_outfits(tmp_path, "disjoint", "fine")
    sets = {frozenset(outfit.item_ids) for outfit in raw.outfits}
    assert all((frozenset(row.item_ids) in sets) == row.compatible for row in raw.labelled["test"])


@pytest.mark.parametrize(("level", "category"), [("fine", "coat"), ("semantic", "semantic-0")])
def test_category_level_chooses_the_name(tmp_path: Path, level: str, category: str) -> None:
    write_polyvore_root(tmp_path, images=False)
    raw = read_polyvore_outfits(tmp_path, "disjoint", level)
    assert raw.items[1].category == category
    assert raw.items[0].image_path is None


def test_category_ids_of_one_fine_name_are_one_category(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path, images=False)
    path = tmp_path / "categories.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("3,coat,", "3,dress,"), encoding="utf-8")
    raw = read_polyvore_outfits(tmp_path, "disjoint", "fine")
    assert raw.items[0].category == raw.items[1].category == "dress"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"title": "a", "url_name": "b", "description": "c"}, "a"),
        ({"title": " ", "url_name": "b", "description": "c"}, "b"),
        ({"title": "", "url_name": None, "description": "c"}, "c"),
        ({"title": ""}, ""),
    ],
)
def test_text_is_the_first_field_that_is_not_empty(entry: dict[str, object], text: str) -> None:
    assert item_text(entry) == text


def test_row_on_an_item_of_no_outfit_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("1 7_1 7_2\n0 7_1 8_1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.txt: line 2: '8_1' is in no outfit"):
        read_compatibility_file(tmp_path / "rows.txt", {"7_1": "a", "7_2": "b"})


@pytest.mark.parametrize(
    ("answers", "position", "message"),
    [
        (["8_1", "9_1"], 3, "true answer 7_3 is not among its answers"),
        (["8_1", "7_2"], 3, "true answer 7_3 is not among its answers"),
    ],
)
def test_question_without_true_answer_is_refused(
    tmp_path: Path, answers: list[str], position: int, message: str
) -> None:
    write_json(tmp_path / "q.json", [{"question": ["7_1"], "answers": answers, "blank_position": position}])
    names = {name: name for name in ("7_1", "7_2", "7_3", "8_1", "9_1")}
    with pytest.raises(DataError, match=message):
        read_fill_in_blank_file(tmp_path / "q.json", names)


def test_blank_position_decides_among_answers_of_the_same_set(tmp_path: Path) -> None:
    write_json(tmp_path / "q.json", [{"question": ["7_1"], "answers": ["7_2", "7_5"], "blank_position": 5}])
    (task,) = read_fill_in_blank_file(tmp_path / "q.json", {"7_1": "a", "7_2": "b", "7_5": "c"})
    assert (task.question, task.answers[task.correct]) == (("a",), "c")


def test_partial_root_parses_and_an_empty_one_says_what_is_missing(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path, images=False)
    for path in (tmp_path / "disjoint").iterdir():
        if path.name != "valid.json":
            path.unlink()
    raw = read_polyvore_outfits(tmp_path, "disjoint", "fine")
    assert ({outfit.split for outfit in raw.outfits}, raw.fitb, raw.labelled) == ({"valid"}, {}, {})
    (tmp_path / "disjoint" / "valid.json").unlink()
    with pytest.raises(DataError, match=r"has none of disjoint/train\.json.*polyvore_item_metadata\.json"):
        read_polyvore_outfits(tmp_path, "disjoint", "fine")


def test_malformed_files_are_named(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path, images=False)
    (tmp_path / "categories.csv").write_text("2,dress,all-body\n3,coat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"categories\.csv: line 2 has 2 fields"):
        read_polyvore_outfits(tmp_path, "disjoint", "fine")
    (tmp_path / "polyvore_item_metadata.json").write_text("{\n 1: 2}", encoding="utf-8")
    with pytest.raises(DataError, match=r"polyvore_item_metadata\.json: line 2, column 2"):
        read_polyvore_outfits(tmp_path, "disjoint", "fine")
    (tmp_path / "valid.json").write_text(json.dumps({"set_id": "7"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"valid\.json: holds a JSON dict where a list is expected"):
        read_split_file(tmp_path / "valid.json", "valid")


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\ufeff"], ids=["blank", "no-break", "no width"])
@pytest.mark.parametrize("level", ["fine", "semantic"])
def test_stray_blanks_make_no_other_names(tmp_path: Path, blank: str, level: str) -> None:
    write_polyvore_root(tmp_path, images=False)
    expected = read_polyvore_outfits(tmp_path, "disjoint", level)
    path = tmp_path / "polyvore_item_metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for entry in list(metadata.values())[::2]:
        entry["category_id"] += blank
        entry["semantic_category"] += blank
    write_json(path, {f"{item_id}{blank}": entry for item_id, entry in metadata.items()})
    path = tmp_path / "disjoint" / "test.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    for entry in entries:
        entry["set_id"] = blank + entry["set_id"]
        entry["items"] = [{"item_id": blank + item["item_id"], "index": f"{item['index']} "} for item in entry["items"]]
    write_json(path, entries)
    path = tmp_path / "categories.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",", f"{blank},"), encoding="utf-8")
    raw = read_polyvore_outfits(tmp_path, "disjoint", level)
    assert raw.items == expected.items
    assert raw.outfits == expected.outfits
    assert (raw.fitb, raw.labelled) == (expected.fitb, expected.labelled)


def test_what_a_root_lacks_is_said_with_what_is_there(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path, images=False)
    (note,) = read_polyvore_outfits(tmp_path, "disjoint", "fine").notes
    assert note.startswith("not found and left out: images; ")
    assert "'disjoint/'" in note
    (tmp_path / "images").mkdir()
    (tmp_path / "disjoint" / "compatibility_train.txt").unlink()
    (note,) = read_polyvore_outfits(tmp_path, "disjoint", "fine").notes
    assert note.startswith("not found and left out: disjoint/compatibility_train.txt; ")
    assert "'compatibility_test.txt'" in note


@pytest.mark.parametrize("root", [".", "set/disjoint"], ids=["above", "below"])
def test_a_root_a_level_off_names_the_right_one(tmp_path: Path, root: str) -> None:
    write_polyvore_root(tmp_path / "set", images=False)
    with pytest.raises(DataError, match=rf"data\.root={tmp_path / 'set'} has them$"):
        read_polyvore_outfits(tmp_path / root, "disjoint", "fine")
