"""The parser of a user's own tables: columns, template, splits, and every malformed row by its line."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from outfits.config.schema.data import TablesConfig
from outfits.data.tables import read_tables
from outfits.errors import DataError
from tests.layouts import garments, looks, write_tables_root

CONFIG = TablesConfig(image="image", text="{colour} {name}", split="split")
PLAIN = TablesConfig(text="{name}")


def write_small(root: Path, items: str | None = None, outfits: str | None = None) -> None:
    root.mkdir(exist_ok=True)
    items = "item_id,category,name\na,coat,Red coat\nb,bag,Bag\nc,hat,\n" if items is None else items
    outfits = "outfit_id,item_id\n1,a\n1,b\n2,b\n2,c\n" if outfits is None else outfits
    (root / "items.csv").write_text(items, encoding="utf-8")
    (root / "outfits.csv").write_text(outfits, encoding="utf-8")


def test_reads_items_outfits_and_splits(tmp_path: Path) -> None:
    write_tables_root(tmp_path)
    raw = read_tables(tmp_path, CONFIG)
    first = garments()[0]
    assert raw.items[0].text == f"{first.colour} {first.category}, {first.number}"
    assert all(item.image_path is not None and item.image_path.is_file() for item in raw.items)
    assert [(outfit.outfit_id, outfit.item_ids, outfit.split) for outfit in raw.outfits] == [
        (look.set_id, tuple(garment.item_id for garment in look.garments), look.split) for look in looks()
    ]
    assert read_tables(tmp_path, replace(CONFIG, split=None)).outfits[0].split is None


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    write_tables_root(tmp_path)
    for name in ("items", "outfits"):
        pd.read_csv(tmp_path / f"{name}.csv").to_parquet(tmp_path / f"{name}.parquet")  # ids become integers
    raw = read_tables(tmp_path, replace(CONFIG, items="items.parquet", outfits="outfits.parquet"))
    expected = read_tables(tmp_path, CONFIG)
    assert raw.items == expected.items
    assert [replace(outfit, source="") for outfit in raw.outfits] == [replace(o, source="") for o in expected.outfits]


def test_parquet_integers_with_gaps_stay_integers(tmp_path: Path) -> None:
    write_small(tmp_path)
    columns = {"item_id": ["a", "b", "c"], "category": [1, 2, 3], "name": [7, None, 8]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "items.parquet")  # as tools other than pandas write it
    raw = read_tables(tmp_path, replace(PLAIN, items="items.parquet"))
    assert [(item.category, item.text) for item in raw.items] == [("1", "7"), ("2", ""), ("3", "8")]


def test_values_that_look_missing_stay_texts_and_empty_cells_stay_empty(tmp_path: Path) -> None:
    write_small(
        tmp_path,
        items="item_id,category,name,image\nNA,null,nan,\n007,coat,,p/x.jpg\n",
        outfits="outfit_id,item_id\n1,NA\n1,007\n",
    )
    first, second = read_tables(tmp_path, replace(PLAIN, image="image")).items
    assert (first.item_id, first.category, first.text, first.image_path) == ("NA", "null", "nan", None)
    assert (second.item_id, second.text, second.image_path) == ("007", "", tmp_path / "p/x.jpg")


def test_columns_become_attributes_and_empty_cells_are_unknown(tmp_path: Path) -> None:
    write_small(tmp_path, items="item_id,category,name,colour,cloth\na,coat,,red,wool\nb,bag,,,  \nc,hat,,blue,felt\n")
    items = read_tables(tmp_path, replace(PLAIN, attributes=["cloth", "colour"])).items
    assert [dict(item.attributes) for item in items] == [
        {"cloth": "wool", "colour": "red"},
        {"cloth": "", "colour": ""},
        {"cloth": "felt", "colour": "blue"},
    ]
    assert [item.attributes for item in read_tables(tmp_path, PLAIN).items] == [{}, {}, {}]


def test_byte_order_mark_and_quoted_newlines_are_read(tmp_path: Path) -> None:
    write_small(tmp_path, items='\ufeffitem_id,category,name\na,coat,"two\nlines, one text"\nb,bag,Bag\n\nc,hat,Hat\n')
    assert [item.text for item in read_tables(tmp_path, PLAIN).items] == ["two lines, one text", "Bag", "Hat"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ('item_id,category,name\na,coat,"x\ny"\nb,bag\n', r"items\.csv: line 4 has 2 fields where the header has 3"),
        ("item_id,category,name\na,coat,x\nb,bag,y,z\n", r"items\.csv: line 3 has 4 fields where the header has 3"),
        ("item_id,category,name\na,coat,x,\nb,bag,y,\n", r"items\.csv: line 2 has 4 fields"),
        (
            'item_id,category,name\na,coat,x\nb,bag,"y\nc,hat,z\n',
            r"items\.csv: the row that starts on line 3 is malformed",
        ),
        ("item_id,category,category\na,coat,x\n", r"items\.csv: line 1 names the column 'category' twice"),
        ("", r"items\.csv is empty"),
        (
            "item_id,category,name\na,coat,x\nb,bag,y\na,hat,z\n",
            r"items\.csv line 4: item 'a' stands already at items\.csv line 2",
        ),
        ("item_id,category,name\na,coat,x\nb,,y\n", r"items\.csv line 3: column 'category' is empty.*1 such row"),
        ("item_id,category,name\n,coat,x\n", r"items\.csv line 2: column 'item_id' is empty"),
    ],
)
def test_malformed_items_name_file_and_line(tmp_path: Path, items: str, message: str) -> None:
    write_small(tmp_path, items=items)
    with pytest.raises(DataError, match=message):
        read_tables(tmp_path, PLAIN)


def test_missing_column_names_key_and_near_names(tmp_path: Path) -> None:
    write_small(tmp_path)
    with pytest.raises(
        DataError, match=r"items\.csv lacks column 'categry' \(set data\.tables\.category, did you mean 'category'\?\)"
    ):
        read_tables(tmp_path, replace(PLAIN, category="categry"))
    with pytest.raises(
        DataError, match=r"outfits\.csv lacks column 'outfit' \(set data\.tables\.outfit_id, did you mean 'outfit_id'"
    ):
        read_tables(tmp_path, replace(PLAIN, outfit_id="outfit"))
    with pytest.raises(DataError, match=r"column 'photo' \(set data\.tables\.image"):
        read_tables(tmp_path, replace(PLAIN, image="photo"))
    with pytest.raises(DataError, match=r"column 'nam' \(set data\.tables\.attributes, did you mean 'name'\?\)"):
        read_tables(tmp_path, replace(PLAIN, attributes=["category", "nam"]))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{nam}", r"column 'nam' \(set data\.tables\.text, did you mean 'name'"),
        ("{name:{wide}}", r"column 'wide' \(set data\.tables\.text"),
        ("{}", r"column '' \(set data\.tables\.text"),
        ("{name.__class__}", r"column 'name.__class__'"),
        ("{name", r"template '\{name' is malformed.*data\.tables\.text"),
        ("{name:d}", r"template '\{name:d\}' cannot be filled in"),
    ],
)
def test_template_over_unknown_columns_is_refused(tmp_path: Path, template: str, message: str) -> None:
    write_small(tmp_path)
    with pytest.raises(DataError, match=message):
        read_tables(tmp_path, replace(PLAIN, text=template))


def test_template_takes_column_names_as_they_stand(tmp_path: Path) -> None:
    write_small(tmp_path, items="item_id,category,attr.colour,name [en]\na,coat,red,Coat\nb,bag,,Bag\nc,hat,,\n")
    raw = read_tables(tmp_path, replace(PLAIN, text="{attr.colour}  {name [en]}"))
    assert [item.text for item in raw.items] == ["red Coat", "Bag", ""]


def test_split_names_are_read_in_their_usual_spellings(tmp_path: Path) -> None:
    rows = "outfit_id,item_id,split\n1,a,Train\n2,b,val\n3,c,validation\n4,a,test\n5,b,valid\n"
    write_small(tmp_path, outfits=rows)
    splits = [outfit.split for outfit in read_tables(tmp_path, replace(PLAIN, split="split")).outfits]
    assert splits == ["train", "valid", "valid", "test", "valid"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,a,train\n1,b,dev\n", r"outfits\.csv line 3: 'dev' in column 'split' is no split"),
        (
            "1,a,train\n2,b,test\n1,c,test\n",
            r"line 4: outfit '1' is in split 'test' here and in split 'train' at outfits\.csv line 2",
        ),
        ("1,a,train\n,b,train\n", r"outfits\.csv line 3: column 'outfit_id' is empty"),
        ("1,a,train\n1,,train\n", r"outfits\.csv line 3: column 'item_id' is empty"),
    ],
)
def test_contradictory_outfit_rows_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    write_small(tmp_path, outfits=f"outfit_id,item_id,split\n{rows}")
    with pytest.raises(DataError, match=message):
        read_tables(tmp_path, replace(PLAIN, split="split"))


def test_missing_or_unreadable_table_names_its_key(tmp_path: Path) -> None:
    write_small(tmp_path)
    with pytest.raises(DataError, match=r"nothing\.csv does not exist; set data\.root and data\.tables\.items"):
        read_tables(tmp_path, replace(PLAIN, items="nothing.csv"))
    (tmp_path / "outfits.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ends in neither \.csv nor \.parquet.*data\.tables\.outfits"):
        read_tables(tmp_path, replace(PLAIN, outfits="outfits.xlsx"))
    (tmp_path / "outfits.parquet").write_bytes(b"not a parquet file")
    with pytest.raises(DataError, match=r"outfits\.parquet is not a readable Parquet file"):
        read_tables(tmp_path, replace(PLAIN, outfits="outfits.parquet"))
