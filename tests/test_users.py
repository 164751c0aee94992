"""Users and what they like: cleaning, splits, the layouts of data sets, and drawn users."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from outfits.config.schema.data import DataConfig, SplitConfig, SyntheticConfig, TablesConfig
from outfits.data.dataset import Interaction, OutfitDataset
from outfits.data.interactions import clean_interactions
from outfits.data.load import load_dataset, read
from outfits.data.outfits import Outfits
from outfits.data.synthetic import write_synthetic
from outfits.data.synthetic.tastes import FAVOURITES_WITHIN, Taste, read_tastes
from outfits.data.synthetic.wardrobe import CATEGORIES, COLOURS, Garment
from outfits.data.users import split_per_user, with_validation
from outfits.errors import DataError

OUTFITS = Outfits.from_lists(["a", "b", "c", "d"], [[0, 1], [2, 3], [0, 3], [1, 2]], [0, 0, 1, 2])
KEPT_AS = {name: name for name in "abcd"} | {"twin of a": "a", "small": "small"}


def pairs(*rows: tuple[str, str], split: str | None = None) -> list[Interaction]:
    return [Interaction(user, outfit, split, f"row {row}") for row, (user, outfit) in enumerate(rows)]


# Cleaning


def test_what_is_left_out_is_counted() -> None:
    read_pairs = pairs(("u", "a"), ("u", "twin of a"), ("v", "d"), ("w", "small"), ("v", "gone"))
    users, counts = clean_interactions(read_pairs, KEPT_AS, OUTFITS, DataConfig(on_missing_outfit="drop"))
    assert (users.user_ids, users.users.tolist(), users.outfits.tolist()) == (["u", "v"], [0, 1], [0, 3])
    assert users.split.tolist() == [0, 2]  # that of the outfits
    assert counts == {
        "likes read": 5,
        "likes left out: the data lack the outfit": 1,
        "likes left out: the outfit is left out": 1,
        "likes listed twice": 1,
        "likes kept": 2,
        "users read": 3,
        "users left out: no outfit": 1,
        "users kept": 2,
        "outfits of no user": 2,
    }


def test_an_outfit_that_the_data_lack_is_named() -> None:
    with pytest.raises(DataError, match=r"user v \(row 1\): outfit 'twin of b'.*did you mean twin of a?.*1 such row"):
        clean_interactions(pairs(("u", "a"), ("v", "twin of b")), KEPT_AS, OUTFITS, DataConfig())


def test_a_pair_of_two_splits_stays_furthest_from_training() -> None:
    twice = [*pairs(("u", "a"), split="test"), *pairs(("u", "a"), ("u", "b"), split="train")]
    users, _ = clean_interactions(twice, KEPT_AS, OUTFITS, DataConfig())
    assert users.split.tolist() == [2, 0]


def test_pairs_have_all_a_split_or_none() -> None:
    with pytest.raises(DataError, match="user v .*no split, while others have one; 1 such"):
        clean_interactions([*pairs(("u", "a"), split="train"), *pairs(("v", "b"))], KEPT_AS, OUTFITS, DataConfig())


def test_no_pair_left_is_an_error() -> None:
    with pytest.raises(DataError, match="no user likes an outfit that is kept, of 1 rows"):
        clean_interactions(pairs(("u", "small")), KEPT_AS, OUTFITS, DataConfig())


def test_users_are_looked_up_by_split() -> None:
    users, _ = clean_interactions(pairs(("u", "d"), ("u", "b"), ("v", "a"), ("u", "a")), KEPT_AS, OUTFITS, DataConfig())
    assert users.liked(0, "train").tolist() == [0, 1]
    assert users.pairs("test").tolist() == [[0], [3]]
    assert users.matrix("train", "test").toarray().tolist() == [[1, 1, 0, 1], [1, 0, 0, 0]]
    with pytest.raises(DataError, match="no user 'w'"):
        users.position("w")


# Splits


def test_a_share_of_each_users_latest_outfits_is_for_testing() -> None:
    users = np.repeat([0, 1, 2], [10, 20, 1])
    times = np.concatenate([np.arange(10)[::-1], np.arange(20), [5]]).astype(float)
    split = split_per_user(users, times, [0.8, 0.1, 0.1], 0)
    assert split[:10].tolist() == [2, 1, *[0] * 8]
    assert split[10:30].tolist() == [*[0] * 16, 1, 1, 2, 2]
    assert split[30] == 0  # training keeps at least one
    unknown = np.full(31, np.nan)
    drawn = split_per_user(users, unknown, [0.8, 0.1, 0.1], 0)
    assert np.bincount(drawn[:30]).tolist() == [24, 3, 3]
    assert drawn.tolist() == split_per_user(users, unknown, [0.8, 0.1, 0.1], 0).tolist()
    assert drawn.tolist() != split_per_user(users, unknown, [0.8, 0.1, 0.1], 1).tolist()


def test_users_of_few_outfits_are_tested_as_often_as_the_shares_say() -> None:
    users = np.repeat(np.arange(1000), 4)
    split = split_per_user(users, np.tile(np.arange(4.0), 1000), [0.8, 0.1, 0.1], 0)
    assert np.bincount(split) / 4000 == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    last, before = split.reshape(1000, 4)[:, 3], split.reshape(1000, 4)[:, :3]
    assert not ((before == 2).any(1) & (last != 2)).any()  # the latest is tested


def test_validation_comes_from_training_alone() -> None:
    moved = with_validation(["train"] * 1000 + ["test"] * 100, 0.1, 0)
    assert 60 < moved.count("valid") < 140
    assert moved[1000:] == ["test"] * 100


# Layouts


@pytest.fixture
def tables(tmp_path: Path) -> DataConfig:
    """A root in the layout of the tables, with users."""
    items = [f"i{number},{'shoe' if number % 2 else 'top'}" for number in range(12)]
    outfits = [f"o{number},i{(2 * number + side) % 12}" for number in range(6) for side in (0, 1)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,category", *items]) + "\n")
    (tmp_path / "outfits.csv").write_text("\n".join(["outfit_id,item_id", *outfits]) + "\n")
    likes = [
        f"u{number % 3},o{number},{split},{9 - number}" for number, split in enumerate(["train"] * 4 + ["val"] * 2)
    ]
    (tmp_path / "users.csv").write_text("\n".join(["user_id,outfit_id,split,when", *likes]) + "\n")
    named = TablesConfig(text="", users="users.csv", user_split="split", user_time="when")
    return DataConfig(format="tables", root=str(tmp_path), tables=named, split=SplitConfig(mode="random"))


def test_the_users_table_is_read(tables: DataConfig) -> None:
    data = load_dataset(tables)
    assert data.users is not None
    assert data.users.user_ids == ["u0", "u1", "u2"]
    assert [data.outfits.outfit_ids[outfit] for outfit in data.users.outfits] == [f"o{number}" for number in range(6)]
    assert data.users.split.tolist() == [0, 0, 0, 0, 1, 1]
    assert data.counts["likes kept"] == 6
    by_time = load_dataset(replace(tables, split=replace(tables.split, users="per_user", shares=[0.5, 0, 0.5])))
    assert by_time.users is not None
    assert by_time.users.split.tolist() == [2, 2, 2, 0, 0, 0]  # times fall from row to row
    without = load_dataset(replace(tables, tables=replace(tables.tables, users=None)))
    assert without.users is None
    assert not any("likes" in name for name in without.counts)


def test_a_table_without_rows_is_no_table_of_users(tables: DataConfig) -> None:
    (Path(tables.root) / "users.csv").write_text("user_id,outfit_id,split,when\n")
    with pytest.raises(DataError, match="users.csv has no rows; set data.tables.users=null"):
        load_dataset(tables)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (",o1,train,1", "users.csv line 8: column 'user_id' is empty"),
        ("u1,o1,later,1", "'later' in column 'split' is no split"),
        ("u1,o1,train,soon", "the time 'soon' is no number; 1 such"),
        ("u1,o77,train,1", "outfit 'o77' is not among the outfits"),
    ],
    ids=["user", "split", "time", "outfit"],
)
def test_a_bad_row_of_users_is_named(tables: DataConfig, row: str, error: str) -> None:
    with (Path(tables.root) / "users.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(DataError, match=error):
        load_dataset(tables)


def test_polyvore_u_tests_on_its_validation_file(tables: DataConfig) -> None:
    root = Path(tables.root)
    question = "user_id,outfit_id,given,candidates\nu1,o4,i8,i9 i1 i3\nu2,o5,i10,i11 i99 i3\n"
    (root / "fill_in_blank_valid.csv").write_text(question)
    config = replace(tables, format="polyvore_u", split=SplitConfig(mode="official", valid_share=0.5))
    data = load_dataset(config)
    assert data.users is not None
    splits = dict(zip(data.outfits.outfit_ids, data.outfits.split.tolist(), strict=True))
    assert {name for name, split in splits.items() if split == 2} == {"o4", "o5"}
    assert {splits[f"o{number}"] for number in range(4)} == {0, 1}
    assert data.users.split.tolist() == [splits[f"o{number}"] for number in range(6)]
    (kept,) = data.fitb["test"]  # an answer of the other is no item
    assert (kept.user_id, kept.answers[kept.correct]) == ("u1", "i9")
    (root / "users.csv").write_text("user_id,outfit_id,split\nu0,o0,train\n")
    with pytest.raises(DataError, match="outfit o1 .*has no user"):
        read(config)


def test_tuples_of_fashion_hash_net_are_outfits_of_users(tmp_path: Path) -> None:
    for category, count in (("top", 4), ("bottom", 3), ("shoe", 2)):
        (tmp_path / f"image_list_{category}").write_text("".join(f"{category}{n}.jpg\n" for n in range(count)))
    header = "user,top,top,bottom,shoe\n"
    (tmp_path / "tuples_train_posi").write_text(header + "0,0,1,2,0\n1,2,-1,0,1\n")
    (tmp_path / "tuples_val_posi").write_text(header + "0,3,-1,1,1\n")
    (tmp_path / "tuples_test_posi").write_text(header + "1,0,1,2,0\n1,3,-1,0,0\n")
    (tmp_path / "fill_in_blank_test").write_text("1,3,-1,0,0,1,3,-1,0,1,1,3,-1,1,0\n1,3,-1,0,0,1,2,-1,0,0\n")
    config = DataConfig(format="fashion_hash_net", root=str(tmp_path), split=SplitConfig(mode="official"))
    with pytest.raises(DataError, match="line 1: its outfits differ in more than one item"):
        read(config)
    columns = ",".join(["user,top,top,bottom,shoe"] * 4)  # as the published files have them
    (tmp_path / "fill_in_blank_test").write_text(f"{columns}\n1,3,-1,0,0,1,2,-1,0,0,1,0,-1,0,0,1,1,-1,0,0\n")
    raw = read(config)
    assert raw.outfits[0].item_ids == ("top_0", "top_1", "bottom_2", "shoe_0")
    assert raw.outfits[1].item_ids == ("top_2", "bottom_0", "shoe_1")
    likes = [(pair.user_id, pair.outfit_id, pair.split) for pair in raw.interactions]
    assert likes == [
        ("0", "0", "train"),
        ("1", "1", "train"),
        ("0", "2", "valid"),
        ("1", "0", "test"),
        ("1", "3", "test"),
    ]
    (question,) = raw.fitb["test"]
    assert (question.user_id, set(question.question)) == ("1", {"bottom_0", "shoe_0"})
    assert question.answers == ("top_3", "top_2", "top_0", "top_1")
    (tmp_path / "tuples_val_posi").write_text(header + "0,3,-1,1,7\n")
    with pytest.raises(DataError, match="tuples_val_posi, line 2: .*names no shoe"):
        read(config)
    (tmp_path / "tuples_val_posi").write_text(header + "0\n")
    with pytest.raises(DataError, match="tuples_val_posi, line 2: '' has not an item for each of top,top,bottom,shoe"):
        read(config)
    (tmp_path / "image_list_top").write_text("top0.jpg\n\ntop1.jpg\n")
    with pytest.raises(DataError, match="image_list_top: line 2 is blank"):
        read(config)


def test_the_layout_of_hfgn_keeps_a_share_for_validation(tmp_path: Path) -> None:
    (tmp_path / "new_fltb").mkdir()
    (tmp_path / "new_fltb/fltb_item_cate2.txt").write_text("".join(f"{n} {n % 3}\n" for n in range(60)))
    (tmp_path / "new_fltb/fltb_train_outfit_item.txt").write_text(
        "".join(f"{n} {3 * n % 60} {(3 * n + 1) % 60} {(3 * n + 2) % 60}\n" for n in range(20))
    )
    (tmp_path / "train_uo.txt").write_text(
        "".join(f"{u} {' '.join(str((u + n) % 20) for n in range(8))}\n" for u in range(9))
    )
    (tmp_path / "test_uo.txt").write_text("".join(f"{u} {(u + 11) % 20}\n" for u in range(9)))
    lines = [
        "90;3;1;0,10,2,-1;0,4,2,-1;0,7,2,-1;0,2,2,-1",  # padded; a wrong answer stands in the outfit already
        "91;3;1;0,1,2,-1;0,4,2,-1;0,7,2,-1;0,13,2,-1",  # its true outfit is one of the outfits
        "92;3;1;0,16,2,-1;0,4,5,-1;0,7,2,-1;0,13,2,-1",  # differs in two places
    ]
    (tmp_path / "new_fltb/fltb_test.txt").write_text("\n".join(lines))
    config = DataConfig(format="hfgn", root=str(tmp_path), split=SplitConfig(mode="random", valid_share=0.2))
    data = load_dataset(config)
    assert data.users is not None
    counts = np.bincount(data.users.split)
    assert counts[2] == 9
    assert 5 <= counts[1] <= 25
    assert counts.sum() == 81
    (question,) = data.fitb["test"]  # asked whatever the mode of splitting
    assert (question.question, question.answers) == (("0", "2"), ("10", "4", "7", "2"))
    assert any(note.endswith("left out: 2") for note in data.notes)
    (tmp_path / "new_fltb/fltb_test.txt").write_text("0,1,2;0,4,2\n")
    with pytest.raises(DataError, match="fltb_test.txt: line 1: '0,1,2;0,4,2' is not OUTFIT;LENGTH;PLACE"):
        read(config)
    (tmp_path / "test_uo.txt").write_text("5\n")
    with pytest.raises(DataError, match="test_uo.txt: line 1 has the id '5' alone"):
        read(config)


@pytest.mark.slow
def test_the_real_polyvore_u_is_as_described() -> None:
    root = Path(os.environ.get("OUTFIT_DATA", "")) / "polyvore_u"
    if not (root / "users.csv").is_file():
        pytest.skip("OUTFIT_DATA names no folder with polyvore_u")
    data = load_dataset(DataConfig(format="polyvore_u", root=str(root), split=SplitConfig(mode="official")))
    assert data.users is not None
    assert (len(data.users), len(data.outfits)) == (517, 30_275)
    assert (data.users.split == 2).sum() == 3356
    assert np.bincount(data.users.outfits).max() == 1


# Drawn users

SMALL = SyntheticConfig(items=120, outfits=80, image_size=16)


def drawn(root: Path, users: int) -> OutfitDataset:
    settings = replace(SMALL, users=users)
    return load_dataset(DataConfig(root=str(root), split=SplitConfig(mode="official"), synthetic=settings))


def test_without_users_the_files_are_what_they_were(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "none", SMALL)
    write_synthetic(tmp_path / "some", replace(SMALL, users=5))
    names = {path.relative_to(tmp_path / "none") for path in (tmp_path / "none").rglob("*") if path.is_file()}
    others = {path.relative_to(tmp_path / "some") for path in (tmp_path / "some").rglob("*") if path.is_file()}
    assert {str(path) for path in others - names} == {"users.csv", "tastes.csv"}
    for name in names:
        same = (tmp_path / "none" / name).read_bytes() == (tmp_path / "some" / name).read_bytes()
        assert same == (name.name != "synthetic.json")
    assert "users" not in (tmp_path / "none" / "synthetic.json").read_text()
    assert load_dataset(DataConfig(root=str(tmp_path / "none"), synthetic=SMALL)).users is None


def test_drawn_users_like_what_fits_their_taste(tmp_path: Path) -> None:
    data = drawn(tmp_path / "data", 30)
    assert data.users is not None
    attributes, tastes = data.catalogue.attributes, read_tastes(tmp_path / "data")
    hues = {colour.name: colour.hue for colour in COLOURS}

    def fitting(taste: Taste, item: int) -> bool:
        hue = hues[attributes["colour"][item]]
        near = hue is None or abs((hue - taste.hue + 180) % 360 - 180) <= FAVOURITES_WITHIN
        cheap = int(attributes["formality"][item]) <= taste.level
        return (
            near
            and cheap
            and attributes["style"][item] == taste.style
            and attributes["shape"][item] not in taste.unworn
        )

    liked, all_outfits = [], []
    for user, name in enumerate(data.users.user_ids):
        shares = np.array([np.mean([fitting(tastes[name], int(item)) for item in items]) for items in data.outfits])
        liked.append(shares[data.users.liked(user, "train", "valid", "test")].mean())
        all_outfits.append(shares.mean())
    assert np.mean(liked) > 2 * np.mean(all_outfits)
    assert not any("taste" in name for name in attributes)


def test_a_garment_fits_by_style_colour_level_and_category() -> None:
    red, blue, grey = (next(colour for colour in COLOURS if colour.name == name) for name in ("red", "blue", "grey"))
    belts, bags = (next(n for n, kind in enumerate(CATEGORIES) if kind.name == name) for name in ("Belts", "Bags"))
    garment = Garment(bags, "casual", 1, 0, red, "", "plain", 0)
    taste = Taste("casual", 0.0, 1, ("Belts",))
    assert taste.fits(garment)
    assert taste.fits(replace(garment, colour=grey))
    assert not taste.fits(replace(garment, colour=blue))
    assert not taste.fits(replace(garment, style="boho"))
    assert not taste.fits(replace(garment, formality=2))
    assert not taste.fits(replace(garment, category=belts))
