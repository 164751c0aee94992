"""Items that join and leave a catalogue in use, compared with a run whose catalogue was so from the start."""

import multiprocessing
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outfits import Garment, Stylist, run_files
from outfits.errors import ArtifactError, DataError
from outfits.index.category_index import CategoryIndex
from outfits.index.changed_index import ChangedIndex
from outfits.stylist import changes
from outfits.stylist.changes import AddedItem, ChangeStore
from tests.encoder_items import draw_garment
from tests.tiny_run import make_run

METHODS = (
    "generator",
    "generator_rerank",
    "generator_beam",
    "greedy_k",
    "beam",
    "retrieval",
    "random",
    "most_selected",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test changes."""
    return make_run(tmp_path_factory.mktemp("changed"))


@pytest.fixture
def stylist(run: Path, tmp_path: Path) -> Stylist:
    shutil.copytree(run, tmp_path / "run")
    return Stylist.load(tmp_path / "run")


def of_each_category(stylist: Stylist) -> list[str]:
    """One item of each category."""
    return list({stylist.item(one).category: one for one in reversed(stylist.item_ids)}.values())


def completions(stylist: Stylist, method: str) -> list[list[str]]:
    given = of_each_category(stylist)[0]
    return [
        [str(item.id) for item in outfit.added]
        for k in (1, 2)
        for outfit in stylist.complete([given], k, method=method, top=20)
    ]


def test_an_item_that_joined_is_found_and_chosen(stylist: Stylist) -> None:
    old = stylist.item(of_each_category(stylist)[1])
    assert old.image_path is not None
    changed = stylist.add({"mine": Garment(old.category, old.text, old.image_path)})
    assert changed.item_ids == [*stylist.item_ids, "mine"]
    assert "mine" in [match.item.id for match in changed.search(old.text, 3)]
    near = changed.similar(str(old.id), 1)[0]
    assert (near.item.id, near.similarity) == ("mine", pytest.approx(1, abs=1e-5))
    rest = of_each_category(stylist)[0]
    assert changed.score([rest, "mine"]) == pytest.approx(stylist.score([rest, str(old.id)]), abs=1e-6)
    among = changed.complete([rest], 1, categories=[old.category], method="greedy_k", top=100)
    assert len(among) == len(changed.browse(old.category))
    assert "mine" in [outfit.added[0].id for outfit in among]
    shown = changed.item("mine").image_path
    assert shown is not None
    assert shown.is_file()
    again = changed.remove("mine")
    assert again.item_ids == stylist.item_ids
    assert not shown.exists()


@pytest.mark.parametrize("method", METHODS)
def test_an_item_that_left_is_never_proposed_again(stylist: Stylist, method: str) -> None:
    changed = stylist
    for _ in range(4):
        before = completions(changed, method)
        gone = before[0][0]
        changed = changed.remove(gone)
        assert not any(gone in added for added in completions(changed, method))
    assert len(changed) == len(stylist) - 4
    for refused in (lambda: changed.item(gone), lambda: changed.complete([gone]), lambda: changed.remove(gone)):
        with pytest.raises(DataError, match="no item"):
            refused()
    assert gone not in [match.item.id for match in changed.search("red", len(stylist))]


def test_outfits_of_an_item_that_left_leave_too(stylist: Stylist) -> None:
    outfit, gone = stylist.outfit_ids[0], str(stylist.outfit(stylist.outfit_ids[0])[0].id)
    assert outfit in [match.outfit_id for match in stylist.similar_outfits([gone], len(stylist.outfit_ids))]
    changed = stylist.remove(gone)
    with_it = [one for one in stylist.outfit_ids if gone in [item.id for item in stylist.outfit(one)]]
    assert changed.outfit_ids == [one for one in stylist.outfit_ids if one not in with_it]
    for one in changed.outfit_ids:
        assert changed.outfit(one) == stylist.outfit(one)
    found = [match.outfit_id for match in changed.similar_outfits(changed.item_ids[:1], len(stylist.outfit_ids))]
    assert sorted(found) == sorted(changed.outfit_ids)


def test_what_else_joins_changes_no_bit_of_a_score(stylist: Stylist) -> None:
    given, (category, *_) = of_each_category(stylist)[-1], stylist.categories
    assert stylist.item(given).category != category
    changed = stylist.add({"mine": Garment(category, "red wool")})
    alone = changed.score([given, "mine"])
    for number in range(5):
        changed = changed.add({f"other {number}": Garment(category, f"red {number} cotton")})
        assert changed.score([given, "mine"]) == alone


def test_what_is_loaded_anew_answers_to_the_bit_alike(stylist: Stylist, tmp_path: Path) -> None:
    changed, other = stylist, Stylist.load(tmp_path / "run")
    for number, item in enumerate(of_each_category(stylist)[:4]):
        changed = changed.add({f"new {number}": Garment(stylist.item(item).category, f"red {number} cotton")})
        changed = changed.remove(item)
    changed = changed.add({of_each_category(stylist)[0]: Garment(stylist.categories[0], "blue wool")})  # it comes back
    loaded, refreshed = Stylist.load(tmp_path / "run"), other.refreshed()
    for one in (loaded, refreshed):
        assert one.item_ids == changed.item_ids
        for method in METHODS:
            given = [[item] for item in of_each_category(changed)[:3]]
            assert one.complete_many(given, 2, method=method) == changed.complete_many(given, 2, method=method)
        assert one.generate("red") == changed.generate("red")
        assert one.explain(of_each_category(changed)[:3]) == changed.explain(of_each_category(changed)[:3])
    assert loaded.refreshed() is loaded


def test_greedy_choice_over_a_changed_catalogue_is_exhaustive(stylist: Stylist) -> None:
    item = of_each_category(stylist)[1]
    changed = stylist.add({"x": Garment(stylist.item(item).category, "green silk")}).remove(item)
    given = of_each_category(changed)[0]
    every = [one for one in changed.item_ids if changed.item(one).category != changed.item(given).category]
    best = max(every, key=lambda one: changed.score([given, one]))
    assert changed.complete([given], 1, method="greedy_k")[0].added[0].id == best


@pytest.mark.parametrize("kind", ["all_kept", "some_left", "some_joined", "both"])
def test_a_changed_index_finds_what_a_new_one_finds(kind: str) -> None:
    rng = np.random.default_rng(3)
    vectors, categories = rng.normal(size=(80, 6)).astype(np.float32), rng.integers(5, size=80)
    leaves, joins = kind in ("some_left", "both"), kind in ("some_joined", "both")
    kept = np.setdiff1d(np.arange(60), rng.choice(60, 20, replace=False) if leaves else [])
    rows = np.concatenate([kept, np.arange(60, 80) if joins else []]).astype(np.int64)
    before = CategoryIndex(vectors[:60], categories[:60], num_categories=6)
    own = slice(len(kept), None)
    joined = CategoryIndex(vectors[rows][own], categories[rows][own], num_categories=6) if joins else None
    changed = ChangedIndex(before, kept, joined, categories[rows])
    anew = CategoryIndex(vectors[rows], categories[rows], num_categories=6)
    queries = rng.normal(size=(4, 6)).astype(np.float32)
    for n in (1, 3, 40):
        for found, expected in zip(changed.search(queries, n), anew.search(queries, n), strict=True):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(changed.cosines(queries), anew.cosines(queries), atol=1e-6)
    np.testing.assert_array_equal(changed.empty_categories, anew.empty_categories)
    assert len(changed) == len(rows)


def test_an_index_is_asked_for_few_items_more_where_many_left() -> None:
    rng = np.random.default_rng(0)
    vectors, categories = rng.normal(size=(600, 6)).astype(np.float32), np.arange(600) % 3
    kept = np.flatnonzero((categories > 0) | (rng.random(600) < 0.3))
    before, asked = CategoryIndex(vectors, categories, num_categories=3), list[tuple[int, int]]()
    search = before.search

    def counted(queries: Any, n: int) -> Any:
        asked.append((len(queries), n))
        return search(queries, n)

    before.search = counted  # type: ignore[method-assign]
    changed = ChangedIndex(before, kept, None, categories[kept])
    queries = rng.normal(size=(50, 6)).astype(np.float32)
    found = changed.search(queries, 2)
    for part, expected in zip(found, CategoryIndex(vectors[kept], categories[kept]).search(queries, 2), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert asked[0] == (50, 10)
    assert sum(rows * n for rows, n in asked) < 50 * changed.most_left / 4


def test_nothing_joins_where_one_item_cannot(stylist: Stylist, tmp_path: Path) -> None:
    category = stylist.categories[0]
    good = Garment(category, "red", draw_garment("shirt", "red").convert("RGB"))
    known = stylist.item_ids[0]
    for items, said in (
        ({"a": good, known: good}, "already"),
        ({"a": good, " ": good}, "not empty"),
        ({"a": good, "b": Garment("Spaceships", "red")}, "no category"),
        ({"a": good, "b": Garment(category, "xyzzy")}, "sees nothing in it"),
        ({"a": good, "a ": good}, "already"),
    ):
        with pytest.raises(DataError, match=said):
            stylist.add(items)
    assert stylist.refreshed().item_ids == stylist.item_ids
    assert stylist.add({"a": good}).remove(known).add({known: good}).item_ids[-2:] == ["a", known]


def test_changes_of_another_catalogue_are_refused(stylist: Stylist, tmp_path: Path) -> None:
    stylist.add({"a": Garment(stylist.categories[0], "red")})
    file = tmp_path / "run" / run_files.STYLIST / run_files.STYLIST_CHANGES
    with sqlite3.connect(file) as base:
        base.execute("UPDATE catalogue SET key = 'another'")
    with pytest.raises(ArtifactError, match="another catalogue"):
        Stylist.load(tmp_path / "run")
    file.write_bytes(b"no database at all, but a text that is long enough to be taken for one" * 10)
    with pytest.raises(ArtifactError, match="cannot be kept"):
        Stylist.load(tmp_path / "run")


def test_an_item_that_joins_amid_reading_is_seen_next(
    stylist: Stylist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stylist.add({"a": Garment(stylist.categories[0], "red")})

    def meanwhile(*row: Any) -> AddedItem:
        monkeypatch.undo()
        first.add({"b": Garment(stylist.categories[0], "red")})
        return AddedItem(*row)

    monkeypatch.setattr(changes, "AddedItem", meanwhile)
    loaded = Stylist.load(tmp_path / "run")
    assert loaded.item_ids[-1] == "a"
    assert loaded.refreshed().item_ids[-2:] == ["a", "b"]


def test_a_file_of_changes_without_tables_has_none(stylist: Stylist, tmp_path: Path) -> None:
    file = tmp_path / "run" / run_files.STYLIST / run_files.STYLIST_CHANGES
    file.touch()
    assert Stylist.load(tmp_path / "run").item_ids == stylist.item_ids
    assert stylist.refreshed() is stylist
    item = AddedItem("a", 0, "", np.zeros(2, np.float32), np.zeros(2, np.bool_))
    with pytest.raises(DataError, match="already"):
        ChangeStore(file.parent, "another").add([item], frozenset("a"), {})  # nothing of it stays, nor do tables
    assert stylist.add({"a": Garment(stylist.categories[0], "red")}).item_ids[-1] == "a"


def test_an_image_is_there_as_long_as_its_item(
    stylist: Stylist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    garment = Garment(stylist.categories[0], "red", draw_garment("shirt", "red").convert("RGB"))
    first, add = stylist.add({"a": garment}), ChangeStore.add

    def after_a_removal(*arguments: Any) -> None:
        first.remove("a")
        add(*arguments)

    monkeypatch.setattr(ChangeStore, "add", after_a_removal)
    changed = first.add({"b": garment})
    image = changed.item("b").image_path
    assert image is not None
    assert image.is_file()
    monkeypatch.setattr(changes, "SECONDS_FOR_ANOTHER", 0.05)
    file = tmp_path / "run" / run_files.STYLIST / run_files.STYLIST_CHANGES
    with closing(sqlite3.connect(file)) as reader:
        reading = reader.execute("SELECT * FROM changes")
        reading.fetchone()  # until it ends, no other connection can commit
        with pytest.raises(ArtifactError, match="locked"):
            changed.remove("b")
        reading.close()
    assert "b" in changed.refreshed()
    assert image.is_file()
    changed.remove("b")
    assert not image.exists()


def add_some(run: Path, name: str) -> None:
    """Adds ten items, each by itself; runs in a process of its own."""
    stylist = Stylist.load(run)
    for number in range(10):
        stylist = stylist.add({f"{name} {number}": Garment(stylist.categories[0], "red")})


@pytest.mark.slow
def test_changes_of_two_processes_at_once_are_all_there(stylist: Stylist, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=add_some, args=(tmp_path / "run", name)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    changed = stylist.refreshed()
    assert len(changed) == len(stylist) + 20
    assert changed.item_ids == Stylist.load(tmp_path / "run").item_ids
