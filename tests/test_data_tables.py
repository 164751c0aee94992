"""The parser of a user's own tables: columns, template, splits, and every malformed row by its line."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

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


NO_BREAK, NO_WIDTH = "\u00a0", "\u200b"


@pytest.mark.parametrize(
    "written",
    ["scarf ", f"scarf{NO_BREAK}", "\tscarf", f"{NO_WIDTH}scarf", "\u3000scarf\u2009"],
    ids=["blank", "no-break", "tab", "no width", "wide and thin"],
)
def test_a_stray_blank_makes_no_second_name(tmp_path: Path, written: str) -> None:
    write_small(
        tmp_path,
        items=f"item_id,category,name\na,scarf,x\n{written},{written},y\nc,hat,z\n",
        outfits=f"outfit_id,item_id,split\n{written},scarf,train\nscarf,a,{written.replace('scarf', 'Train')}\n",
    )
    raw = read_tables(tmp_path, replace(PLAIN, split="split", attributes=["category"]))
    assert [item.item_id for item in raw.items] == ["a", "scarf", "c"]
    assert [item.category for item in raw.items] == ["scarf", "scarf", "hat"]
    assert [item.attributes["category"] for item in raw.items] == ["scarf", "scarf", "hat"]
    assert [(outfit.outfit_id, outfit.item_ids, outfit.split) for outfit in raw.outfits] == [
        ("scarf", ("scarf", "a"), "train")
    ]


@pytest.mark.parametrize(
    ("composed", "other"),
    [("caf\u00e9", "cafe\u0301"), ("\u00c5", "A\u030a"), ("\ud55c", "\u1112\u1161\u11ab"), ("a b", f"a {NO_BREAK}b")],
    ids=["accent", "ring", "syllable", "inner blanks"],
)
def test_one_word_in_two_spellings_is_one_name(tmp_path: Path, composed: str, other: str) -> None:
    write_small(
        tmp_path,
        items=f"item_id,{other},name\n{composed},{other},x\nb,{composed},y\n",
        outfits=f"outfit_id,item_id\n{composed},{other}\n{other},b\n",
    )
    raw = read_tables(tmp_path, replace(PLAIN, category=composed, text="{" + composed + "} {name}"))
    assert [item.item_id for item in raw.items] == [composed, "b"]
    assert {item.category for item in raw.items} == {composed}
    assert [(outfit.outfit_id, outfit.item_ids) for outfit in raw.outfits] == [(composed, (composed, "b"))]


def test_two_ids_that_a_blank_told_apart_are_one_item_twice(tmp_path: Path) -> None:
    write_small(tmp_path, items=f"item_id,category,name\na,coat,x\nb,bag,y\na{NO_BREAK},hat,z\n")
    with pytest.raises(DataError, match=r"line 4: item 'a' stands already at items\.csv line 2"):
        read_tables(tmp_path, PLAIN)


def write_parquet(path: Path, **columns: Any) -> None:
    """An items table as tools other than pandas write it."""
    standard = {"item_id": ["a", "b", "c"], "category": ["coat", "bag", "hat"], "name": ["x", "y", "z"]}
    parquet.write_table(pyarrow.table({**standard, **columns}), path)


@pytest.mark.parametrize(
    "extra",
    [
        pyarrow.array([b"\xff\xd8", b"\x00", None]),
        pyarrow.array([b"\x9f\x80"] * 3, pyarrow.large_binary()),
        pyarrow.array([["a"], [], None]),
        pyarrow.array([{"bytes": b"\xff", "path": "x"}] * 3),
        pyarrow.array([b"\xff", b"\xfe", b"\xff"]).dictionary_encode(),
    ],
    ids=["bytes", "large bytes", "lists", "structs", "categories of bytes"],
)
def test_a_parquet_column_that_no_key_names_is_not_read(tmp_path: Path, extra: Any) -> None:
    write_small(tmp_path)
    write_parquet(tmp_path / "items.parquet", photo=extra)
    items = read_tables(tmp_path, replace(PLAIN, items="items.parquet")).items
    assert [(item.item_id, item.category, item.text) for item in items] == [
        ("a", "coat", "x"),
        ("b", "bag", "y"),
        ("c", "hat", "z"),
    ]
    with pytest.raises(DataError, match=r"items\.parquet: column 'photo' holds values of type .*; data\.tables\.image"):
        read_tables(tmp_path, replace(PLAIN, items="items.parquet", image="photo"))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pyarrow.array([7, None, 8]), ["7", "", "8"]),
        (pyarrow.array([7.0, None, 8.0]), ["7.0", "", "8.0"]),
        (pyarrow.array([0.1, float("nan"), 2.5], pyarrow.float32()), ["0.1", "", "2.5"]),
        (pyarrow.array(["p", None, "q"], pyarrow.large_string()), ["p", "", "q"]),
        (pyarrow.array(["p", "q", "p"]).dictionary_encode(), ["p", "q", "p"]),
        (pyarrow.array([3, 4, 3]).dictionary_encode(), ["3", "4", "3"]),
        (pyarrow.array([b"caf\xc3\xa9", None, b"q"]), ["caf\u00e9", "", "q"]),
        (pyarrow.array([Decimal("1.50"), None, Decimal("2.00")]), ["1.50", "", "2.00"]),
        (pyarrow.array([True, None, False]), ["True", "", "False"]),
        (pyarrow.nulls(3), ["", "", ""]),
    ],
    ids=[
        "integer",
        "float",
        "single",
        "large",
        "category",
        "integers of a category",
        "bytes",
        "decimal",
        "flag",
        "null",
    ],
)
def test_a_parquet_column_is_read_as_what_it_is(tmp_path: Path, column: Any, expected: list[str]) -> None:
    write_small(tmp_path)
    write_parquet(tmp_path / "items.parquet", **{"attr.colour": column})
    items = read_tables(tmp_path, replace(PLAIN, items="items.parquet", text="{attr.colour}")).items
    assert [item.text for item in items] == expected


@pytest.mark.parametrize(
    "ids",
    [pyarrow.array([1.0, 2.0, 3.0]), pyarrow.array([1, 2, 3], pyarrow.int8()), pyarrow.array(["1", "2", "3"])],
    ids=["float", "integer", "text"],
)
def test_ids_agree_whatever_type_their_column_has(tmp_path: Path, ids: Any) -> None:
    write_small(tmp_path, outfits="outfit_id,item_id\n1,1\n1,2\n2,2\n2,3\n")
    write_parquet(tmp_path / "items.parquet", item_id=ids)
    raw = read_tables(tmp_path, replace(PLAIN, items="items.parquet"))
    assert {name for outfit in raw.outfits for name in outfit.item_ids} == {item.item_id for item in raw.items}


@pytest.mark.parametrize("index", [["item_id"], ["item_id", "category"], ["name"]], ids=["id", "two", "text"])
def test_columns_in_the_index_of_a_parquet_table_are_read(tmp_path: Path, index: list[str]) -> None:
    write_small(tmp_path)
    expected = read_tables(tmp_path, PLAIN)
    pd.read_csv(tmp_path / "items.csv").set_index(index).to_parquet(tmp_path / "items.parquet")
    pd.read_csv(tmp_path / "outfits.csv").set_index("item_id").to_parquet(tmp_path / "outfits.parquet")
    raw = read_tables(tmp_path, replace(PLAIN, items="items.parquet", outfits="outfits.parquet"))
    assert raw.items == expected.items
    assert [outfit.item_ids for outfit in raw.outfits] == [outfit.item_ids for outfit in expected.outfits]


def test_a_parquet_table_in_several_files_is_read(tmp_path: Path) -> None:
    write_small(tmp_path)
    (tmp_path / "items.parquet").mkdir()
    frame = pd.read_csv(tmp_path / "items.csv")
    for number in range(3):
        frame.iloc[[number]].to_parquet(tmp_path / "items.parquet" / f"part-{number}.parquet", index=False)
    assert read_tables(tmp_path, replace(PLAIN, items="items.parquet")).items == read_tables(tmp_path, PLAIN).items


def test_no_column_that_another_key_names_is_offered(tmp_path: Path) -> None:
    write_small(tmp_path, outfits="outfit_id,sku\n1,a\n1,b\n")
    with pytest.raises(DataError, match=r"lacks column 'item_id' \(set data\.tables\.outfit_item_id\)\. Its columns"):
        read_tables(tmp_path, PLAIN)


@pytest.mark.parametrize(
    ("header", "near"),
    [("Item_ID", "Item_ID"), ("ITEM ID", "ITEM ID"), ("itemId", "itemId"), ("item-id", "item-id")],
)
def test_a_header_in_other_letters_is_offered(tmp_path: Path, header: str, near: str) -> None:
    write_small(tmp_path, items=f"{header},category,name\na,coat,x\n")
    with pytest.raises(DataError, match=rf"column 'item_id' \(set data\.tables\.item_id, did you mean '{near}'\?\)"):
        read_tables(tmp_path, PLAIN)


@pytest.mark.parametrize(
    ("separator", "named"),
    [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")],
    ids=["semicolon", "tab", "bar"],
)
def test_other_separators_are_read_and_said(tmp_path: Path, separator: str, named: str) -> None:
    rows = [["item_id", "category", "name, and more"], ["a", "coat", 'red, "new"; wide\t|'], ["b", "bag", "1,5"]]
    cells = [[cell if cell.isalpha() else json.dumps(cell).replace('\\"', '""') for cell in row] for row in rows]
    text = "\n".join(separator.join(cell.replace("\\t", "\t") for cell in row) for row in cells) + "\n"
    write_small(tmp_path, items=text, outfits="outfit_id,item_id\n1,a\n1,b\n")
    raw = read_tables(tmp_path, replace(PLAIN, text="{name, and more}"))
    assert [(item.item_id, item.text) for item in raw.items] == [("a", 'red, "new"; wide |'), ("b", "1,5")]
    assert raw.notes == [f"items.csv is separated by {named}"]
    (tmp_path / "items.csv").write_text(text + f"c{separator}hat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 4 has 2 fields where the header has 3"):
        read_tables(tmp_path, replace(PLAIN, text="{name, and more}"))


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;\r"], ids=["plain", "quoted", "capitals and CR"])
def test_the_separator_line_of_excel_is_heeded(tmp_path: Path, first: str) -> None:
    write_small(tmp_path, items=f"{first}\nitem_id;category;name\na;coat;x, y\nb;bag\n")
    with pytest.raises(DataError, match=r"line 4 has 2 fields"):
        read_tables(tmp_path, PLAIN)
    write_small(tmp_path, items=f"{first}\nitem_id;category;name\na;coat;x, y\nb;bag;z\nc;hat;\n")
    assert [item.text for item in read_tables(tmp_path, PLAIN).items] == ["x, y", "z", ""]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig"])
def test_a_table_is_read_in_the_encoding_its_mark_tells(tmp_path: Path, encoding: str) -> None:
    write_small(tmp_path)
    mark = "\ufeff" if encoding.endswith("-be") else ""
    (tmp_path / "items.csv").write_bytes(f"{mark}item_id,category,name\na,coat,\u00e9t\u00e9 \u20ac\n".encode(encoding))
    raw = read_tables(tmp_path, PLAIN)
    assert raw.items[0].text == "\u00e9t\u00e9 \u20ac"
    said = encoding.upper().removesuffix("-BE")
    assert raw.notes == ([] if encoding == "utf-8-sig" else [f"items.csv is in {said}"])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp1252"])
def test_an_encoding_that_nothing_tells_is_refused(tmp_path: Path, encoding: str) -> None:
    write_small(tmp_path)
    (tmp_path / "items.csv").write_bytes("item_id,category,name\na,coat,\u00e9t\u00e9\n".encode(encoding))
    with pytest.raises(DataError, match=r"items\.csv: line \d is not UTF-8 text; save the file as UTF-8"):
        read_tables(tmp_path, PLAIN)


@pytest.mark.parametrize("length", [131_073, 400_000])
def test_a_text_may_be_as_long_as_it_likes(tmp_path: Path, length: int) -> None:
    write_small(tmp_path, items=f'item_id,category,name\na,coat,{"x" * length}\nb,bag,"{"y " * length}"\nc,hat,z\n')
    assert [len(item.text) for item in read_tables(tmp_path, PLAIN).items] == [length, 2 * length - 1, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "item.csv",
            r"item\.csv does not exist; .*data\.tables\.items.*has no 'item\.csv' but 'items\.csv', 'outfits\.csv'",
        ),
        ("tables/items.csv", r"has no 'tables' but 'items\.csv', 'outfits\.csv'"),
        ("folder.csv", r"folder\.csv is a folder; set data\.tables\.items"),
    ],
)
def test_a_missing_table_says_what_is_there(tmp_path: Path, name: str, message: str) -> None:
    write_small(tmp_path)
    if name == "folder.csv":
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=message):
        read_tables(tmp_path, replace(PLAIN, items=name))
