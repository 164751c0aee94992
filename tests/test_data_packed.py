"""Images in Parquet files and tars, and other public forms: the data of the classic folders, and files with errors."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from huggingface_hub import constants
from PIL import Image
from pyarrow import parquet

from outfits.config.load import load_config
from outfits.config.schema.data import DataConfig, SplitConfig, TablesConfig
from outfits.data import packed_images
from outfits.data.dataset import OutfitDataset
from outfits.data.image_files import GROUPS, image_content, image_exists, parquet_place
from outfits.data.load import load_dataset
from outfits.encoders.content import image_digests
from outfits.encoders.images import ItemImages, item_image
from outfits.errors import ArtifactError, ConfigError, DataError
from tests import public_forms
from tests.layouts import OUTFITS, write_maryland_root, write_polyvore_root, write_tables_root
from tests.public_forms import as_cached, image_rows, taken_out, write_rows, write_tar

TABLES = TablesConfig(text="{colour} {name}", split="split")


def load(root: Path, format: str, **changes: object) -> OutfitDataset:
    split = changes.pop("split", SplitConfig(mode="official"))
    config = DataConfig(format=format, root=str(root), split=split, tables=TABLES)  # type: ignore[arg-type]
    return load_dataset(replace(config, **changes))  # type: ignore[arg-type]


def digests(dataset: OutfitDataset) -> dict[str, bytes]:
    catalogue = dataset.catalogue
    return dict(zip(catalogue.item_ids, image_digests(catalogue.image_paths), strict=True))


def described(dataset: OutfitDataset) -> dict[str, tuple[str, str]]:
    catalogue = dataset.catalogue
    names = [catalogue.category_names[code] for code in catalogue.categories.tolist()]
    return dict(zip(catalogue.item_ids, zip(names, catalogue.texts, strict=True), strict=True))


def outfits_of(dataset: OutfitDataset) -> set[tuple[str, frozenset[str], int]]:
    ids, outfits = dataset.catalogue.item_ids, dataset.outfits
    return {
        (outfits.outfit_ids[row], frozenset(ids[item] for item in items), int(outfits.split[row]))
        for row, items in enumerate(outfits)
    }


def same(one: OutfitDataset, other: OutfitDataset) -> None:
    """Asserts that two data sets have the same items, images to the byte, outfits, splits and official tasks."""
    assert digests(one) == digests(other)
    assert len(set(digests(one).values())) > 50
    assert described(one) == described(other)
    assert outfits_of(one) == outfits_of(other)
    assert (one.fitb, one.labelled) == (other.fitb, other.labelled)


def test_official_parquet_equals_the_classic_folder(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path / "folder")
    public_forms.write_official_parquet_root(tmp_path / "parquet")
    for variant in ("disjoint", "nondisjoint"):
        same(*(load(tmp_path / name, "polyvore_outfits", variant=variant) for name in ("folder", "parquet")))
    # both variants hold the images
    found = load(tmp_path / "parquet", "polyvore_outfits", variant="disjoint", on_repeated_image="error")
    assert not [note for note in found.notes if "listed twice" in note or "not found" in note]


@pytest.mark.parametrize("lines", [False, True])
def test_json_configurations_equal_the_classic_folder(tmp_path: Path, lines: bool) -> None:
    write_polyvore_root(tmp_path / "folder")
    public_forms.write_rows_root(tmp_path / "rows", lines=lines)
    for variant in ("disjoint", "nondisjoint"):
        one, other = (
            load(tmp_path / name, "polyvore_outfits", variant=variant, category_level="semantic")
            for name in ("folder", "rows")
        )
        same(one, other)
    (tmp_path / "rows" / "images").mkdir()
    same(one, load(tmp_path / "rows", "polyvore_outfits", variant=variant, category_level="semantic"))


@pytest.mark.parametrize(
    ("images", "repository", "pattern"),
    [
        ("hf://me/items", "hf://me/items", "**/*.parquet"),
        ("hf://me/items/data/*.tar", "hf://me/items", "data/*.tar"),
        ("hf://me/items@v1/data/*.tar", "hf://me/items@v1", "data/*.tar"),
        ("hf://me/items@refs/convert/parquet/default/*", "hf://me/items@refs/convert/parquet", "default/*"),
        ("hf://me/items@refs/pr/3", "hf://me/items@refs/pr/3", "**/*.parquet"),
    ],
)
def test_a_pattern_on_the_hub_may_name_a_revision(
    images: str, repository: str, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(packed_images, "hub_folder", lambda name, *_: asked.append(name) or tmp_path)
    assert packed_images._located(DataConfig(images=images)) == (tmp_path, pattern)
    assert asked == [repository]


def test_tables_on_the_hub_have_the_name_of_their_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    write_tables_root(tmp_path / "root")
    as_cached(tmp_path / "root", tmp_path / "cache", "dataset", "me/sets")
    config = DataConfig(format="tables", root="hf://me/sets", split=SplitConfig(mode="official"), tables=TABLES)
    assert load_dataset(config).name == "me/sets"


def test_marqos_images_join_marylands_text_files(tmp_path: Path) -> None:
    write_maryland_root(tmp_path / "folder")
    public_forms.write_marqo_root(tmp_path / "marqo")
    same(load(tmp_path / "folder", "maryland"), load(tmp_path / "marqo", "maryland"))


@pytest.mark.parametrize("kind", ["parquet", "tar"])
@pytest.mark.parametrize("format", ["maryland", "polyvore_outfits", "tables"])
def test_every_format_takes_images_from_packed_files(tmp_path: Path, format: str, kind: str) -> None:
    write = {"maryland": write_maryland_root, "polyvore_outfits": write_polyvore_root, "tables": write_tables_root}
    for name in ("folder", "packed"):
        write[format](tmp_path / name)
    images = taken_out(tmp_path / "packed" / ("photos" if format == "tables" else "images"))
    contents = {name.removesuffix(".jpg").replace("/", "_"): content for name, content in images.items()}
    if kind == "tar":
        members = {f"some/{name}.{end}": content for name, content in contents.items() for end in ("jpg", "json")}
        write_tar(tmp_path / "packed" / "shards" / "0.tar", members)
    else:
        rows = [{"key": name, "photo": content} for name, content in contents.items()]
        write_rows(tmp_path / "packed" / "shards" / "0.parquet", rows)
    of_folder = {"tables": replace(TABLES, image="image")} if format == "tables" else {}
    packed = load(tmp_path / "packed", format, images=f"shards/*.{kind}", image_id="key", image_column="photo")
    same(load(tmp_path / "folder", format, **of_folder), packed)
    assert packed.counts["images missing from disk"] == 0


def packed_root(root: Path, images: int = 40) -> dict[str, bytes]:
    """A root of tables whose images lie in two Parquet files of five rows a group, in an order of their own."""
    write_tables_root(root)
    contents = taken_out(root / "photos")
    names = sorted(contents, reverse=True)
    for number in range(2):
        rows = [{"item_id": name.removesuffix(".jpg"), "image": contents[name]} for name in names[number::2]]
        write_rows(root / "data" / f"{number}.parquet", rows, row_group_size=5)
    return contents


def test_a_pass_over_a_catalogue_decodes_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed_root(tmp_path)
    dataset = load(tmp_path, "tables", images="data/*.parquet")
    groups = 2 * -(-len(dataset.catalogue) // 2 // 5)
    for kept in (0, 2**28):  # bytes: the last two groups alone, and all
        monkeypatch.setattr("outfits.data.image_files.KEPT_BYTES", kept)
        GROUPS._kept.clear()
        before = GROUPS.loads
        for shard in range(len(images := ItemImages(dataset.catalogue, 7))):
            assert all(image is not None for image in images[shard].images)
        assert GROUPS.loads - before == groups
    rng = np.random.default_rng(0)
    for position in rng.permutation(len(dataset.catalogue)).tolist():  # at random, from what is kept
        image_content(dataset.catalogue.image_paths[position])  # type: ignore[arg-type]
    assert GROUPS.loads - before == groups


def test_a_packed_image_is_decoded_as_its_file_is(tmp_path: Path) -> None:
    contents = packed_root(tmp_path)
    dataset = load(tmp_path, "tables", images="data/*.parquet")
    for position in (0, 50, 127):
        item_id = dataset.catalogue.item_ids[position]
        found = item_image(dataset.catalogue.image_paths[position], item_id, draft_size=16)
        assert found is not None
        assert np.array_equal(found, Image.open(io.BytesIO(contents[f"{item_id}.jpg"])).convert("RGB"))


def test_ids_with_dots_find_their_images_in_tars(tmp_path: Path) -> None:
    write_tables_root(tmp_path)
    ids = ["SKU", "SKU.1", "SKU.2"]
    looks = sorted((tmp_path / "photos").iterdir())[:3]
    write_tar(tmp_path / "0.tar", {f"x/{item}.jpg": look.read_bytes() for item, look in zip(ids, looks, strict=True)})
    found = dict(packed_images.images_of(tmp_path / "0.tar", DataConfig()))
    assert [image_content(found[item]) for item in ids] == [look.read_bytes() for look in looks]


def test_broken_and_missing_images_follow_their_policies(tmp_path: Path) -> None:
    write_tables_root(tmp_path)
    contents = taken_out(tmp_path / "photos")
    rows = [{"item_id": name.removesuffix(".jpg"), "image": content} for name, content in contents.items()]
    rows[3]["image"], rows[4]["image"] = b"no image", None
    write_rows(tmp_path / "data" / "0.parquet", rows[:-2])
    with pytest.raises(DataError, match=r"does not exist; 3 such item\(s\).*data\.on_missing_image=mask"):
        load(tmp_path, "tables", images="data/*.parquet")
    dataset = load(tmp_path, "tables", images="data/*.parquet", on_missing_image="mask")
    assert dataset.counts["images missing from disk"] == 3
    catalogue = dataset.catalogue
    position = catalogue.positions[str(rows[3]["item_id"])]
    path, item_id = catalogue.image_paths[position], catalogue.item_ids[position]
    with pytest.raises(DataError, match=r"0\.parquet/image/3 cannot be decoded \(.*no image of a format that is known"):
        item_image(path, item_id)
    assert item_image(path, item_id, on_corrupt_image="mask") is None


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_a_row_without_bytes_is_a_missing_image(tmp_path: Path, nested: bool, statistics: bool) -> None:
    contents: list[bytes | None] = [b"a", None, b"b", b"c", None]
    rows = [{"image": {"bytes": content, "path": "x"} if nested else content} for content in contents]
    if nested:
        rows[4] = {"image": None}
    file = tmp_path / "0.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=2, write_statistics=statistics)
    paths = [parquet_place(file, "image", row) for row in range(len(rows))]
    assert [image_exists(path) for path in paths] == [content is not None for content in contents]
    assert [bool(digest) for digest in image_digests(paths)] == [content is not None for content in contents]
    assert image_content(paths[3]) == b"c"
    assert item_image(paths[1], "item", on_missing_image="mask") is None
    with pytest.raises(DataError, match=r"0\.parquet/image/4 is missing\. Set data\.on_missing_image=mask"):
        item_image(paths[4], "item")


def test_an_image_listed_twice_follows_its_policy(tmp_path: Path) -> None:
    contents = packed_root(tmp_path)
    name = min(contents)
    other = {"item_id": name.removesuffix(".jpg"), "image": b"another"}
    write_rows(tmp_path / "data" / "2.parquet", [other, {"item_id": "unknown", "image": b"x"}])
    dataset = load(tmp_path, "tables", images="data/*.parquet")
    path = dataset.catalogue.image_paths[dataset.catalogue.positions[str(other["item_id"])]]
    assert path is not None
    assert image_content(path) == contents[name]
    assert "images listed twice, of which the first is taken: 1" in dataset.notes
    assert "images of no item: 1" in dataset.notes
    with pytest.raises(DataError, match=r"more than one image .* 1 such image\(s\)\. Set data\.on_repeated"):
        load(tmp_path, "tables", images="data/*.parquet", on_repeated_image="error")


def one_row(**row: object) -> Callable[[Path], None]:
    return lambda path: write_rows(path, [row])


def no_parquet(path: Path) -> None:
    path.write_bytes(b"not parquet")


def no_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(__file__)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "0.parquet",
            lambda path: write_rows(path, [{"key": "1", "image": b""}]),
            "lacks the column 'item_id' or 'item_ID'",
        ),
        (
            "0.parquet",
            lambda path: write_rows(path, [{"item_id": "1", "photo": b""}]),
            "lacks the column 'image'; it has",
        ),
        ("0.parquet", lambda path: write_rows(path, [{"item_id": "1", "image": 3}]), "holds int64, not images' bytes"),
        ("0.parquet", no_parquet, r"0\.parquet is not a readable Parquet file"),
        ("0.tar", no_tar, r"0\.tar is no uncompressed tar"),
        ("0.txt", lambda path: path.write_text(""), r"data\.images: no file data/\*\.\[pt\]a\*"),
    ],
    ids=["no id", "no image", "no bytes", "no parquet", "compressed tar", "no file"],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write_tables_root(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / name)
    with pytest.raises(DataError, match=message):
        load(tmp_path, "tables", images="data/*.[pt]a*")


def test_a_table_of_items_without_category_is_named(tmp_path: Path) -> None:
    public_forms.write_rows_root(tmp_path)
    write_rows(tmp_path / "data" / "data-00000-of-00002.parquet", [{"item_id": "1", "image": b"", "title": "x"}])
    with pytest.raises(DataError, match=r"data-00000-of-00002\.parquet lacks the column 'category'; it has 'item_id'"):
        load(tmp_path, "polyvore_outfits", category_level="semantic")
    with pytest.raises(ConfigError, match=r"has no fine categories; set it to semantic"):
        load(tmp_path, "polyvore_outfits")


def test_a_data_set_on_the_hub_is_read_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public_forms.write_rows_root(tmp_path / "root")
    items = tmp_path / "items"
    items.mkdir()
    (tmp_path / "root" / "data").rename(items / "data")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    where = [
        "data=polyvore_outfits",
        "data.category_level=semantic",
        "data.split.mode=official",
        "data.root=hf://me/sets",
    ]
    config = load_config([*where, "data.images=hf://me/items/data/*.parquet"]).data
    with pytest.raises(
        ArtifactError, match=r"^artifact error: data\.root: hf://me/sets is not in the cache .* dataset$"
    ):
        load_dataset(config)
    as_cached(tmp_path / "root", tmp_path / "cache", "dataset", "me/sets")
    as_cached(items, tmp_path / "cache", "dataset", "me/items", branch=None)
    dataset = load_dataset(config)
    assert {split: len(dataset.outfits.of(split)) for split in OUTFITS} == OUTFITS
    assert all(path is not None and image_exists(path) for path in dataset.catalogue.image_paths)
    with pytest.raises(ConfigError, match=r"data\.images: 'hf://me' is not hf://ORG/NAME"):
        load_dataset(replace(config, images="hf://me"))


@pytest.mark.parametrize("name", ["pog", "iqon3000", "shift15m"])
def test_further_formats_have_every_outfit_and_item(tmp_path: Path, name: str) -> None:
    write_polyvore_root(tmp_path / "folder")
    getattr(public_forms, f"write_{name}_root")(tmp_path / name)
    grouped = SplitConfig(mode="grouped")
    one = load(tmp_path / "folder", "polyvore_outfits", variant="disjoint", split=grouped)
    other = load(tmp_path / name, name, split=grouped)
    assert {outfit[:2] for outfit in outfits_of(one)} == {outfit[:2] for outfit in outfits_of(other)}
    worn = {item for _, items, _ in outfits_of(one) for item in items}
    assert set(other.catalogue.item_ids) == worn
    if name != "shift15m":
        assert digests(other) == {item: digest for item, digest in digests(one).items() if item in worn}
        assert other.counts["items without text"] == 0
    assert len(other.catalogue.category_names) == 8


@pytest.mark.parametrize("name", ["pog", "iqon3000"])
def test_formats_with_users_have_the_outfits_of_each(tmp_path: Path, name: str) -> None:
    getattr(public_forms, f"write_{name}_root")(tmp_path / name)
    dataset = load(tmp_path / name, name, split=SplitConfig(mode="grouped", users="per_user"))
    expected: dict[str, set[str]] = {}
    for number, look in enumerate(public_forms.looks()):
        expected.setdefault(f"user{number % 3}", set()).add(look.set_id)
    users = dataset.users
    assert users is not None
    ids = dataset.outfits.outfit_ids
    assert {
        user: {ids[outfit] for outfit in users.liked(users.position(user), "train", "valid", "test")}
        for user in users.user_ids
    } == expected


def test_iqon3000_without_its_broken_files_and_absent_categories(tmp_path: Path) -> None:
    public_forms.write_iqon3000_root(tmp_path / "iqon3000")
    one, other = sorted((tmp_path / "iqon3000").glob("*/*/*.json"))[:2]
    whole = load(tmp_path / "iqon3000", "iqon3000", split=SplitConfig(mode="grouped"))
    one.write_text('{"setId": "1", "items": [')
    entry = json.loads(other.read_text())
    for item in entry["items"]:
        del item["category x color"]
    other.write_text(json.dumps(entry))
    dataset = load(tmp_path / "iqon3000", "iqon3000", split=SplitConfig(mode="grouped"))
    assert len(dataset.outfits) == len(whole.outfits) - 1
    assert "unknown" in dataset.catalogue.category_names
    assert any(note.startswith("files that are no JSON, left out: 1, the first user") for note in dataset.notes)


def test_pog_names_a_broken_line_of_its_users(tmp_path: Path) -> None:
    public_forms.write_pog_root(tmp_path / "pog")
    (tmp_path / "pog" / "user_data.txt").write_text("user0,1;2\n")
    with pytest.raises(DataError, match=r"user_data\.txt: line 1: 'user0,1;2' is not USER,ITEM;ITEM;…,OUTFIT"):
        load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped"))
    (tmp_path / "pog" / "user_data.txt").write_text("user0,1;2,gone\n")
    with pytest.raises(DataError, match=r"user user0 \(user_data\.txt line 1\): outfit 'gone' is not among"):
        load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped"))
    (tmp_path / "pog" / "user_data.txt").unlink()
    assert load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped")).users is None


def test_titles_of_pog_keep_their_commas_and_unworn_items_are_counted(tmp_path: Path) -> None:
    public_forms.write_pog_root(tmp_path / "pog")
    dataset = load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped"))
    assert all(text.endswith(", new, warm") for text in dataset.catalogue.texts)
    assert "items in no outfit, not read: 1" in dataset.notes
    (tmp_path / "pog" / "item_data.txt").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"item_data\.txt: line 1: '1,2,3' is not ITEM,CATEGORY,URL,TITLE"):
        load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped"))
    (tmp_path / "pog" / "item_data.txt").unlink()
    with pytest.raises(DataError, match=r"item_data\.txt does not exist; a root has outfit_data\.txt"):
        load(tmp_path / "pog", "pog", split=SplitConfig(mode="grouped"))


def test_likes_of_shift15m_score_outfits(tmp_path: Path) -> None:
    public_forms.write_shift15m_root(tmp_path)
    dataset = load(tmp_path, "shift15m", split=SplitConfig(mode="grouped"), likes=True, score_scale="rank")
    assert dataset.outfits.scores is not None
    assert len(set(dataset.outfits.scores.tolist())) == 7


def test_strict_official_splits_share_no_item_and_keep_the_test_split(tmp_path: Path) -> None:
    write_polyvore_root(tmp_path)
    loose = load(tmp_path, "polyvore_outfits", variant="disjoint")
    assert not any("official splits share" in note for note in loose.notes)
    path = tmp_path / "disjoint" / "train.json"
    shared = loose.catalogue.item_ids[loose.outfits.of("test")[0][0]]
    first = loose.outfits.of("train")
    text = path.read_text().replace(f'"{loose.catalogue.item_ids[first[0][0]]}"', f'"{shared}"')
    path.write_text(text)
    mixed = load(tmp_path, "polyvore_outfits", variant="disjoint")
    (note,) = [note for note in mixed.notes if "official splits share" in note]
    assert " 1 of 32 items of test in train; data.split.strict=true" in note
    strict = load(tmp_path, "polyvore_outfits", variant="disjoint", split=SplitConfig(mode="official", strict=True))
    of = {split: set(strict.outfits.of(split).items.tolist()) for split in OUTFITS}
    assert not of["train"] & (of["valid"] | of["test"])
    assert len(strict.outfits.of("test")) == OUTFITS["test"]
    left = strict.counts["outfits left out: items of two splits"]
    assert 0 < left == OUTFITS["train"] - len(strict.outfits.of("train"))
    assert strict.split_facts["strict"] is True
    with pytest.raises(ConfigError, match=r"data\.split\.strict: belongs to official splits, not to grouped"):
        load_config(["data.split.strict=true", "data.split.mode=grouped"])


def test_rows_with_an_image_as_datasets_writes_it_are_read(tmp_path: Path) -> None:
    write_tables_root(tmp_path)
    images = {path.stem: path for path in sorted((tmp_path / "photos").iterdir())}
    write_rows(tmp_path / "one.parquet", image_rows(images))
    dataset = load(tmp_path, "tables", images="one.parquet")
    assert digests(dataset) == digests(load(tmp_path, "tables", tables=replace(TABLES, image="image")))
