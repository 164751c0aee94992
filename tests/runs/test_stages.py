"""What a user can mend ends in one line and status 2, whichever stage meets it."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.layouts import write_maryland_root, write_tables_root
from tests.runs.programs import TWO_RANKS, Finished, Place, command, here


@pytest.fixture
def maryland(tmp_path: Path) -> Place:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    write_maryland_root(place.data)
    return place


@pytest.fixture
def tables(tmp_path: Path) -> Place:
    place = Place(tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    write_tables_root(place.data, images=False)
    return place


def mistake(place: Place, *more: str) -> str:
    """The line that ``train.py`` ends with on a Maryland root, up to the embeddings."""
    arguments = place.arguments("data=maryland", f"data.root={place.data}", "stages=[embeddings]", *more)
    return here("train", arguments).mistake()


def train_on_tables(place: Place, *more: str) -> Finished:
    """Embeds tables without photos."""
    options = ["data=tables", f"data.root={place.data}", "data.tables.image=null", "data.tables.text={colour} {name}"]
    return here("train", place.arguments(*options, "encoder.image=none", "stages=[embeddings]", *more))


def mistake_in_tables(place: Place, *more: str) -> str:
    """As :func:`mistake`, on tables without photos."""
    return train_on_tables(place, *more).mistake()


def test_a_missing_image_is_named_with_the_way_out(maryland: Place) -> None:
    image = sorted((maryland.data / "images").rglob("*.jpg"))[5]
    image.unlink()
    line = mistake(maryland)
    assert line.startswith("data error: ")
    assert f"{image.parent.name}/{image.name}" in line
    assert "data.on_missing_image=mask" in line


def test_a_truncated_image_is_named_with_the_way_out(maryland: Place) -> None:
    image = sorted((maryland.data / "images").rglob("*.jpg"))[7]
    image.write_bytes(image.read_bytes()[:200])
    line = mistake(maryland)
    assert f"{image.parent.name}/{image.name}" in line
    assert "data.on_corrupt_image=mask" in line


@pytest.mark.parametrize("broken", [1, 6, 11])
def test_the_log_counts_images_that_cannot_be_decoded(maryland: Place, broken: int) -> None:
    images = sorted((maryland.data / "images").rglob("*.jpg"))[3::20][:broken]
    for image in images:
        image.write_bytes(image.read_bytes()[:200])
    (maryland.data / "images").rename(maryland.data / "moved")
    (maryland.data / "images").mkdir()
    for folder in (maryland.data / "moved").iterdir():
        folder.rename(maryland.data / "images" / folder.name)
    gone = sorted((maryland.data / "images").rglob("*.jpg"))[0]
    gone.unlink()
    keys = ["data=maryland", f"data.root={maryland.data}", "stages=[embeddings]", "data.on_missing_image=mask"]
    arguments = maryland.arguments(*keys, "data.on_corrupt_image=mask")
    for _ in range(2):  # computed, and read back
        log = here("train", arguments).succeeded().output
        assert f"embeddings: items without a usable image: {broken + 1}\n" in log
        assert f"embeddings: {broken} images that cannot be decoded: of items '{images[0].parent.name}_" in log
        assert "data: images missing from disk: 1\n" in log
    counts = json.loads((maryland.run / "dataset.json").read_text())["counts"]
    assert counts["images that cannot be decoded"] == broken


def test_the_log_counts_texts_that_say_nothing(tables: Place) -> None:
    rows = list(csv.reader((tables.data / "items.csv").open(encoding="utf-8")))
    for row in rows[1:8]:
        row[2:4] = ["?!", "..."]
    with (tables.data / "items.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    options = ["data=tables", "data.tables.image=null", "data.tables.text={colour} {name}", "encoder.image=none"]
    log = here("train", tables.arguments(*options, "stages=[embeddings]")).succeeded().output
    assert "embeddings: items without a usable text: 7\n" in log
    assert "data: 8 categories\n" in log


@pytest.mark.parametrize("mode", ["grouped", "random"])
def test_the_log_says_that_no_official_task_was_kept(maryland: Place, mode: str) -> None:
    keys = ["data=maryland", f"data.root={maryland.data}", "stages=[embeddings]", f"data.split.mode={mode}"]
    log = here("train", maryland.arguments(*keys)).succeeded().output
    for what in ("fill-in-the-blank questions", "compatibility rows"):
        assert f"data: official {what} read: " in log
        assert f"data: official {what} kept: 0\n" in log


def test_a_bad_image_names_itself_from_a_loader_process_too(maryland: Place) -> None:
    image = sorted((maryland.data / "images").rglob("*.jpg"))[-1]
    image.write_bytes(b"not an image")
    assert f"{image.parent.name}/{image.name}" in mistake(maryland, "encoder.num_workers=2")


def test_invalid_json_names_file_and_line(maryland: Place) -> None:
    file = maryland.data / "valid_no_dup.json"
    lines = file.read_text().splitlines()
    lines[3] = lines[3] + " oops"
    file.write_text("\n".join(lines))
    line = mistake(maryland)
    assert "valid_no_dup.json" in line
    assert "line 4" in line or ":4" in line


def test_an_item_that_the_catalogue_lacks_is_named_with_the_way_out(tables: Place) -> None:
    with (tables.data / "outfits.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["200000", "AB-12", "train"])
    line = mistake_in_tables(tables)
    assert "AB-12" in line
    assert "data.on_missing_item=drop" in line


def test_an_empty_split_is_named(tables: Place) -> None:
    lines = (tables.data / "outfits.csv").read_text().splitlines()
    (tables.data / "outfits.csv").write_text("\n".join(line for line in lines if not line.endswith("valid")) + "\n")
    official = ["data.split.mode=official", "data.tables.split=split"]
    line = mistake_in_tables(tables, *official)
    assert line.startswith("data error: the valid split is empty")


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path / "nowhere", tmp_path / "cache", tmp_path / "run")
    assert str(place.data) in mistake(place)


def test_a_run_folder_of_another_configuration_is_refused_with_the_keys_that_differ(tables: Place) -> None:
    train_on_tables(tables).succeeded()
    line = mistake_in_tables(tables, "model.k=3", "seed=1")
    assert line.startswith("config error: ")
    assert "model.k: 2 → 3" in line
    assert "seed: 0 → 1" in line
    assert "scorer" not in line
    assert f"resume={tables.run}" in line


@pytest.mark.slow
def test_a_stage_without_what_it_needs_names_the_stage_that_makes_it(undisturbed: Place, copied: Place) -> None:
    (copied.run / "generator.safetensors").unlink()
    needs = {"generator": None, "targets": "targets", "compatibility": "scorers", "embeddings": "embeddings"}
    for stage, folder in needs.items():
        if folder is not None:
            shutil.rmtree(copied.cache / folder)
        line = here("train", copied.arguments("stages=[test]")).mistake()
        assert line.startswith("artifact error: ")
        assert f"add {stage} to `stages`" in line


@pytest.mark.slow
def test_evaluation_of_an_unfinished_run_says_how_to_finish_it(copied: Place) -> None:
    (copied.run / "selected.csv").unlink()
    line = here("evaluate", [f"run={copied.run}", f"cache_dir={copied.cache}"]).mistake()
    assert f"resume={copied.run}" in line


@pytest.mark.slow
def test_a_run_whose_data_changed_is_refused(copied: Place, tmp_path: Path) -> None:
    data = tmp_path / "changed"
    shutil.copytree(copied.data, data)
    file = next(data.rglob("test_no_dup.json"))
    outfits = json.loads(file.read_text())
    file.write_text(json.dumps(outfits[1:]))
    line = here("evaluate", [f"run={copied.run}", f"cache_dir={copied.cache}", f"data.root={data}"]).mistake()
    assert line.startswith("artifact error: ")


@pytest.mark.slow
def test_weights_that_were_changed_after_the_run_are_refused(copied: Place) -> None:
    path = copied.run / "scorer.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    line = here("evaluate", [f"run={copied.run}", f"cache_dir={copied.cache}"]).mistake()
    assert "scorer.safetensors" in line


@pytest.mark.slow
def test_bad_data_end_a_command_without_a_traceback(maryland: Place) -> None:
    image = sorted((maryland.data / "images").rglob("*.jpg"))[0]
    image.unlink()
    arguments = maryland.arguments("data=maryland", f"data.root={maryland.data}", "stages=[embeddings]")
    assert image.name in command("train.py", arguments).mistake()


@pytest.mark.slow
def test_bad_data_end_both_ranks(maryland: Place) -> None:
    for image in sorted((maryland.data / "images").rglob("*.jpg"))[-20:]:
        image.write_bytes(b"not an image")
    # Whichever rank is dealt the last shard: rank one of two shards, rank zero of one shard.
    for size in (160, 10_000):
        place = Place(maryland.data, maryland.cache, maryland.run.with_name(f"shards-of-{size}"))
        options = ["data=maryland", f"data.root={place.data}", f"encoder.shard_size={size}", *TWO_RANKS]
        finished = command("train.py", place.arguments("stages=[embeddings]", *options))
        assert finished.status != 0
        assert "data error: " in finished.errors
