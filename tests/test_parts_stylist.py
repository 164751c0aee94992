"""A stylist that compares parts: the stage's products in a run, search, catalogue changes and the page's section."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from outfits.config.load import load_config
from outfits.data.load import load_dataset
from outfits.encoders.images import decode_image
from outfits.errors import ArtifactError, DataError
from outfits.models.pyramid_similarity import CataloguePyramids
from outfits.serving.parts import alike
from outfits.serving.visit import Visit, add_image, add_item
from outfits.stylist import Garment, Stylist
from pipeline.parts import learn_parts
from pipeline.run import reopen_run
from tests.tiny_run import make_run

SETTINGS = (
    "data.synthetic.further_images=1",
    "data.synthetic.image_size=48",
    "parts.timm.model=test_efficientnet",
    "parts.timm.image_size=64",
    "parts.timm.stages=[3]",
    "parts.feature_dim=8",
    "parts.dim=8",
    "parts.epochs=1",
    "parts.near=2",
    "parts.candidates=12",
    "parts.queries=8",
)


def settings(folder: Path) -> tuple[str, ...]:
    """Options of the stage with small random weights, written to a folder."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), folder / "weights.pth")
    return (*SETTINGS, f"parts.timm.weights={folder / 'weights.pth'}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    run_dir = make_run(root, *settings(root))
    run = reopen_run(load_config([f"run={run_dir}", f"cache_dir={root / 'cache'}"], "evaluate"))
    learn_parts(run, load_dataset(run.config.data))
    return run_dir


@pytest.fixture(scope="module")
def stylist(folder: Path) -> Stylist:
    return Stylist.load(folder)


def test_the_stage_leaves_report_grnet_and_pyramids(folder: Path, stylist: Stylist) -> None:
    results = json.loads((folder / "report" / "parts" / "results.json").read_text())
    assert list(results["found"]) == ["global", "mean_cosine", "best_cosine", "grnet"]
    assert list(results["queries"]) == ["plain", "moved", "cropped", "occluded"]
    page = (folder / "report" / "parts" / "index.html").read_text()
    assert page.count("query beside 1") == page.count("<article")
    kept = CataloguePyramids.load(folder / "stylist" / "pyramids.npz")
    assert len(kept.rows) == len(stylist)
    assert (kept.rows >= 0).all()


def test_an_image_of_an_item_finds_it_with_similarity_one(stylist: Stylist) -> None:
    parts = stylist.parts
    item = stylist.item_ids[5]
    photo = Garment(stylist.item(item).category, image=stylist.item(item).image_path)
    matches = stylist.similar(photo, top=5, modality="parts")
    same = decode_image(stylist.item(item).image_path)  # type: ignore[arg-type]
    first = decode_image(matches[0].item.image_path)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(first), np.asarray(same))  # a garment may be several items
    assert matches[0].similarity > 0.99
    assert [m.similarity for m in matches] == sorted((m.similarity for m in matches), reverse=True)
    assert stylist.compare_parts(item, item).similarity == 1
    assert parts is stylist.parts


def test_nothing_is_similar_by_parts_where_no_item_has_an_image(stylist: Stylist) -> None:
    assert stylist.similar(stylist.item_ids[0], category=[], modality="parts") == []


def test_similar_by_parts_leaves_the_item_out_and_keeps_to_categories(stylist: Stylist) -> None:
    item, category = stylist.item_ids[0], stylist.item(stylist.item_ids[9]).category
    matches = stylist.similar(item, top=4, category=category, modality="parts")
    assert {match.item.category for match in matches} == {category}
    assert item not in [match.item.id for match in stylist.similar(item, top=12, modality="parts")]
    for match in matches:
        compared = stylist.compare_parts(item, str(match.item.id))
        assert compared.similarity == pytest.approx(match.similarity, abs=1e-5)


def test_only_the_nearest_are_ranked_anew(stylist: Stylist) -> None:
    parts, everything = stylist.parts, np.arange(len(stylist))
    piece = parts.pyramid(0, stylist._run.catalogue)
    found = parts.similar(piece, stylist._run.catalogue, everything, 12)
    nearest = np.argsort(-(parts.stored.take(everything)[:, 0] @ piece[0]), kind="stable")[:12]
    assert sorted(position for position, _ in found) == sorted(nearest.tolist())


def test_a_changed_catalogue_is_searched_by_parts(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "run")
    stylist = Stylist.load(copied)
    item = stylist.item(stylist.item_ids[3])
    image = Image.open(item.image_path).rotate(180)  # type: ignore[arg-type]
    changed = stylist.add({"turned": Garment(item.category, image=image)})
    kept = changed.item("turned").image_path  # as JPEG, so not equal to the upload in every pixel
    found = changed.similar(Garment(item.category, image=kept), top=1, modality="parts")[0]
    assert found.item.id == "turned"
    gone = changed.remove(str(item.id))
    assert item.id not in [match.item.id for match in gone.similar("turned", top=12, modality="parts")]


def test_an_image_that_is_lost_is_told_by_item_and_not_by_path(folder: Path, tmp_path: Path) -> None:
    stylist = Stylist.load(shutil.copytree(folder, tmp_path / "run"))
    changed = stylist.add({"mine": Garment(stylist.categories[0], image=Image.new("RGB", (64, 64), "red"))})
    path = changed.item("mine").image_path
    assert path is not None
    path.unlink()
    with pytest.raises(DataError, match="^data error: there is no image of item 'mine'$"):
        changed.similar("mine", modality="parts")


def test_what_has_no_parts_is_refused(stylist: Stylist, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no image, so it has no parts"):
        stylist.similar(Garment(stylist.categories[0], "red"), modality="parts")
    with pytest.raises(DataError, match="there is no image"):
        stylist.similar(Garment(stylist.categories[0], image=tmp_path / "none.png"), modality="parts")
    without = Stylist.load(make_run(tmp_path))
    assert not without.compares_parts
    with pytest.raises(ArtifactError, match=r"train one with stages=\[embeddings,compatibility,parts\]"):
        without.similar(without.item_ids[0], modality="parts")


def test_the_page_shows_pairs_under_heat_maps(stylist: Stylist) -> None:
    visit = add_item(Visit(), stylist, stylist.item_ids[0])
    content = Path(str(stylist.item(stylist.item_ids[4]).image_path)).read_bytes()
    visit = add_image(visit, stylist, content, 40)
    shown: list[Any] = alike(stylist, visit, 1)
    pictures, message = shown
    assert message == ""
    assert len(pictures) == 8
    assert pictures[0][0].size == (488, 240)
    assert "1.000" in pictures[0][1]
    assert alike(stylist, visit, 5) == [[], "choose an item of the outfit first"]
