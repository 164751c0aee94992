"""A multi-task model in use: as an item encoder, by the stylist, on the page and by the service."""

import base64
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from outfits import run_files
from outfits.config.load import load_config
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.multitask import RETRIEVAL, TASKS, MultitaskConfig, MultitaskEncoderConfig, SmallClipConfig
from outfits.config.schema.serve import ServeConfig
from outfits.data.synthetic.wardrobe import CATEGORIES
from outfits.encoders import EncoderSource, build_item_encoder
from outfits.encoders.multitask.store import load_multitask, open_backbone, save_multitask
from outfits.encoders.multitask.tokens import training_vocabulary
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.serving import visit as visits
from outfits.serving.answering import Answering
from outfits.serving.requests import Call, Refine
from outfits.serving.visit import Visit
from outfits.stylist import Garment, Stylist
from outfits.stylist.refining import Refiner
from tests.encoder_items import draw_garment, write_catalogue
from tests.multitask_models import spoilt
from tests.tiny_run import make_run

WORDS = "red navy olive black orange teal shirt trousers bag in cotton wool linen casual dress shoes"
SMALL = SmallClipConfig(image_size=32, patch_size=16, width=16, layers=2, heads=2, embed_dim=8, context_length=16)


def write_model(folder: Path, tasks: tuple[str, ...] = TASKS, categories: list[str] | None = None) -> Path:
    """A run's folder with a model of random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = MultitaskConfig(tasks=list(tasks), small=SMALL, bottleneck=4, cross_bottleneck=4)
    names = categories or [category.name for category in CATEGORIES]
    torch.manual_seed(0)
    network = open_backbone(config, training_vocabulary([WORDS])).network(config, len(names))
    save_multitask(spoilt(network), names, folder / run_files.MULTITASK)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("multitask") / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    root = tmp_path_factory.mktemp("encoded")
    return make_run(root, "encoder.image=multitask", "encoder.text=multitask", f"encoder.multitask.run={model}")


@pytest.fixture(scope="module")
def stylist(run: Path) -> Stylist:
    return Stylist.load(run)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Stylist:
    return Stylist.load(make_run(tmp_path_factory.mktemp("plain")))


# As an encoder


def test_the_encoder_is_the_network_as_it_searches(model: Path, tmp_path: Path) -> None:
    config = EncoderConfig(image="multitask", text="multitask", multitask=MultitaskEncoderConfig(run=str(model)))
    assert config.shared_space
    catalogue = write_catalogue(tmp_path / "data", 5)
    encoder = build_item_encoder(EncoderSource(config, catalogue, np.arange(0), tmp_path))
    images = [draw_garment("shirt", "red", 50, 70), draw_garment("bag", "teal", 90, 40)]
    vectors, present = encoder.encode(images, ["red shirt", "zzqx"])
    assert present.tolist() == [[True, True], [True, False]]  # the model knows no word of the second text
    stored = load_multitask(model / run_files.MULTITASK)
    settings = stored.network.clip_settings
    pixels = np.stack([settings.prepare(image) for image in images])
    assert pixels.shape == (2, 32, 32, 3)
    values = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        seen = stored.network.image_vectors(values, RETRIEVAL)
        said = stored.network.text_vectors(stored.tokens(["red shirt"]), RETRIEVAL)
    assert vectors[:, :8] == pytest.approx(seen.numpy(), abs=1e-5)
    assert vectors[0, 8:] == pytest.approx(said[0].numpy(), abs=1e-5)


def test_a_run_keeps_a_copy_of_the_model(run: Path, model: Path) -> None:
    kept = run / run_files.STYLIST / run_files.MULTITASK
    assert kept.read_bytes() == (model / run_files.MULTITASK).read_bytes()


@pytest.mark.parametrize(
    ("folder", "error", "message"),
    [("absent", ConfigError, "there is no folder"), ("empty", ArtifactError, "has no multitask_model.safetensors")],
)
def test_a_run_without_a_model_is_refused(folder: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = EncoderConfig(image="multitask", text="none", multitask=MultitaskEncoderConfig(run=str(tmp_path / folder)))
    with pytest.raises(error, match=message):
        build_item_encoder(EncoderSource(config, write_catalogue(tmp_path / "data", 3), np.arange(0), tmp_path))


def test_the_encoder_needs_the_name_of_a_run() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.multitask\.run: is null"):
        load_config(["encoder.image=multitask"])


# By the stylist


def test_refined_items_are_nearest_to_the_fused_query(stylist: Stylist, model: Path) -> None:
    item = stylist.item_ids[3]
    matches = stylist.refine(item, "in red", top=len(stylist))
    assert len(matches) == len(stylist) - 1
    assert item not in [match.item.id for match in matches]
    values = [match.similarity for match in matches]
    assert values == sorted(values, reverse=True)
    stored = load_multitask(model / run_files.MULTITASK)
    settings, network = stored.network.clip_settings, stored.network
    paths = [stylist.item(one).image_path for one in (item, matches[0].item.id, matches[-1].item.id)]
    pixels = np.stack([settings.prepare(Image.open(path).convert("RGB")) for path in paths if path is not None])
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        query = network.refined(images[:1], stored.tokens(["in red"]))[0]
        found = network.image_vectors(images[1:], "refinement") @ query
    assert [values[0], values[-1]] == pytest.approx(found.tolist(), abs=1e-4)


def test_refinement_knows_categories_and_garments_of_ones_own(stylist: Stylist) -> None:
    category = stylist.item(stylist.item_ids[0]).category
    mine = Garment(category, image=draw_garment("shirt", "red"))
    matches = stylist.refine(mine, "in navy", top=3, category=category)
    assert {match.item.category for match in matches} == {category}
    other = stylist.refine(mine, "in red wool", top=3, category=category)
    assert [match.similarity for match in matches] != [match.similarity for match in other]


def test_items_that_join_can_be_found(stylist: Stylist) -> None:
    image = draw_garment("bag", "teal", 64, 64)
    changed = stylist.add({"mine": Garment("Bags", image=image)})
    try:
        found = changed.refine(stylist.item_ids[0], "in teal", top=len(changed))
        (mine,) = [match for match in found if match.item.id == "mine"]
        before = {match.item.id: match.similarity for match in stylist.refine(stylist.item_ids[0], "in teal", top=1000)}
        assert {match.item.id for match in found} == {*before, "mine"}
        assert all(before[str(m.item.id)] == pytest.approx(m.similarity, abs=1e-6) for m in found if m is not mine)
        assert mine.similarity > -1
    finally:
        changed.remove("mine")


def test_an_item_that_came_back_changed_is_found_by_its_new_image(run: Path, tmp_path: Path) -> None:
    stylist = Stylist.load(shutil.copytree(run, tmp_path / "run"))
    item, asked = stylist.item(stylist.item_ids[3]), stylist.item_ids[0]
    garment = Garment("Bags", image=draw_garment("bag", "teal", 64, 64))
    before = {match.item.id: match.similarity for match in stylist.refine(asked, "in teal", top=1000)}
    changed = stylist.remove(str(item.id)).add({str(item.id): garment, "twin": garment})
    found = {match.item.id: match.similarity for match in changed.refine(asked, "in teal", top=1000)}
    assert found[item.id] == pytest.approx(found["twin"], abs=1e-6)
    assert found[item.id] != pytest.approx(before[item.id], abs=1e-4)
    without = changed.remove(str(item.id)).add({str(item.id): Garment("Bags", "teal")})
    assert item.id not in [match.item.id for match in without.refine(asked, "in teal", top=1000)]


def test_vectors_of_the_catalogue_are_kept_and_checked(
    run: Path, stylist: Stylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stylist.refine(stylist.item_ids[0], "in red", top=5)
    monkeypatch.setattr(Refiner, "_item_image", lambda *_: pytest.fail("the vectors were there"))
    again = Stylist.load(run).refine(stylist.item_ids[0], "in red", top=5)
    assert [match.item.id for match in again] == [match.item.id for match in first]


def test_an_image_that_comes_later_is_found(run: Path, stylist: Stylist, tmp_path: Path) -> None:
    vectors = run / run_files.STYLIST / run_files.STYLIST_REFINEMENT
    vectors.unlink(missing_ok=True)
    asked, late = stylist.item_ids[:2]
    path = stylist.item(late).image_path
    assert path is not None
    away = Path(path).rename(tmp_path / "away")
    assert late not in [match.item.id for match in Stylist.load(run).refine(asked, "in red", top=1000)]
    away.rename(path)
    assert late in [match.item.id for match in Stylist.load(run).refine(asked, "in red", top=1000)]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_run_that_may_only_be_read_refines(run: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, arrays: object) -> None:
        raise OSError(number, "refused", str(path))

    (run / run_files.STYLIST / run_files.STYLIST_REFINEMENT).unlink(missing_ok=True)
    monkeypatch.setattr("outfits.stylist.refining.write_arrays", refuse)
    stylist = Stylist.load(run)
    if number == errno.EROFS:
        assert stylist.refine(stylist.item_ids[0], "in red", top=3)
    else:
        with pytest.raises(OSError, match="refused"):
            stylist.refine(stylist.item_ids[0], "in red", top=3)


def test_captions_and_categories(stylist: Stylist) -> None:
    item = stylist.item(stylist.item_ids[0])
    assert set(stylist.caption(item.id or "").split()) <= {*WORDS.split(), "<start_of_text>", "!"}
    found = stylist.categorise(str(item.image_path))
    assert sum(chance for _, chance in found) == pytest.approx(1, abs=1e-5)
    assert [name for name, _ in found] == [name for name, _ in sorted(found, key=lambda pair: -pair[1])]
    assert {name for name, _ in found} == {category.name for category in CATEGORIES}
    with_text = stylist.categorise(str(item.image_path), "red shoes")
    assert with_text != found


def test_what_cannot_be_refined_is_refused_in_one_line(stylist: Stylist, plain: Stylist, tmp_path: Path) -> None:
    item = stylist.item_ids[0]
    with pytest.raises(DataError, match="knows none of its words"):
        stylist.refine(item, "zzqx")
    with pytest.raises(DataError, match="has no image"):
        stylist.refine(Garment("Bags", text="red"), "in navy")
    with pytest.raises(DataError, match="there is no image"):
        stylist.categorise(str(tmp_path / "absent.jpg"))
    assert plain.learned == ()
    with pytest.raises(ConfigError, match="has no multi-task model"):
        plain.refine(plain.item_ids[0], "in red")


def test_a_task_that_was_not_learned_is_named(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", (RETRIEVAL,))
    run = make_run(tmp_path, "encoder.image=multitask", "encoder.text=multitask", f"encoder.multitask.run={model}")
    stylist = Stylist.load(run)
    assert stylist.learned == (RETRIEVAL,)
    with pytest.raises(ConfigError, match="has learned retrieval, not refinement"):
        stylist.refine(stylist.item_ids[0], "in red")


# On the page and by the service


def photo() -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    draw_garment("shirt", "red", 64, 64).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photo_comes_with_category_and_text(stylist: Stylist) -> None:
    visit = visits.add_image(Visit(), stylist, photo(), 10)
    (item,) = visit.items
    assert item.ref.category == stylist.categorise(item.image)[0][0]
    assert item.ref.text == stylist.caption(item.piece)


def test_like_this_but_refines_where_the_run_can(stylist: Stylist, plain: Stylist) -> None:
    item = stylist.item_ids[0]
    visit = visits.add_item(Visit(), stylist, item)
    changed = visits.swap(visit, stylist, 0, "in red")
    best = stylist.refine(item, "in red", 1, category=stylist.item(item).category)[0].item
    assert changed.items[0].piece == best.id
    again = visits.swap(changed, stylist, 0, "in red")
    assert again.items[0].piece not in (item, best.id)
    with pytest.raises(DataError, match="one item alone cannot be swapped"):
        visits.swap(visits.add_item(Visit(), plain, plain.item_ids[0]), plain, 0, "in red")


def test_the_service_refines(stylist: Stylist, plain: Stylist) -> None:
    item = stylist.item_ids[0]
    garment = {"category": "Bags", "image": base64.b64encode(photo()).decode()}
    for asked, piece in ((item, item), (garment, Garment("Bags", image=draw_garment("shirt", "red", 64, 64)))):
        call = Call("refine", Refine.model_validate({"item": asked, "text": "in red", "top": 3}))
        (answer,) = Answering(stylist, ServeConfig()).answer([call])
        assert answer.status == 200
        expected = [match.item.id for match in stylist.refine(piece, "in red", 3)]
        assert [match["item"]["id"] for match in json.loads(answer.body)["matches"]] == expected
    call = Call("refine", Refine.model_validate({"item": plain.item_ids[0], "text": "in red"}))
    assert Answering(plain, ServeConfig()).answer([call])[0].status == 422


@pytest.mark.parametrize("left", [None, b"no image"], ids=["no file", "no image"])
def test_an_image_that_is_lost_is_told_by_item_and_not_by_path(run: Path, tmp_path: Path, left: bytes | None) -> None:
    stylist = Stylist.load(shutil.copytree(run, tmp_path / "run"))
    changed = stylist.add({"mine": Garment("Bags", image=draw_garment("bag", "teal", 64, 64))})
    path = changed.item("mine").image_path
    assert path is not None
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    call = Call("refine", Refine.model_validate({"item": "mine", "text": "in red"}))
    (answer,) = Answering(changed, ServeConfig()).answer([call])
    (detail,) = json.loads(answer.body)["detail"]
    assert answer.status == 422
    assert "image of item 'mine'" in detail["message"]
    assert str(tmp_path) not in detail["message"]
