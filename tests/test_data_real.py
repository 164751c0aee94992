"""The parsers on the official files and on MANGO: the numbers these are known to have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from outfits.config.schema.data import DataConfig, SplitConfig, TablesConfig
from outfits.data.cleaning import clean
from outfits.data.load import load_dataset
from outfits.data.maryland import read_maryland
from outfits.data.polyvore_outfits import read_category_names, read_compatibility_file, read_split_file
from outfits.data.tables import read_tables
from outfits.errors import DataError

RealData = Callable[[str], Path]


def mango(category: str) -> TablesConfig:
    return TablesConfig(
        items="product_data.csv",
        item_id="cod_modelo_color",
        category=category,
        image="des_filename",
        text="{des_color_specification_esp} {des_product_type}",
        outfits="outfit_data.csv",
        outfit_id="cod_outfit",
        outfit_item_id="cod_modelo_color",
    )


def test_maryland_validation_file(real_data: RealData) -> None:
    root = real_data("maryland")
    raw = read_maryland(root)
    assert (len(raw.outfits), len(raw.items)) == (1497, 9070)
    assert not any(item.category.startswith("category ") for item in raw.items)
    cleaned = clean(raw, DataConfig())
    assert cleaned.counts["outfits kept"] == 1497
    assert cleaned.counts["outfits kept with two items of one category"] == 399
    assert cleaned.counts["items without text"] == 202
    assert cleaned.counts["items without image"] == 9070


def test_maryland_validation_file_alone_has_no_official_training_split(real_data: RealData) -> None:
    root = str(real_data("maryland"))
    with pytest.raises(DataError, match="the train split is empty"):
        load_dataset(DataConfig(format="maryland", root=root, split=SplitConfig(mode="official")))
    dataset = load_dataset(DataConfig(format="maryland", root=root, split=SplitConfig(mode="disjoint")))
    assert dataset.split_facts["outfits"] == {"train": 1197, "valid": 150, "test": 150}


def test_polyvore_outfits_validation_files(real_data: RealData) -> None:
    root = real_data("polyvore_outfits")
    content = read_split_file(root / "valid.json", "valid")
    assert len(content.outfits) == 5000
    rows = read_compatibility_file(root / "compatibility_valid.txt", content.item_ids)  # raises if one does not resolve
    assert (len(rows), sum(row.compatible for row in rows)) == (10_000, 5000)
    sets = {frozenset(outfit.item_ids) for outfit in content.outfits}
    assert all(frozenset(row.item_ids) in sets for row in rows if row.compatible)
    names = read_category_names(root / "categories.csv")
    assert sum(fine == "dress" for fine, _ in names.values()) > 1


@pytest.mark.parametrize(("category", "share"), [("des_product_type", 0.147), ("des_product_family", 0.373)])
def test_mango_by_category_level(real_data: RealData, category: str, share: float) -> None:
    config = mango(category)
    counts = clean(read_tables(real_data("mango"), config), DataConfig(tables=config)).counts
    assert (counts["outfits read"], counts["outfits kept"], counts["items kept"]) == (7022, 6531, 9222)
    assert counts["outfits kept with two items of one category"] / 6531 == pytest.approx(share, abs=0.0005)
    assert counts["items without image"] == 0


@pytest.mark.parametrize(
    ("mode", "pairs_seen", "twin_share"),
    [("random", (0.30, 0.36), (0.16, 0.25)), ("grouped", (0.21, 0.27), (0, 0)), ("disjoint", (0, 0), (0, 0))],
)
def test_mango_split_facts(
    real_data: RealData, mode: str, pairs_seen: tuple[float, float], twin_share: tuple[float, float]
) -> None:
    root = str(real_data("mango"))
    config = DataConfig(format="tables", root=root, tables=mango("des_product_type"), split=SplitConfig(mode=mode))
    facts = load_dataset(config).split_facts
    assert isinstance(facts["pairs_seen"], float)
    assert isinstance(facts["twin_share"], float)
    assert pairs_seen[0] <= facts["pairs_seen"] <= pairs_seen[1]
    assert twin_share[0] <= facts["twin_share"] <= twin_share[1]
    assert isinstance(facts["left_out"], int)
    assert facts["left_out"] < 6531 * 0.55 if mode == "disjoint" else facts["left_out"] == 0
