"""The synthetic data set on disk: a complete Maryland root, the same for the same seed, whole or not there."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outfits.config.schema.data import SyntheticConfig
from outfits.data.maryland import read_maryland
from outfits.data.synthetic import is_complete, read_factors, write_synthetic, writing
from outfits.data.synthetic.drawing import draw_garment
from outfits.data.synthetic.placement import PLACES, SIZES, Placement, draw_placements
from outfits.data.synthetic.rules import Stylist
from outfits.data.synthetic.wardrobe import COLOURS, Garment, make_wardrobe
from outfits.errors import DataError

TINY = SyntheticConfig(items=80, outfits=70, image_size=24, seed=5)
VARIED = replace(TINY, vary=1.0)
FACTORS = ["shape", "style", "warmth", "formality", "colour", "shade", "pattern", "variant"]
PLACEMENT = ["size", "horizontal", "vertical"]


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "root"
    write_synthetic(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("varied") / "root"
    write_synthetic(folder, VARIED)
    return folder


@pytest.fixture(scope="module")
def garments(root: Path) -> dict[str, tuple[int, Garment]]:
    """Position in the wardrobe and garment of every item id, made again from the streams of the seed."""
    wardrobe = make_wardrobe(TINY.items, np.random.default_rng([TINY.seed, writing._WARDROBE]))
    stylist = Stylist(wardrobe, np.random.default_rng([TINY.seed, writing._OUTFITS]))
    named = [outfit.item_ids for outfit in sorted(read_maryland(root).outfits, key=lambda outfit: outfit.outfit_id)]
    return {
        item_id: (garment, wardrobe[garment])
        for item_ids, outfit in zip(named, stylist.outfits(TINY.outfits), strict=True)
        for item_id, garment in zip(item_ids, outfit, strict=True)
    }


def _picture(root: Path, item_id: str) -> Path:
    set_id, _, index = item_id.partition("_")
    return root / "images" / set_id / f"{index}.jpg"


def _box(path: Path) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is not white; JPEG's noise around it does not count."""
    with Image.open(path) as image:
        drawn = np.asarray(image.convert("L")) < 230
    columns, rows = np.flatnonzero(drawn.any(axis=0)), np.flatnonzero(drawn.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.fixture(scope="module")
def splits(root: Path) -> dict[str, Any]:
    return {split: json.loads((root / f"{split}_no_dup.json").read_text()) for split in ("train", "valid", "test")}


def test_same_seed_same_bytes(root: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "again", TINY)
    assert _contents(tmp_path / "again") == _contents(root)


def test_another_seed_is_another_data_set(root: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "other", replace(TINY, seed=6))
    ours, others = _contents(root), _contents(tmp_path / "other")
    assert ours["train_no_dup.json"] != others["train_no_dup.json"]
    shared = [name for name in ours.keys() & others.keys() if name.endswith(".jpg")]
    assert np.mean([ours[name] != others[name] for name in shared]) > 0.9


def test_splits_are_eighty_ten_ten_and_share_no_outfit(splits: dict[str, Any]) -> None:
    assert {split: len(sets) for split, sets in splits.items()} == {"train": 56, "valid": 7, "test": 7}
    set_ids = [entry["set_id"] for sets in splits.values() for entry in sets]
    assert len(set(set_ids)) == TINY.outfits


def test_outfits_have_the_fields_of_the_official_files(splits: dict[str, Any], root: Path) -> None:
    categories = dict(line.split(" ", 1) for line in (root / "category_id.txt").read_text().splitlines())
    for entry in (entry for sets in splits.values() for entry in sets):
        expected = {"name", "views", "items", "image", "likes", "date", "set_url", "set_id", "desc"}
        assert entry.keys() == expected
        indices = [item["index"] for item in entry["items"]]
        assert indices == sorted(set(indices))
        for item in entry["items"]:
            assert item.keys() == {"index", "name", "price", "likes", "image", "categoryid"}
            assert str(item["categoryid"]) in categories


def test_every_item_has_a_picture_that_opens(splits: dict[str, Any], root: Path) -> None:
    for entry in (entry for sets in splits.values() for entry in sets):
        for item in entry["items"]:
            with Image.open(root / "images" / entry["set_id"] / f"{item['index']}.jpg") as image:
                assert image.format == "JPEG"
                assert np.asarray(image.convert("RGB")).shape == (24, 24, 3)


def test_the_maryland_parser_reads_it_whole(root: Path) -> None:
    dataset = read_maryland(root)
    assert len(dataset.outfits) == TINY.outfits
    assert len({item.item_id for item in dataset.items}) == len(dataset.items)
    assert all(item.image_path is not None and item.image_path.is_file() for item in dataset.items)
    assert len(dataset.fitb["test"]) == 7
    assert len(dataset.labelled["test"]) == 14


def test_the_first_answer_completes_the_question_to_an_outfit_of_the_test_split(
    splits: dict[str, Any], root: Path
) -> None:
    outfits = [[f"{entry['set_id']}_{item['index']}" for item in entry["items"]] for entry in splits["test"]]
    items = {item for outfit in outfits for item in outfit}
    questions = json.loads((root / "fill_in_blank_test.json").read_text())
    for question, outfit in zip(questions, outfits, strict=True):
        assert len(set(question["answers"])) == 4
        assert set(question["answers"]) <= items
        place = question["blank_position"] - 1
        assert [*question["question"][:place], question["answers"][0], *question["question"][place:]] == outfit
        assert not set(question["answers"][1:]) & set(outfit)


def test_half_of_the_labelled_sets_are_the_test_outfits(splits: dict[str, Any], root: Path) -> None:
    outfits = {frozenset(f"{entry['set_id']}_{item['index']}" for item in entry["items"]) for entry in splits["test"]}
    rows = [line.split() for line in (root / "fashion_compatibility_prediction.txt").read_text().splitlines()]
    assert {frozenset(row[1:]) for row in rows if row[0] == "1"} == outfits
    assert sum(row[0] == "0" for row in rows) == len(outfits)
    assert not {frozenset(row[1:]) for row in rows if row[0] == "0"} & outfits


def test_pictures_tell_style_colour_and_pattern_apart() -> None:
    garment = make_wardrobe(60, np.random.default_rng(0))[0]
    plain = np.asarray(draw_garment(replace(garment, pattern="plain"), 48, np.random.default_rng(0)), np.float64)
    for other in (replace(garment, pattern="checks"), replace(garment, pattern="plain", style="boho")):
        image = np.asarray(draw_garment(other, 48, np.random.default_rng(0)), np.float64)
        assert np.abs(image - plain).mean() > 5
    corners = plain[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 250).all()
    assert (plain.min(axis=2) < 250).mean() > 0.1


def test_a_complete_root_is_left_as_it_is(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_synthetic(root, TINY)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("stage", ["_dump", "_write_pictures"])
def test_a_write_that_breaks_off_leaves_nothing_and_a_rerun_completes(
    stage: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setattr(writing, stage, fail)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(folder, TINY)
    assert not folder.exists()
    assert not is_complete(folder, TINY)
    write_synthetic(folder, TINY)
    assert is_complete(folder, TINY)
    assert _contents(folder) == _contents(root)


def test_what_a_killed_write_left_is_never_taken_for_complete(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    remains = tmp_path / ".root.4711-00000000.part"
    (remains / "images").mkdir(parents=True)
    (remains / "train_no_dup.json").write_text("[")
    assert not is_complete(folder, TINY)
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)
    assert remains.exists()


def test_other_settings_are_an_error_that_names_them(root: Path) -> None:
    before = _contents(root)
    other = replace(TINY, outfits=90)
    assert not is_complete(root, other)
    with pytest.raises(DataError, match=r"outfits=70 not 90\); set data\.root to another folder") as error:
        write_synthetic(root, other)
    assert "\n" not in str(error.value)
    assert _contents(root) == before


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "train_no_dup.json").write_text("[]")
    with pytest.raises(DataError, match="is no synthetic data set"):
        write_synthetic(tmp_path, TINY)
    assert _contents(tmp_path) == {"train_no_dup.json": b"[]"}


@pytest.mark.parametrize("name", ["category_id.txt", "factors.csv"])
def test_a_root_that_lost_a_file_is_an_error(name: str, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "root", TINY)
    (tmp_path / "root" / name).unlink()
    assert not is_complete(tmp_path / "root", TINY)
    with pytest.raises(DataError, match=rf"without {name}; delete the folder"):
        write_synthetic(tmp_path / "root", TINY)


def test_an_empty_folder_is_filled(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)


def test_losing_the_race_ends_with_the_winners_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root"
    draw: Callable[..., None] = writing._write_pictures

    def draw_while_another_finishes(*arguments: Any) -> None:
        draw(*arguments)
        monkeypatch.undo()
        write_synthetic(folder, TINY)

    monkeypatch.setattr(writing, "_write_pictures", draw_while_another_finishes)
    write_synthetic(folder, TINY)
    assert _contents(folder) == _contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_two_processes_at_once_both_end_with_a_complete_root(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for outcome in [pool.submit(write_synthetic, folder, TINY) for _ in range(2)]:
            outcome.result()
    assert _contents(folder) == _contents(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_pictures_that_do_not_vary_are_the_garments_as_drawn(
    root: Path, garments: dict[str, tuple[int, Garment]]
) -> None:
    for item_id, (position, garment) in list(garments.items())[:40]:
        drawn = draw_garment(garment, 24, np.random.default_rng([TINY.seed, writing._PICTURES, position]))
        buffer = BytesIO()
        drawn.save(buffer, "JPEG", quality=writing._JPEG_QUALITY)
        assert _picture(root, item_id).read_bytes() == buffer.getvalue()


def test_factors_tell_what_was_drawn(root: Path, garments: dict[str, tuple[int, Garment]]) -> None:
    raw, factors = read_maryland(root), read_factors(root)
    assert list(factors) == [item.item_id for item in raw.items]
    words = {colour.name for colour in COLOURS}
    for item in raw.items:
        told, garment = factors[item.item_id], garments[item.item_id][1]
        assert list(told) == FACTORS
        assert told["shape"] == item.category
        assert {*item.text.split()} & words <= {told["colour"]}
        assert (told["style"], told["colour"], told["pattern"]) == (garment.style, garment.colour.name, garment.pattern)
        assert told["shade"] == (garment.shade or "plain")
        numbers = (garment.warmth, garment.formality, garment.variant)
        assert tuple(int(told[name]) for name in ("warmth", "formality", "variant")) == numbers
    assert {told["shade"] for told in factors.values()} == {"light", "plain", "dark"}


def test_sizes_and_places_are_factors_only_where_they_vary_and_of_the_garment_by_a_stream_of_their_own(
    root: Path, varied: Path, garments: dict[str, tuple[int, Garment]]
) -> None:
    streams = (writing._WARDROBE, writing._OUTFITS, writing._ITEMS, writing._PICTURES, writing._TASKS)
    assert writing._PLACEMENTS not in streams
    placements = draw_placements(TINY.items, np.random.default_rng([TINY.seed, writing._PLACEMENTS]))
    plain, factors = read_factors(root), read_factors(varied)
    for item_id, told in factors.items():
        assert list(told) == FACTORS + PLACEMENT
        assert {name: told[name] for name in FACTORS} == plain[item_id]
        assert Placement(*(int(told[name]) for name in PLACEMENT)) == placements[garments[item_id][0]]
    for name, count in zip(PLACEMENT, (SIZES, PLACES, PLACES), strict=True):
        assert {told[name] for told in factors.values()} == {str(level) for level in range(count)}


def test_varied_garments_shrink_with_their_size_and_move_with_their_place(tmp_path: Path) -> None:
    settings = replace(TINY, items=60, outfits=60, image_size=80)
    for name, vary in (("alike", 0.0), ("varied", 1.0)):
        write_synthetic(tmp_path / name, replace(settings, vary=vary))
    for item_id, told in read_factors(tmp_path / "varied").items():
        size, horizontal, vertical = (int(told[name]) for name in PLACEMENT)
        scale = (0.4, 0.5167, 0.6333, 0.75)[size]
        free = 80 * (1 - scale)
        whole, box = (_box(_picture(tmp_path / name, item_id)) for name in ("alike", "varied"))
        moved = [free * horizontal / 4, free * vertical / 4] * 2
        expected = [by + scale * edge for by, edge in zip(moved, whole, strict=True)]
        assert box == pytest.approx(expected, abs=3), (item_id, told)  # a level of size is 9 pixels, of place 5 to 12


@pytest.mark.parametrize("vary", [0.0, 0.5, 1.0])
def test_every_place_goes_with_every_size_and_stays_within_the_picture(vary: float) -> None:
    squares = {
        (size, place): Placement(size, place, PLACES - 1 - place).square(240, vary)
        for size, place in product(range(SIZES), range(PLACES))
    }
    assert all(0 <= left <= 240 - side and 0 <= top <= 240 - side for side, left, top in squares.values())
    assert len(set(squares.values())) == (SIZES * PLACES if vary else 1)
    middle = PLACES // 2
    assert all(2 * left == 2 * top == 240 - side for side, left, top in (squares[s, middle] for s in range(SIZES)))
    assert squares[0, 0][0] == 240 * (1 - 0.6 * vary)
    assert squares[SIZES - 1, 0][0] == 240 * (1 - 0.25 * vary)
    if vary == 1:
        assert squares[0, 0] == (96, 0, 144)  # from edge to edge
    if vary == 0.5:
        assert squares[0, 0] == (168, 18, 54)  # within the middle half of its room


def test_placements_are_independent_of_each_other_and_of_what_follows() -> None:
    drawn = draw_placements(4000, np.random.default_rng(0))
    assert drawn[:50] == draw_placements(50, np.random.default_rng(0))
    levels = np.array([(placed.size, placed.horizontal, placed.vertical) for placed in drawn])
    assert np.abs(np.corrcoef(levels.T) - np.eye(3)).max() < 0.05
    assert [len(np.unique(column)) for column in levels.T] == [SIZES, PLACES, PLACES]


def test_sizes_and_places_change_no_outfit_name_or_task(root: Path, varied: Path) -> None:
    ours, others = _contents(root), _contents(varied)
    assert ours.keys() == others.keys()
    differing = {name for name in ours if ours[name] != others[name]}
    assert {name for name in differing if not name.endswith(".jpg")} == {"factors.csv", "synthetic.json"}
    images = [name for name in ours if name.endswith(".jpg")]
    assert differing.issuperset(images)


def test_a_root_of_the_generator_before_is_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    content = json.loads((root / "synthetic.json").read_text()) | {"generator_version": 1}
    (folder / "synthetic.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"of other settings \(generator_version=1 not 2\)"):
        write_synthetic(folder, TINY)
