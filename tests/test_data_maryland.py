"""The Maryland parser: layout, partial roots, and files that are not as they should be."""

import json
from pathlib import Path

import pytest

from outfits.data.maryland import read_maryland
from outfits.errors import DataError
from tests.layouts import OUTFITS, looks, write_json, write_maryland_root


def one_outfit(set_id: str = "7", **changes: object) -> dict[str, object]:
    item = {"index": 1, "name": "red coat", "categoryid": 2, **changes}
    return {"set_id": set_id, "name": "", "items": [item, {"index": 4, "name": "", "categoryid": 3}]}


def write_minimal(root: Path, entry: dict[str, object]) -> None:
    write_json(root / "valid_no_dup.json", [entry])
    (root / "category_id.txt").write_text("2 Coats\n3 Ankle Boots\n", encoding="utf-8")


def test_full_root_has_every_outfit_item_and_task(tmp_path: Path) -> None:
    write_maryland_root(tmp_path)
    raw = read_maryland(tmp_path)
    made = looks()
    assert [(outfit.outfit_id, outfit.split) for outfit in raw.outfits] == [(look.set_id, look.split) for look in made]
    assert [item.text for item in raw.items] == [garment.text for look in made for garment in look.garments]
    assert {item.category for item in raw.items} == {
        "Dress",
        "Coat",
        "Boots",
        "Bag",
        "Hat",
        "Scarf",
        "Belt",
        "Earrings",
    }
    assert all(item.image_path is not None and item.image_path.is_file() for item in raw.items)
    assert len(raw.fitb["test"]) == OUTFITS["test"]
    assert sum(row.compatible for row in raw.labelled["test"]) * 2 == len(raw.labelled["test"])
    known = {item.item_id for item in raw.items}
    assert all(known >= {*task.question, *task.answers} for task in raw.fitb["test"])
    for task in raw.fitb["test"]:
        assert task.answers[task.correct].split("_")[0] == task.question[0].split("_")[0]


def test_item_is_named_by_set_and_index_even_if_indices_have_gaps(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit())
    raw = read_maryland(tmp_path)
    assert raw.outfits[0].item_ids == ("7_1", "7_4")
    assert [item.category for item in raw.items] == ["Coats", "Ankle Boots"]
    assert [item.image_path for item in raw.items] == [None, None]


def test_picture_paths_are_expected_ones_where_the_folder_exists(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit())
    (tmp_path / "images").mkdir()
    assert read_maryland(tmp_path).items[1].image_path == tmp_path / "images" / "7" / "4.jpg"


def test_unknown_category_id_is_a_category_of_its_own(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit(categoryid=99))
    assert read_maryland(tmp_path).items[0].category == "category 99"


def test_root_without_split_files_says_what_a_full_root_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train_no_dup\.json.*data\.root.*images/SETID/INDEX\.jpg"):
        read_maryland(tmp_path)


def test_missing_category_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "valid_no_dup.json", [one_outfit()])
    with pytest.raises(DataError, match=r"category_id\.txt does not exist"):
        read_maryland(tmp_path)


def test_invalid_json_names_file_line_and_column(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit())
    text = json.dumps([one_outfit()], indent=1).replace('"set_id": "7",', '"set_id": "7"')
    (tmp_path / "valid_no_dup.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"valid_no_dup\.json: line 4, column 3: invalid JSON"):
        read_maryland(tmp_path)


def test_truncated_json_is_refused(tmp_path: Path) -> None:
    write_maryland_root(tmp_path, images=False)
    path = tmp_path / "train_no_dup.json"
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    with pytest.raises(DataError, match=r"train_no_dup\.json: line [\d,]+, column"):
        read_maryland(tmp_path)


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit())
    (tmp_path / "category_id.txt").write_bytes(b"2 Coats\n3 Caf\xe9\n")
    with pytest.raises(DataError, match=r"category_id\.txt: line 2 is not UTF-8"):
        read_maryland(tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"items": []}, "outfit number 1 has no field 'set_id'"),
        ({"set_id": "7"}, "outfit 7 has no field 'items'"),
        ({"set_id": "7", "items": "none"}, "'items' holds no list"),
        ({"set_id": "7", "items": [{"index": 1, "name": ""}]}, "outfit 7 has no field 'categoryid'"),
    ],
)
def test_outfit_of_another_shape_is_named(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    write_minimal(tmp_path, entry)
    with pytest.raises(DataError, match=message):
        read_maryland(tmp_path)


@pytest.mark.parametrize("line", ["2 7_1 7_4", "1", "7_1 7_4"])
def test_malformed_compatibility_row_names_its_line(tmp_path: Path, line: str) -> None:
    write_minimal(tmp_path, one_outfit())
    (tmp_path / "fashion_compatibility_prediction.txt").write_text(f"1 7_1 7_4\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"prediction\.txt: line 2"):
        read_maryland(tmp_path)
