"""A run's catalogue brought up to date: what is embedded, what stays, and when models should be trained anew."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from outfits import Garment, Stylist, update_catalogue
from outfits.errors import ConfigError, DataError
from outfits.index.lance_index import LanceIndex
from outfits.mining.audit import Share
from outfits.stylist import updating
from outfits.stylist.changes import ChangeStore
from outfits.stylist.updating import FurtherLoss, reasons
from tests.tiny_run import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test changes."""
    return make_run(tmp_path_factory.mktemp("updated"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def alike(stylist: Stylist, count: int, name: str = "new") -> dict[str, Garment]:
    """Garments with the images and texts of catalogue items."""
    found = [stylist.item(item_id) for item_id in stylist.item_ids[:count]]
    return {f"{name} {item.id}": Garment(item.category, item.text, item.image_path) for item in found}


def test_only_what_is_new_is_embedded_and_everything_else_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stylist = Stylist.load(run)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    gone, new = list(stylist.item_ids[-2:]), alike(stylist, 5)
    first = update_catalogue(run, new, [*gone, "never was there"], outfits=4)
    assert (first.added, first.removed, first.joined) == (5, 2, 5)
    assert first.stylist.item_ids == [*stylist.item_ids[:-2], *new]
    embedded: list[object] = []
    embed = type(stylist._parser).embed
    monkeypatch.setattr(type(stylist._parser), "embed", lambda *given: embedded.append(given) or embed(*given))
    again = update_catalogue(first.stylist, new | alike(stylist, 1, "newer"), gone, outfits=0)
    assert (again.added, again.removed, again.joined, len(embedded)) == (1, 0, 6, 1)
    assert again.loss is None
    changed = {path for path, content in files.items() if path.read_bytes() != content}
    assert changed == set()  # weights, targets' counts, the exported catalogue


def test_what_another_process_adds_meanwhile_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stylist, add = Stylist.load(run), Stylist.add
    first, second = (alike(stylist, 1, name) for name in ("first", "second"))

    def meanwhile(self: Stylist, items: dict[str, Garment]) -> Stylist:
        monkeypatch.setattr(Stylist, "add", add)
        Stylist.load(run).add(second)
        return add(self, items)

    monkeypatch.setattr(updating, "AT_ONCE", 1)
    monkeypatch.setattr(Stylist, "add", meanwhile)
    update = update_catalogue(run, first | second, outfits=0)
    assert (update.added, update.joined) == (1, 2)
    assert update.stylist.item_ids == [*stylist.item_ids, *sorted([*first, *second], reverse=True)]


def test_changes_are_read_once_and_not_for_every_item(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stylist = update_catalogue(run, alike(Stylist.load(run), 3), outfits=0).stylist
    asked: list[object] = []
    read = ChangeStore.read
    monkeypatch.setattr(ChangeStore, "read", lambda store: asked.append(store) or read(store))
    assert update_catalogue(stylist, outfits=0).joined == 3
    assert len(asked) <= 2


def test_an_item_that_changed_is_named_twice(run: Path) -> None:
    stylist = Stylist.load(run)
    item = stylist.item(stylist.item_ids[0])
    changed = update_catalogue(run, {str(item.id): Garment(item.category, "purple velvet")}, [str(item.id)], outfits=0)
    assert (changed.added, changed.removed, changed.joined) == (1, 1, 1)
    assert changed.stylist.item(str(item.id)).text == "purple velvet"


def test_ids_in_another_form_are_those_of_the_catalogue(run: Path) -> None:
    name = unicodedata.normalize("NFD", " café ")
    new = {name: Garment(Stylist.load(run).categories[0], "red")}
    counts = [update_catalogue(run, new, outfits=0).added for _ in range(2)]
    assert counts == [1, 0]
    assert update_catalogue(run, removed=[name], outfits=0).removed == 1


def test_figures_of_an_unchanged_catalogue_do_not_ask_for_training(run: Path) -> None:
    update = update_catalogue(run, outfits=6)
    assert update.loss is not None
    assert (update.loss.mean, update.unfamiliar, update.reasons, update.retrain) == (0, None, (), False)


def test_items_like_the_trained_ones_are_familiar_and_others_are_not(run: Path, tmp_path: Path) -> None:
    stylist = Stylist.load(run)
    update = update_catalogue(run, alike(stylist, 12), outfits=0)
    assert update.unfamiliar is not None
    assert update.unfamiliar.share == 0
    noise = {}
    for number in range(12):
        pixels = np.random.default_rng(number).integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        noise[f"noise {number}"] = Garment(stylist.categories[number % 3], image=tmp_path / f"{number}.png")
    update = update_catalogue(run, noise, [f"new {item_id}" for item_id in stylist.item_ids[:12]], outfits=0)
    assert update.unfamiliar is not None
    assert update.joined == 12
    assert update.unfamiliar.share > 0.5
    (reason,) = update.reasons
    assert "of the 12 items that joined are unlike any that S was trained on" in reason


@pytest.mark.parametrize(
    ("losses", "asks"),
    [([0.02] * 9 + [0.021], True), ([0.004] * 9 + [0.0041], False), ([0.2] + [0] * 9, False), ([-0.1, -0.2], False)],
    ids=["clearly more", "too little", "one outfit alone", "less"],
)
def test_the_generator_is_trained_anew_when_it_falls_behind(losses: list[float], asks: bool) -> None:
    found = reasons(FurtherLoss.of(np.array(losses)), None)
    assert bool(found) == asks
    assert all(line.startswith("the generator loses") for line in found)


def test_few_unfamiliar_items_prove_nothing() -> None:
    assert not reasons(None, Share.of(np.array([True, False, False])))
    assert not reasons(None, None)


def test_mistakes_are_one_line(run: Path) -> None:
    with pytest.raises(ConfigError, match="reference: the run has no model for original"):
        update_catalogue(run, reference="original")
    with pytest.raises(ConfigError, match="reference: 'greedy' is not one of"):
        update_catalogue(run, reference="greedy")
    with pytest.raises(ConfigError, match="outfits: must be at least 0, not -1"):
        update_catalogue(run, outfits=-1)
    with pytest.raises(TypeError, match="removed is a list of ids"):
        update_catalogue(run, removed="coat-3")
    with pytest.raises(DataError, match="category"):
        update_catalogue(run, {"mine": Garment("no such category", "red")})


def test_a_catalogue_in_a_table_changes_too(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lance")
    flat = Stylist.load(make_run(tmp_path / "flat"))
    table = Stylist.load(
        make_run(tmp_path / "lance", "index.kind=lance", f"index.uri={tmp_path / 'db'}", "index.min_items=100000")
    )
    given = [flat.item_ids[0]]

    def answers(stylist: Stylist) -> list[list[str]]:
        return [
            [str(item.id) for item in outfit.added]
            for method in ("generator", "generator_beam")
            for outfit in stylist.complete(given, 2, method=method, top=5)
        ]

    assert isinstance(table._run.context.index, LanceIndex) or hasattr(table._run.context.index, "_index")
    assert answers(table) == answers(flat)
    chosen = answers(flat)[0][0]
    flat, table = (update_catalogue(one, alike(one, 4), [chosen], outfits=0).stylist for one in (flat, table))
    assert answers(table) == answers(flat)
    assert not any(chosen in added for added in answers(table))
