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


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u200b"], ids=["blank", "no-break", "no width"])
def test_stray_blanks_make_no_other_names(tmp_path: Path, blank: str) -> None:
    write_maryland_root(tmp_path, images=False)
    expected = read_maryland(tmp_path)
    for name in ("test_no_dup.json", "fill_in_blank_test.json"):
        entries = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        for entry in entries[::2]:
            if "question" in entry:
                entry["question"] = [f"{blank}{item}" for item in entry["question"]]
                continue
            entry["set_id"] += blank
            for item in entry["items"]:
                item["categoryid"] = f"{item['categoryid']}{blank}"
        write_json(tmp_path / name, entries)
    for name in ("category_id.txt", "fashion_compatibility_prediction.txt"):
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        (tmp_path / name).write_text("".join(f"{line}{blank}\n" for line in lines), encoding="utf-8")
    assert read_maryland(tmp_path) == expected


def test_numbers_of_any_kind_are_one_name(tmp_path: Path) -> None:
    write_minimal(tmp_path, one_outfit(index=1.0, categoryid=2.0))
    item = read_maryland(tmp_path).items[0]
    assert (item.item_id, item.category) == ("7_1", "Coats")


@pytest.mark.parametrize("separator", ["\t", "  ", "\u00a0"], ids=["tab", "blanks", "no-break"])
def test_category_names_stand_after_any_white_space(tmp_path: Path, separator: str) -> None:
    write_minimal(tmp_path, one_outfit())
    (tmp_path / "category_id.txt").write_text(f"2{separator}Coats\n3{separator}Ankle Boots\n", encoding="utf-8")
    assert [item.category for item in read_maryland(tmp_path).items] == ["Coats", "Ankle Boots"]


def test_what_a_root_lacks_is_said_with_what_is_there(tmp_path: Path) -> None:
    write_maryland_root(tmp_path)
    assert read_maryland(tmp_path).notes == []
    (tmp_path / "images").rename(tmp_path / "imgs")
    (tmp_path / "fill_in_blank_test.json").unlink()
    (note,) = read_maryland(tmp_path).notes
    assert note.startswith("not found and left out: images, fill_in_blank_test.json; ")
    assert f"{tmp_path} has no 'images' but 'imgs/', 'category_id.txt'" in note


@pytest.mark.parametrize("root", [".", "set/images"], ids=["above", "below"])
def test_a_root_a_level_off_names_the_right_one(tmp_path: Path, root: str) -> None:
    write_maryland_root(tmp_path / "set")
    with pytest.raises(
        DataError, match=rf"set data\.root to a folder with .*; data\.root={tmp_path / 'set'} has them$"
    ):
        read_maryland(tmp_path / root)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_official_files_may_have_a_mark(tmp_path: Path, encoding: str) -> None:
    write_minimal(tmp_path, one_outfit())
    expected = read_maryland(tmp_path)
    for name in ("valid_no_dup.json", "category_id.txt"):
        (tmp_path / name).write_text((tmp_path / name).read_text(encoding="utf-8"), encoding=encoding)
    assert read_maryland(tmp_path).items == expected.items
