"""FashionIQ's and FashionGen's files: items with splits of their own, and refinements."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outfits.config.schema.data import DataConfig, SplitConfig
from outfits.data.load import load_dataset
from outfits.errors import DataError

TRAIN = [
    {"candidate": f"A{number}", "target": f"A{(number + 1) % 8}", "captions": [f"is {number}", " "]}
    for number in range(8)
]
VAL = [{"candidate": "B0", "target": "B1", "captions": ["is red", "has dots"]}]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_images(root: Path, names: list[str]) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((20, 16, 3), 10 * number, dtype=np.uint8)).save(root / "images" / name)


@pytest.fixture
def fashion_iq(tmp_path: Path) -> Path:
    for name in ("dress", "shirt"):
        write(tmp_path / "captions" / f"cap.{name}.train.json", TRAIN)
        write(tmp_path / "captions" / f"cap.{name}.val.json", VAL)
        write(tmp_path / "image_splits" / f"split.{name}.train.json", [f"A{number}" for number in range(9)])
        write(tmp_path / "image_splits" / f"split.{name}.val.json", ["B0", "B1", "B2"])
    write_images(tmp_path, [*(f"A{number}.jpg" for number in range(9)), "B0.jpg", "B1.jpg", "B2.jpg"])
    return tmp_path


def test_fashion_iq_is_read_with_its_splits_and_refinements(fashion_iq: Path) -> None:
    dataset = load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq), split=SplitConfig(valid_share=0.3)))
    catalogue = dataset.catalogue
    assert catalogue.category_names == ["dress", "shirt"]
    assert len(catalogue) == 24  # an image of two classes is an item of each
    named = {split: [catalogue.item_ids[item] for item in items] for split, items in dataset.item_splits.items()}
    assert named["test"] == [f"{name}_B{number}" for name in ("dress", "shirt") for number in range(3)]
    assert len(named["train"]) == 18
    (test, other) = dataset.refinements["test"]
    assert (catalogue.item_ids[test.reference], catalogue.item_ids[test.target]) == ("dress_B0", "dress_B1")
    assert test.captions == ("is red", "has dots")
    assert catalogue.item_ids[other.reference] == "shirt_B0"
    learned, held = dataset.refinements["train"], dataset.refinements["valid"]
    assert len(learned) + len(held) == 16
    assert held
    assert learned[0].captions in {(f"is {number}",) for number in range(8)}
    in_valid = set(dataset.item_splits["valid"].tolist())
    assert in_valid == {item for one in held for item in (one.reference, one.target)}
    again = load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq), split=SplitConfig(valid_share=0.3)))
    assert again.refinements == dataset.refinements


def test_a_class_that_is_not_there_is_left_out(fashion_iq: Path) -> None:
    for path in fashion_iq.glob("*/*shirt*"):
        path.unlink()
    dataset = load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq)))
    assert dataset.catalogue.category_names == ["dress"]


def test_missing_images_of_fashion_iq_are_named_or_masked(fashion_iq: Path) -> None:
    (fashion_iq / "images" / "A3.jpg").unlink()
    with pytest.raises(DataError, match=r"A3\.jpg does not exist; 2 such item"):
        load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq)))
    masked = load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq), on_missing_image="mask"))
    assert masked.counts["images missing from disk"] == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"candidate": "A0", "target": "A1"}, "entry 0 has no field 'captions'"),
        ({"candidate": "A0", "target": "A1", "captions": [" "]}, "entry 0 has no caption"),
        ({"candidate": "A0", "target": "Z9", "captions": ["is red"]}, "entry 0: image 'Z9' is in no split.dress file"),
    ],
)
def test_broken_refinements_are_named(fashion_iq: Path, entry: dict[str, Any], message: str) -> None:
    write(fashion_iq / "captions" / "cap.dress.train.json", [entry])
    with pytest.raises(DataError) as error:
        load_dataset(DataConfig(format="fashion_iq", root=str(fashion_iq)))
    assert message in str(error.value)


def test_fashion_gen_has_an_item_for_every_photo(tmp_path: Path) -> None:
    products = [
        {"id": number, "title": f"Shirt {number}", "description": "A red shirt.", "subcategory_id": number % 2,
         "category_id": 1, "attributes_id": 3, "images": [f"{number}_0.png", f"{number}_1.png"]}
        for number in range(12)
    ]  # fmt: skip
    write(tmp_path / "train_info.json", products[:10])
    write(tmp_path / "val_info.json", products[10:])
    write_images(tmp_path, [name for product in products for name in product["images"]])
    dataset = load_dataset(DataConfig(format="fashion_gen", root=str(tmp_path), split=SplitConfig(valid_share=0.3)))
    catalogue = dataset.catalogue
    assert len(catalogue) == 24
    assert catalogue.category_names == ["subcategory 0", "subcategory 1"]
    assert catalogue.texts[0] == "Shirt 0. A red shirt"
    assert [catalogue.item_ids[item] for item in dataset.item_splits["test"]] == ["10_0", "10_1", "11_0", "11_1"]
    learned, held = (set(dataset.item_splits[split].tolist()) for split in ("train", "valid"))
    assert learned
    assert held
    assert learned | held == set(range(20))
    assert all((item ^ 1) in held for item in held)  # both photos of a product
    for split, shown in {"train": products[:10], "val": products[10:]}.items():  # as FAME-ViL has them
        (tmp_path / split).mkdir()
        for name in (name for product in shown for name in product["images"]):
            (tmp_path / "images" / name).rename(tmp_path / split / name)
    (tmp_path / "images").rmdir()
    config = DataConfig(format="fashion_gen", root=str(tmp_path), split=SplitConfig(valid_share=0.3))
    apart = load_dataset(config).catalogue.image_paths
    assert [path.parent.name for path in apart if path is not None] == ["train"] * 20 + ["val"] * 4
    shutil.rmtree(tmp_path / "val")
    assert any("not found and left out: val" in note for note in load_dataset(config).notes)
    del products[0]["title"]
    write(tmp_path / "train_info.json", products[:10])
    with pytest.raises(DataError, match="product 0 has no field 'title'"):
        load_dataset(DataConfig(format="fashion_gen", root=str(tmp_path)))
