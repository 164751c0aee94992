"""The layouts of ``tests.layouts`` in the forms in which people get them today: Parquet, tars, JSON rows, raw files."""

import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.layouts import looks, write_json, write_maryland_root, write_polyvore_root

HASH = "0123456789abcdef0123456789abcdef01234567"
ROWS = 8  # of a row group


def write_rows(path: Path, rows: list[dict[str, Any]], row_group_size: int = ROWS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)


def image_rows(images: Mapping[str, Path], key: str = "item_id") -> list[dict[str, Any]]:
    """Rows of ids and images, as the ``datasets`` library writes an image."""
    return [{key: name, "image": {"bytes": path.read_bytes(), "path": path.name}} for name, path in images.items()]


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def taken_out(folder: Path) -> dict[str, bytes]:
    """Contents of a folder's files by path within it; the folder is removed."""
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}
    shutil.rmtree(folder)
    return contents


def write_official_parquet_root(root: Path) -> None:
    """The official files, images in ``data/VARIANT/{train,validation,test}.parquet`` in no particular order."""
    write_polyvore_root(root)
    images = {path.stem: path for path in sorted((root / "images").iterdir(), reverse=True)}
    for variant in ("disjoint", "nondisjoint"):
        for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
            entries = json.loads((root / variant / f"{split}.json").read_text())
            worn = {item["item_id"] for entry in entries for item in entry["items"]}
            every = variant == "nondisjoint" and split == "train"  # all items stand in one of its outfits
            mine = {item_id: path for item_id, path in images.items() if item_id in worn or every}
            write_rows(root / "data" / variant / f"{name}.parquet", image_rows(mine))
    shutil.rmtree(root / "images")


def write_rows_root(root: Path, *, lines: bool = False) -> None:
    """owj0421's form of Polyvore Outfits; ``lines`` writes the JSON files with a value a line."""
    write_polyvore_root(root)
    metadata = json.loads((root / "polyvore_item_metadata.json").read_text())
    rows = image_rows({item_id: root / "images" / f"{item_id}.jpg" for item_id in metadata})
    for row in rows:
        entry = metadata[row["item_id"]]
        row |= {name: entry[name] for name in ("title", "url_name", "description")}
        row["category"] = entry["semantic_category"]
    write_rows(root / "data" / "data-00000-of-00002.parquet", rows[:70])
    write_rows(root / "data" / "data-00001-of-00002.parquet", rows[70:])

    def write(path: Path, values: list[Any]) -> None:
        if lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
        else:
            write_json(path, values)

    for variant in ("disjoint", "nondisjoint"):
        for split in ("train", "valid", "test"):
            entries = json.loads((root / variant / f"{split}.json").read_text())
            write(root / f"{variant}_default" / f"{split}.json", entries)
            labelled = (root / variant / f"compatibility_{split}.txt").read_text().splitlines()
            write(
                root / f"{variant}_compatibility" / f"{split}.json",
                [{"label": line.split()[0], "items": line.split()[1:]} for line in labelled],
            )
            questions = json.loads((root / variant / f"fill_in_blank_{split}.json").read_text())
            write(root / f"{variant}_fill_in_the_blank" / f"{split}.json", [_question(each) for each in questions])
        shutil.rmtree(root / variant)
    shutil.rmtree(root / "images")
    for name in ("polyvore_item_metadata.json", "polyvore_outfit_titles.json", "categories.csv"):
        (root / name).unlink()


def _question(question: dict[str, Any]) -> dict[str, Any]:
    true = f"{question['question'][0].rpartition('_')[0]}_{question['blank_position']}"
    answers = question["answers"]
    return {"items": question["question"], "candidates": answers, "label": answers.index(true)}


def write_marqo_root(root: Path) -> None:
    """Maryland's text files beside Marqo's images: ``data/*.parquet`` with image, category, text and item_ID."""
    write_maryland_root(root)
    images = {f"{path.parent.name}_{path.stem}": path for path in sorted((root / "images").rglob("*.jpg"))}
    rows = [row | {"category": "x", "text": "y"} for row in image_rows(images, "item_ID")]
    for number in range(3):
        write_rows(root / "data" / f"data-0000{number}-of-00003.parquet", rows[number::3])
    shutil.rmtree(root / "images")


def write_pog_root(root: Path) -> None:
    """POG's raw files, with titles that hold commas and items of no outfit, and images of the items."""
    root.mkdir(parents=True)
    made = looks()
    (root / "outfit_data.txt").write_text(
        "".join(f"{look.set_id},{';'.join(garment.item_id for garment in look.garments)}\n" for look in made)
    )
    worn = {garment.item_id: garment for look in made for garment in look.garments}
    lines = [
        f"{item_id},{garment.category},//img.example/{item_id}.jpg,{garment.text}, new, warm\n"
        for item_id, garment in worn.items()
    ]
    (root / "item_data.txt").write_text("".join(lines) + "unworn,hat,//img.example/0.jpg,a hat\n")
    clicked = f"{made[0].garments[0].item_id};unworn"
    (root / "user_data.txt").write_text(
        "".join(f"user{number % 3},{clicked},{look.set_id}\n" for number, look in enumerate(made))
    )
    for item_id, garment in worn.items():
        garment.save_picture(root / "images" / f"{item_id}.jpg")


def write_iqon3000_root(root: Path) -> None:
    """IQON3000: ``USER/SETID/SETID.json`` and the images beside it."""
    for number, look in enumerate(looks()):
        folder = root / f"user{number % 3}" / look.set_id
        items = [
            {"itemId": garment.item_id, "itemName": garment.text, "category x color": f"{garment.category} × ブラック"}
            for garment in look.garments
        ]
        write_json(folder / f"{look.set_id}.json", {"setId": look.set_id, "likeCount": 3, "user": "u", "items": items})
        for garment in look.garments:
            garment.save_picture(folder / f"{garment.item_id}_m.jpg")


def write_shift15m_root(root: Path) -> None:
    """SHIFT15M's ``label/iqon_outfits.json``, prices twice as high for every further colour."""
    colours = ["red", "green", "blue", "sand"]
    outfits = [
        {
            "user": {"user_id": "1", "fav_brand_ids": ""},
            "like_num": str(number % 7),
            "set_id": look.set_id,
            "items": [
                {
                    "item_id": garment.item_id,
                    "category_id1": "10",
                    "category_id2": garment.category,
                    "price": str(1000 * 2 ** colours.index(garment.colour)),
                }
                for garment in look.garments
            ],
            "publish_date": "2015-01-01",
        }
        for number, look in enumerate(looks())
    ]
    write_json(root / "label" / "iqon_outfits.json", outfits)


def as_cached(folder: Path, cache: Path, kind: str, name: str, *, branch: str | None = "main") -> None:
    """Puts a folder into a cache as ``huggingface_hub`` lays it out, or ``datasets``, which notes no branch.

    ``kind`` is ``model`` or ``dataset``.
    """
    home = cache / f"{kind}s--{name.replace('/', '--')}"
    if branch is not None:
        (home / "refs").mkdir(parents=True)
        (home / "refs" / branch).write_text(HASH)
    (home / "snapshots").mkdir(parents=True)
    (home / "snapshots" / HASH).symlink_to(folder)
