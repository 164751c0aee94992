"""From a configuration to a clean, split data set, in every format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from outfits.config.schema.data import DataConfig, SplitConfig, SyntheticConfig, TablesConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.load import load_dataset, read
from outfits.errors import DataError
from tests.layouts import OUTFITS, garments, write_maryland_root, write_polyvore_root, write_tables_root

TABLES = TablesConfig(image="image", text="{colour} {name}", split="split")


def sizes(dataset: OutfitDataset) -> dict[str, int]:
    return {split: len(dataset.outfits.of(split)) for split in OUTFITS}


def load(root: Path, format: str, mode: str = "official", **changes: object) -> OutfitDataset:
    write = {"maryland": write_maryland_root, "polyvore_outfits": write_polyvore_root, "tables": write_tables_root}
    if not root.exists():
        write[format](root)
    split = SplitConfig(mode=mode)
    return load_dataset(DataConfig(format=format, root=str(root), split=split, tables=TABLES, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["maryland", "polyvore_outfits", "tables"])
def test_official_split_of_a_full_root_is_large_enough_to_train_on(tmp_path: Path, format: str) -> None:
    dataset = load(tmp_path / "root", format)
    assert sizes(dataset) == OUTFITS
    assert len(dataset.catalogue) >= 60
    assert dataset.counts["items without image"] == 0
    for split in OUTFITS:
        outfits = dataset.outfits.of(split)
        categories = dataset.catalogue.categories[outfits.items]
        assert outfits.sizes.min() >= 4
        assert len(set(categories.tolist())) >= 6
    assert dataset.split_facts["outfits"] == OUTFITS


def test_official_tasks_come_with_the_official_split_only(tmp_path: Path) -> None:
    official = load(tmp_path / "root", "polyvore_outfits")
    assert {split: len(tasks) for split, tasks in official.fitb.items()} == OUTFITS
    assert official.counts["official compatibility rows kept"] == 2 * sum(OUTFITS.values())
    grouped = load(tmp_path / "root", "polyvore_outfits", "grouped")
    assert (grouped.fitb, grouped.labelled) == ({}, {})
    assert grouped.counts["official fill-in-the-blank questions read"] == sum(OUTFITS.values())
    assert grouped.counts["official fill-in-the-blank questions kept"] == 0


def test_tasks_on_items_outside_a_limited_catalogue_are_dropped_and_counted(tmp_path: Path) -> None:
    whole, limited = (load(tmp_path / "root", "maryland", limit=limit) for limit in (None, 24))
    known = set(limited.catalogue.item_ids)
    expected = [task for task in whole.fitb["test"] if known >= {*task.question, *task.answers}]
    assert limited.fitb["test"] == expected
    assert limited.counts["official fill-in-the-blank questions kept"] == len(expected) < OUTFITS["test"]
    assert len(limited.outfits) == 24


def test_catalogue_keeps_items_of_no_outfit_in_file_order(tmp_path: Path) -> None:
    dataset = load(tmp_path / "root", "tables", "grouped")
    assert list(dataset.catalogue.item_ids) == [garment.item_id for garment in garments()]
    used = set(dataset.outfits.items.tolist())
    assert dataset.counts["items in no outfit"] == len(dataset.catalogue) - len(used)


def test_outfits_that_disjoint_leaves_out_are_counted(tmp_path: Path) -> None:
    dataset = load(tmp_path / "root", "tables", "disjoint")
    counts = dataset.counts
    assert counts["outfits left out: items of two splits"] == dataset.split_facts["left_out"]
    assert counts["outfits kept"] == len(dataset.outfits) == counts["outfits read"] - dataset.split_facts["left_out"]
    assert (dataset.split_facts["pairs_seen"], dataset.split_facts["twin_share"]) == (0, 0)


def test_disjoint_variant_of_polyvore_outfits_shares_no_pair(tmp_path: Path) -> None:
    seen = {
        v: load(tmp_path / "root", "polyvore_outfits", variant=v).split_facts["pairs_seen"]
        for v in ("disjoint", "nondisjoint")
    }
    assert seen["disjoint"] == 0
    assert isinstance(seen["nondisjoint"], float)
    assert seen["nondisjoint"] > 0


def test_loading_twice_gives_the_same_data_set(tmp_path: Path) -> None:
    first, second = (load(tmp_path / "root", "polyvore_outfits", "grouped", variant="nondisjoint") for _ in range(2))
    assert np.array_equal(first.outfits.split, second.outfits.split)
    assert np.array_equal(first.outfits.items, second.outfits.items)
    assert first.split_facts == second.split_facts


def test_one_missing_picture_names_itself_and_can_be_masked(tmp_path: Path) -> None:
    write_maryland_root(tmp_path / "root")
    gone = sorted((tmp_path / "root" / "images").rglob("*.jpg"))[5]
    gone.unlink()
    with pytest.raises(DataError, match=rf"{gone.parent.name}/{gone.name} does not exist; 1 such"):
        load(tmp_path / "root", "maryland")
    assert load(tmp_path / "root", "maryland", on_missing_image="mask").counts["items without image"] == 1


def test_synthetic_root_is_written_once_and_read_as_a_real_one(tmp_path: Path) -> None:
    config = DataConfig(
        root=str(tmp_path / "synthetic"),
        split=SplitConfig(mode="official"),
        synthetic=SyntheticConfig(items=60, outfits=60, image_size=16),
    )
    first = load_dataset(config)
    stamps = {path: path.stat().st_mtime_ns for path in Path(config.root).rglob("*") if path.is_file()}
    second = load_dataset(config)
    assert first.name == "synthetic"
    assert stamps == {path: path.stat().st_mtime_ns for path in Path(config.root).rglob("*") if path.is_file()}
    assert np.array_equal(first.outfits.items, second.outfits.items)
    assert len(first.fitb["test"]) > 0


def test_factors_of_the_synthetic_set_are_the_attributes_of_its_catalogue(tmp_path: Path) -> None:
    config = DataConfig(
        root=str(tmp_path / "synthetic"),
        limit=20,
        split=SplitConfig(mode="official"),
        synthetic=SyntheticConfig(items=60, outfits=60, image_size=16, vary=1),
    )
    catalogue = load_dataset(config).catalogue
    frame = pd.read_csv(tmp_path / "synthetic" / "factors.csv", dtype=str, index_col="item_id")
    assert len(frame) > len(catalogue)
    assert list(catalogue.attributes) == list(frame.columns)
    for name, values in catalogue.attributes.items():
        assert list(values) == frame.loc[list(catalogue.item_ids), name].tolist()
    assert list(catalogue.attributes["shape"]) == [catalogue.category_names[code] for code in catalogue.categories]
    assert {"size", "horizontal", "vertical"} < set(catalogue.attributes)


def test_factors_that_lack_an_item_name_it_and_the_way_out(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    config = DataConfig(root=str(root), synthetic=SyntheticConfig(items=60, outfits=60, image_size=16))
    read(config)
    header, first, *others = (root / "factors.csv").read_text().splitlines(keepends=True)
    (root / "factors.csv").write_text(header + "".join(others))
    with pytest.raises(DataError, match=rf"lacks item '{first.split(',')[0]}'; 1 such item\(s\)\. Delete .*run again"):
        read(config)


def test_columns_of_tables_are_the_attributes_of_the_catalogue(tmp_path: Path) -> None:
    write_tables_root(tmp_path / "root")
    tables = replace(TABLES, attributes=["colour"])
    config = DataConfig(format="tables", root=str(tmp_path / "root"), split=SplitConfig(mode="official"), tables=tables)
    assert load_dataset(config).catalogue.attributes == {"colour": [garment.colour for garment in garments()]}


@pytest.mark.parametrize("format", ["maryland", "polyvore_outfits", "tables"])
def test_missing_root_says_which_key_to_set(tmp_path: Path, format: str) -> None:
    with pytest.raises(
        DataError, match=rf"nowhere is not a folder; set data\.root to the folder of the {format} data set"
    ):
        load_dataset(DataConfig(format=format, root=str(tmp_path / "nowhere")))


def balanced(line: str) -> bool:
    """Whether every parenthesis of a line is opened and closed."""
    depth = 0
    for letter in line:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize(
    ("mode", "shares", "way_out"),
    [
        ("official", [0.8, 0.1, 0.1], "set data.split.mode=grouped to draw a seeded split"),
        ("grouped", [0.9998, 0.0001, 0.0001], "set data.split.shares so that it gets outfits"),
        ("disjoint", [0.9998, 0.0001, 0.0001], "set data.split.mode=grouped"),
    ],
)
def test_an_empty_split_says_first_what_was_dropped(
    tmp_path: Path, mode: str, shares: list[float], way_out: str
) -> None:
    write_tables_root(tmp_path, images=False)
    lines = (tmp_path / "outfits.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    gone = [line.replace(",10", ",x10").replace(",11", ",x11") if line.endswith("test\n") else line for line in lines]
    (tmp_path / "outfits.csv").write_text("".join(gone), encoding="utf-8")
    tables = replace(TABLES, image=None)
    split = SplitConfig(mode=mode, shares=shares)
    limit = 2 if mode == "grouped" else None  # two outfits cannot fill three splits
    config = DataConfig(
        format="tables", root=str(tmp_path), split=split, tables=tables, on_missing_item="drop", limit=limit
    )
    with pytest.raises(DataError, match="split is empty") as caught:
        load_dataset(config)
    line = str(caught.value)
    assert balanced(line)
    assert way_out in line
    assert "; before splitting: mentions of items not in the catalogue, dropped " in line
    assert "outfits left out: too few items 12" in line


@pytest.mark.parametrize("place", ["nowhere", "nowhere/deeper"])
def test_a_missing_root_says_what_is_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "now-here").mkdir()
    with pytest.raises(DataError, match=rf"; {tmp_path} has no 'nowhere' but 'now-here/'$"):
        load_dataset(DataConfig(format="tables", root=str(tmp_path / place)))


def test_notes_of_parser_and_cleaning_reach_the_data_set(tmp_path: Path) -> None:
    write_maryland_root(tmp_path / "root", images=False)
    notes = load(tmp_path / "root", "maryland").notes
    assert [note.partition(";")[0] for note in notes] == ["not found and left out: images", "8 categories"]
