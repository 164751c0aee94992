"""What a visitor of the page can do, without the page."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from outfits import Stylist
from outfits.config.schema.serve import MOST_ITEMS
from outfits.errors import OutfitError
from outfits.serving import photos
from outfits.serving import visit as visits
from outfits.serving.keeping import OUTFIT, keep_visit
from outfits.serving.visit import CompletionRequest, Visit
from tests.encoder_items import draw_garment
from tests.tiny_run import make_run


@pytest.fixture(scope="module")
def stylist(tmp_path_factory: pytest.TempPathFactory) -> Stylist:
    root = tmp_path_factory.mktemp("visited")
    make_run(root)
    return Stylist.load(root / "run")


def photo_bytes(kind: str = "PNG", size: tuple[int, int] = (40, 40)) -> bytes:
    buffer = BytesIO()
    draw_garment("shirt", "red").convert("RGB").resize(size).save(buffer, kind)
    return buffer.getvalue()


def with_items(stylist: Stylist, count: int = 2) -> Visit:
    """A visit with catalogue items of different categories."""
    visit, seen = Visit(), set()
    for item_id in stylist.item_ids:
        if stylist.item(item_id).category not in seen and len(visit.items) < count:
            seen.add(stylist.item(item_id).category)
            visit = visits.add_item(visit, stylist, item_id)
    return visit


def test_items_are_added_once_and_taken_out(stylist: Stylist) -> None:
    visit = with_items(stylist)
    assert visit.pieces == [worn.ref.id for worn in visit.items]
    with pytest.raises(OutfitError, match="already"):
        visits.add_item(visit, stylist, str(visit.items[0].piece))
    with pytest.raises(OutfitError, match="no item"):
        visits.add_item(visit, stylist, "../../etc/passwd")
    assert visits.remove(visit, 0).pieces == visit.pieces[1:]
    for place in (-1, 2, 99):
        with pytest.raises(OutfitError, match="choose an item"):
            visits.remove(visit, place)


def test_a_photo_gets_a_category_that_can_be_changed(stylist: Stylist) -> None:
    visit = visits.add_image(Visit(), stylist, photo_bytes("JPEG"), 50)
    (worn,) = visit.items
    assert worn.ref.category in stylist.categories
    assert worn.image is not None
    other = next(name for name in stylist.categories if name != worn.ref.category)
    described = visits.describe(visit, stylist, 0, other, "red wool <b>bold</b>")
    assert described.items[0].ref.category == other
    assert described.items[0].ref.text == "red wool <b>bold</b>"
    assert described.items[0].image is worn.image
    with pytest.raises(OutfitError, match="there is no"):
        visits.describe(visit, stylist, 0, "Spaceships", "")
    with pytest.raises(OutfitError, match="item of the catalogue"):
        visits.describe(with_items(stylist), stylist, 0, other, "")


def bomb() -> bytes:
    buffer = BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"GIF89a but not really", "cannot be read", id="no_image"),
        pytest.param(photo_bytes("JPEG", (400, 400))[:900], "cannot be read", id="truncated"),
        pytest.param(b"PK\x03\x04" + bytes(300), "cannot be read", id="zip"),
        pytest.param(bomb(), "144 megapixels; at most 50", id="huge"),
    ],
)
def test_a_broken_photo_is_one_line_and_changes_nothing(stylist: Stylist, content: bytes, said: str) -> None:
    with pytest.raises(OutfitError, match=said) as error:
        visits.add_image(with_items(stylist), stylist, content, 50)
    assert "\n" not in str(error.value)


def test_a_large_photo_is_kept_small(stylist: Stylist) -> None:
    photo = photos.read_image(photo_bytes("JPEG", (3000, 2000)), 50)
    assert max(photo.size) == photos.IMAGE_SIZE


def test_completions_say_what_each_item_adds(stylist: Stylist) -> None:
    visit = visits.complete(with_items(stylist), stylist, CompletionRequest(k=2))
    assert 1 <= len(visit.proposals) <= visits.PROPOSALS
    for proposal in visit.proposals:
        ids = [str(item.id) for item in proposal.outfit.items]
        assert proposal.outfit.score == pytest.approx(stylist.score(ids, rule=False), abs=1e-6)
        for item, adds in zip(proposal.outfit.added, proposal.adds, strict=True):
            without = stylist.score([one for one in ids if one != item.id], rule=False)
            assert adds == pytest.approx(proposal.outfit.score - without, abs=1e-6)
    taken = visits.take(visit, 0)
    assert [worn.added for worn in taken.items] == [False, False, True, True]
    with pytest.raises(OutfitError, match="no such proposal"):
        visits.take(visit, 7)


def test_another_proposal_may_be_taken_after_one(stylist: Stylist) -> None:
    visit = visits.complete(with_items(stylist), stylist, CompletionRequest(k=2))
    for number in range(len(visit.proposals)):
        first = visits.lock(visits.take(visit, 0), [2])
        again = visits.take(first, number)
        assert len(set(map(str, again.pieces))) == len(again.pieces)
        assert again.items[2].locked
        assert 0 <= stylist.score(again.pieces, rule=False) <= 1


def test_what_changes_the_outfit_drops_its_proposals(stylist: Stylist) -> None:
    visit = visits.complete(with_items(stylist), stylist, CompletionRequest(k=1))
    other = next(one for one in reversed(stylist.item_ids) if one not in visit.pieces)
    for changed in (
        visits.add_item(visit, stylist, other),
        visits.remove(visit, 0),
        visits.swap(visit, stylist, 0),
        visits.take_outfit(visit, stylist.outfit(stylist.outfit_ids[0])),
    ):
        assert changed.proposals == ()


def test_an_outfit_has_a_largest_size(stylist: Stylist) -> None:
    visit, (*most, last) = Visit(), stylist.item_ids[: MOST_ITEMS + 1]
    for item in most:
        visit = visits.add_item(visit, stylist, item)
    with pytest.raises(OutfitError, match="at most 20"):
        visits.add_item(visit, stylist, last)
    proposed = visits.complete(with_items(stylist), stylist, CompletionRequest(k=2)).proposals
    with pytest.raises(OutfitError, match="at most 20"):
        visits.take(replace(visit, proposals=proposed), 0)


def test_conditions_are_heeded(stylist: Stylist) -> None:
    visit = with_items(stylist)
    taken = {worn.ref.category for worn in visit.items}
    wanted = [name for name in stylist.categories if name not in taken][:2]
    found = visits.complete(
        visit, stylist, CompletionRequest(k=2, categories=((wanted[0],), (wanted[1],)), texts=("red", ""))
    )
    for proposal in found.proposals:
        assert [item.category for item in proposal.outfit.added] == wanted


def test_locked_items_stay_and_the_others_are_asked_for_again(stylist: Stylist) -> None:
    visit = visits.take(visits.complete(with_items(stylist), stylist, CompletionRequest(k=2)), 0)
    locked = visits.lock(visit, [2, 0])  # the visitor's own item needs no lock and gets none
    assert [worn.locked for worn in locked.items] == [False, False, True, False]
    again = visits.ask_again(locked, stylist)
    assert again.pieces == locked.pieces[:3]
    for proposal in again.proposals:
        assert [item.category for item in proposal.outfit.added] == [locked.items[3].ref.category]
    with pytest.raises(OutfitError, match="no added item"):
        visits.ask_again(visits.lock(visit, [2, 3]), stylist)


def test_more_than_the_generator_learned_is_asked_for_again_without_its_images(stylist: Stylist) -> None:
    added = [replace(entry, added=True) for entry in with_items(stylist, stylist.k_max + 2).items[1:]]
    visit = replace(with_items(stylist, 1), request=CompletionRequest(imagine=True))
    again = visits.ask_again(replace(visit, items=(*visit.items, *added)), stylist)
    assert len(added) == stylist.k_max + 1
    assert all(proposal.imagined == () for proposal in again.proposals)


def test_another_one_is_never_one_that_was_shown(stylist: Stylist) -> None:
    visit, seen = with_items(stylist, 3), []
    for _ in range(3):
        seen.append(visit.items[1].piece)
        before = visit
        visit = visits.swap(visit, stylist, 1)
        assert visit.items[1].ref.category == before.items[1].ref.category
        assert visit.pieces[0] == before.pieces[0]
    assert len({*seen, visit.items[1].piece}) == 4
    with pytest.raises(OutfitError, match="one item alone"):
        visits.swap(with_items(stylist, 1), stylist, 0)
    while len(visit.items[1].shown) < len(stylist.browse(visit.items[1].ref.category)) - 1:
        try:
            visit = visits.swap(visit, stylist, 1)
        except OutfitError as error:
            assert "shown already" in str(error)  # noqa: PT017 (how many fit is up to the category)
            break
    else:
        pytest.fail("every item of the category was proposed twice")


def test_like_this_but_follows_the_words(stylist: Stylist) -> None:
    visit = with_items(stylist, 3)
    item = visit.items[1].ref
    words = next(stylist.item(one).text for one in stylist.browse(item.category) if stylist.item(one).text != item.text)
    follows = visits.swap(
        Visit(visit.items, request=CompletionRequest(alpha=0.0)), stylist, 1, words
    )  # with no weight on S, the words alone decide
    best = stylist.search(words, 3, categories=item.category)
    similarity = {match.item.id: match.similarity for match in best}
    assert similarity[follows.items[1].ref.id] == pytest.approx(
        max(value for name, value in similarity.items() if name != item.id), abs=1e-5
    )


def test_an_outfit_from_a_text_or_of_the_data(stylist: Stylist) -> None:
    visit = visits.generate(Visit(), stylist, "red", 3)
    assert all(len(proposal.outfit.items) == 3 for proposal in visit.proposals)
    taken = visits.take(visit, 0)
    assert all(entry.added for entry in taken.items)
    more = visits.complete(taken, stylist, CompletionRequest(k=1))
    assert more.proposals[0].outfit.given == tuple(entry.ref for entry in taken.items)
    whole = visits.take(more, 0)
    assert [entry.ref for entry in whole.items] == list(more.proposals[0].outfit.items)
    assert [entry.added for entry in whole.items] == [False, False, False, True]
    with pytest.raises(OutfitError, match="lock at least one item"):
        visits.ask_again(taken, stylist)
    with_image = visits.add_image(Visit(), stylist, photo_bytes(), 50)
    assert visits.generate(with_image, stylist, "red", 2).items == with_image.items
    with pytest.raises(OutfitError, match="is empty"):
        visits.generate(Visit(), stylist, "  ", None)
    name = stylist.outfit_ids[0]
    known = visits.take_outfit(visit, stylist.outfit(name))
    assert {worn.piece for worn in known.items} == {item.id for item in stylist.outfit(name)}
    with pytest.raises(OutfitError, match="there is no outfit"):
        stylist.outfit("nothing")


def test_an_empty_outfit_is_one_line(stylist: Stylist) -> None:
    with pytest.raises(OutfitError, match="put at least one item"):
        visits.complete(Visit(), stylist, CompletionRequest())


def test_likely_categories_are_shares_of_the_nearest(stylist: Stylist) -> None:
    item = next(one for one in stylist.item_ids if stylist.item(one).image_path is not None)
    found = stylist.likely_categories(stylist.item(item).image_path)  # type: ignore[arg-type]
    assert sum(share for _, share in found) == pytest.approx(1)
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert set(stylist.browse(found[0][0])) <= set(stylist.item_ids)
    assert np.isin(stylist.browse(), stylist.item_ids).all()


def test_a_kept_visit_is_its_outfit_and_photos_and_nothing_else(stylist: Stylist, tmp_path: Path) -> None:
    visit = keep_visit(visits.add_image(with_items(stylist), stylist, photo_bytes("JPEG", (300, 400)), 50), tmp_path)
    assert visit.name
    folder = tmp_path / visit.name
    kept = json.loads((folder / OUTFIT).read_text())["items"]
    assert [one["id"] for one in kept] == [*visit.pieces[:2], None]
    assert [one["photo"] is None for one in kept] == [True, True, False]
    photo = folder / kept[2]["photo"]
    with Image.open(photo) as opened:
        assert opened.size == (300, 400)
    again = keep_visit(visits.remove(visit, 2), tmp_path)
    assert again.name == visit.name
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [OUTFIT]
    assert visits.clear(again).name == visit.name
    other = keep_visit(with_items(stylist), tmp_path)
    assert other.name != visit.name
