"""The report of an image model: metrics against hand-made models and latents, and pages of every kind of model."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import evaluate
import train
from outfits.config.schema.representation import RepresentationConfig, RepresentationReportConfig
from outfits.data.catalogue import Catalogue
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages
from outfits.errors import ConfigError
from outfits.metrics.disentanglement import Disentanglement, FactorMetrics
from outfits.report.representation import items as representation_items
from outfits.report.representation.heatmap import sorted_by_factor
from outfits.report.representation.images import moving_coordinates, neighbour_sheet
from outfits.report.representation.items import EncodedItems, encoded_items, known_factors
from outfits.report.representation.metrics import (
    attribute_directions,
    coordinate_factors,
    divergence,
    fidelity,
    neighbour_agreement,
    neighbours,
    reconstruction_metrics,
)
from outfits.report.representation.report import IMAGES, measure_representation, write_representation_report
from outfits.report.representation.result import RepresentationResult
from outfits.report.representation.sheets import MARK, sheet, tiles, warp_tiles
from outfits.representations.base import ImageModel
from outfits.representations.store import build_model, fit_components
from outfits.representations.vae import VariationalAutoencoder
from outfits.representations.warping import identity_grid

SIDE = 16
GARMENTS, ITEMS = 48, 64  # the last 16 items are copies of the first
TRAIN = np.arange(36)
VALID = np.arange(36, ITEMS)
NEW = np.arange(36, GARMENTS)  # of the validation items those that are no copies of training items
SHOWN = RepresentationReportConfig(images=4, steps=3, coordinates=3, neighbours=2, items=100)
DRAWN = {"reconstructions", "interpolations", "traversals", "arithmetic", "samples"}
DRAWN_SECTIONS = ["Reconstructions", "Interpolations", "Single coordinates", "Attributes added", "Samples"]
KINDS: dict[str, dict[str, Any]] = {
    "autoencoder": {},
    "vae": {},
    "deforming": {"side": 32, "shape_dim": 3},
    "deforming, intrinsic, class-aware": {"side": 32, "shape_dim": 3, "class_dim": 2, "intrinsic": True},
    "contrastive": {},
}


def some_pictures(side: int = SIDE) -> PackedImages:
    """Blocks on white: the category is their width, the colour their colour; each garment stands a little elsewhere."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((ITEMS, side, side, 4), dtype=np.uint8)
    pixels[..., :3] = 255
    colours = np.array([[200, 30, 30], [30, 30, 200]])
    for garment in range(GARMENTS):
        top, left = rng.integers(1, side // 4, 2)
        block = pixels[garment, top : top + side // 2, left : left + side // 4 * (1 + garment % 3)]
        block[..., :3] = colours[garment // 3 % 2] + rng.integers(0, 30, 3)
        block[..., 3] = 255
    pixels[GARMENTS:] = pixels[: ITEMS - GARMENTS]
    return PackedImages(pixels, np.ones(ITEMS, dtype=np.bool_))


def a_catalogue(**attributes: list[str]) -> Catalogue:
    garments = np.arange(ITEMS) % GARMENTS
    colours = {"colour": [("red", "blue")[garment // 3 % 2] for garment in garments]}
    return Catalogue(
        item_ids=[f"item-{place}" for place in range(ITEMS)],
        categories=(garments % 3).astype(np.int32),
        category_names=["slim", "medium", "wide"],
        texts=[""] * ITEMS,
        image_paths=[None] * ITEMS,
        attributes=attributes or colours,
    )


def a_model(kind: str = "autoencoder", *, side: int = SIDE, **deforming: Any) -> ImageModel:
    config = RepresentationConfig(kind=kind, image_size=side, width=8, latent_dim=8)
    config = replace(config, deforming=replace(config.deforming, **{"shape_dim": 3, **deforming}))
    torch.manual_seed(0)
    model = build_model(config, categories=3, text_dim=5).eval().requires_grad_(False)
    maps = image_tensor(some_pictures(side).pixels)
    fit_components(model, model.encode(maps[:, :3]).numpy()[TRAIN])
    return model


class MeanColour(ImageModel):
    """Codes an image as its mean colour and draws that everywhere."""

    def __init__(self) -> None:
        super().__init__(RepresentationConfig(kind="autoencoder", image_size=SIDE, latent_dim=3), 3, 0)

    title = "Mean colour"

    def encode(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :, None, None].expand(-1, -1, self.image_size, self.image_size)

    def losses(self, batch: object, progress: float) -> dict[str, Tensor]:
        raise NotImplementedError


def items_of(model: ImageModel, **changes: Any) -> EncodedItems:
    items = encoded_items(model, some_pictures(model.image_size), a_catalogue(), TRAIN, VALID, [], 0)
    return replace(items, **changes)


def with_vectors(vectors: list[list[float]], groups: list[int], **factors: list[str]) -> EncodedItems:
    """Items of which only vectors, copies and factors matter."""
    count = len(vectors)
    return items_of(
        MeanColour(),
        positions=np.arange(count),
        latents=np.array(vectors, dtype=np.float32),
        vectors=np.array(vectors, dtype=np.float32),
        groups=np.array(groups),
        train=np.ones(count, dtype=np.bool_),
        held_out=np.ones(count, dtype=np.bool_),
        categories=np.array(["any"] * count),
        factors={name: np.array(values) for name, values in factors.items()},
    )


def write(model: ImageModel, folder: Path, catalogue: Catalogue | None = None, seed: int = 0) -> RepresentationResult:
    images = some_pictures(model.image_size)
    items = encoded_items(model, images, catalogue or a_catalogue(), TRAIN, VALID, SHOWN.factors, seed)
    training = {"epochs": 2, "kept_epoch": 1}
    result = measure_representation(items, SHOWN.items, dataset="blocks <b>", seed=seed, training=training)
    write_representation_report(result, items, SHOWN, folder, "seed: 0")
    return result


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_gets_its_sections_and_images(name: str, tmp_path: Path) -> None:
    kind, options = name.split(",")[0], KINDS[name]
    result = write(a_model(kind, **options), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    sections = re.findall("<h2>(.*?)</h2>", page)
    expected = {"neighbours", "disentanglement"}
    if kind == "contrastive":
        assert sections == ["No images of latents", "Neighbours", "Factors in the latent", "Configuration"]
        assert "A contrastive tower draws no images" in page
        assert "PSNR" not in page
    else:
        expected |= DRAWN
        assert sections[:5] == DRAWN_SECTIONS
        assert ("from the prior" in page) == (kind == "vae")
    if kind == "deforming":
        expected.add("deformation")
        assert "Shape and appearance" in sections
    assert {path.stem for path in tmp_path.glob("*.png")} == expected
    assert [name for name in IMAGES if name in expected] == [
        name for name in IMAGES if (tmp_path / f"{name}.png").exists()
    ]
    embedded = {base64.b64decode(uri) for uri in re.findall(r'src="data:image/png;base64,([^"]+)"', page)}
    assert embedded == {(tmp_path / f"{name}.png").read_bytes() for name in expected - {"disentanglement"}}
    assert all(re.search('alt="[^"]+"', tag) for tag in re.findall("<img [^>]*>", page))
    assert not re.findall(r'(?:src|href|srcset)="(?!data:|#)', page)
    assert "blocks &lt;b&gt;" in page
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(result.to_json()))
    assert list(pd.read_csv(tmp_path / "results.csv")["factor"]) == ["category", "colour"]
    assert all(name in result.table() for name in ("category", "colour", "modularity"))


def test_images_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    (tmp_path / "samples.png").write_bytes(b"of an earlier run")
    write(a_model("contrastive"), tmp_path)
    assert not (tmp_path / "samples.png").exists()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write(a_model("vae"), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name


def test_reconstruction_figures_are_those_of_a_hand_made_model() -> None:
    items = items_of(MeanColour())
    metrics = reconstruction_metrics(items, 0)
    maps = some_pictures().pixels[NEW].astype(np.float64) / 255
    images, foreground = maps[..., :3], maps[..., 3:]
    mean = (some_pictures().pixels[TRAIN, ..., :3] / 255.0).mean(axis=0)
    for name, drawn in (("model", images.mean(axis=(1, 2), keepdims=True)), ("mean", mean)):
        apart = np.square(images - drawn)
        weight = 0.25 + 0.75 * foreground
        weight /= weight.mean(axis=(1, 2, 3), keepdims=True)
        assert metrics[name]["weighted_error"] == pytest.approx((apart * weight).mean(), rel=1e-5)
        assert metrics[name]["squared_error"] == pytest.approx(apart.mean(), rel=1e-5)
        assert metrics[name]["garment_error"] == pytest.approx(
            (apart * foreground).sum() / 3 / foreground.sum(), rel=1e-5
        )
        assert metrics[name]["psnr"] == pytest.approx(10 * np.log10(1 / apart.mean()), rel=1e-5)


def test_pca_is_exact_for_images_of_few_directions() -> None:
    pixels = np.full((ITEMS, SIDE, SIDE, 4), 255, dtype=np.uint8)
    pixels[..., :3] = np.random.default_rng(1).integers(0, 256, (ITEMS, 1, 1, 3))
    items = items_of(MeanColour(), images=PackedImages(pixels, np.ones(ITEMS, dtype=np.bool_)))
    metrics = reconstruction_metrics(items, 0)
    assert metrics["pca"]["squared_error"] < 1e-9 < metrics["mean"]["squared_error"]


def test_a_reconstruction_without_error_has_no_finite_ratio() -> None:
    items = items_of(MeanColour())
    perfect = fidelity(items, NEW, lambda images: images)
    assert perfect["squared_error"] == 0
    assert perfect["psnr"] is None


def test_divergence_is_the_mean_over_held_out_pictures() -> None:
    model = a_model("vae")
    assert isinstance(model, VariationalAutoencoder)
    found = divergence(items_of(model))
    assert found is not None
    mean, log_variance = model.posterior(image_tensor(some_pictures().pixels[NEW])[:, :3])
    expected = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
    np.testing.assert_allclose(found, expected.mean(dim=0).numpy(), rtol=1e-5)
    assert divergence(items_of(a_model())) is None


def test_item_vectors_are_the_encoders_own() -> None:
    model = a_model("vae")
    maps = image_tensor(some_pictures().pixels)
    np.testing.assert_allclose(items_of(model).vectors, model.embed(maps[:, :3]).numpy(), atol=1e-5)


def test_held_out_pictures_are_no_copies_of_training_pictures() -> None:
    items = items_of(a_model())
    assert np.flatnonzero(items.held_out).tolist() == NEW.tolist()
    assert not items.copies
    only_copies = encoded_items(a_model(), some_pictures(), a_catalogue(), TRAIN, np.arange(48, 64), [], 0)
    assert only_copies.copies
    assert np.flatnonzero(only_copies.held_out).tolist() == list(range(48, 64))


def test_items_without_a_picture_take_no_part() -> None:
    images = some_pictures()
    images.present[[0, 40]] = False
    items = encoded_items(a_model(), images, a_catalogue(), TRAIN[1:], np.setdiff1d(VALID, [40]), [], 0)
    assert not {0, 40} & set(items.positions.tolist())
    assert len(items) == ITEMS - 2


def test_a_draw_of_a_large_catalogue_holds_out_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representation_items, "MOST_ITEMS", 30)
    monkeypatch.setattr(representation_items, "FEWEST_HELD_OUT", 12)
    items = items_of(a_model())
    assert 30 <= len(items) < ITEMS
    assert items.positions[items.held_out].tolist() == NEW.tolist()  # all twelve, whatever was drawn
    assert np.diff(items.positions).min() > 0


def brute_force(vectors: NDArray[np.float32], values: list[str], count: int) -> float:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    same = []
    for row in range(len(units)):
        others = sorted((other for other in range(len(units)) if other != row), key=lambda o: -units[row] @ units[o])
        same += [values[row] == values[other] for other in others[:count]]
    return float(np.mean(same))


def test_agreement_of_neighbours_is_that_of_exhaustive_search() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    values = [str(value) for value in rng.integers(0, 3, 30)]
    items = with_vectors(vectors.tolist(), list(range(30)), size=values)
    found = neighbour_agreement(items, 5, 0)["size"]
    assert found["share"] == pytest.approx(brute_force(vectors, values, 5))
    pairs = [values[one] == values[other] for one in range(30) for other in range(30) if one != other]
    assert found["chance"] == pytest.approx(np.mean(pairs))
    assert found["items"] == 30


def test_neighbours_that_share_a_value_on_a_hand_made_embedding() -> None:
    vectors = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]  # two close pairs
    items = with_vectors(
        vectors, [0, 1, 2, 3], alike=["a", "a", "b", "b"], half=["a", "a", "b", "c"], known=["a", "a", "", ""]
    )
    found = neighbour_agreement(items, 1, 0)
    assert (found["alike"]["share"], found["alike"]["chance"]) == (1.0, pytest.approx(1 / 3))
    assert (found["half"]["share"], found["half"]["chance"]) == (0.5, pytest.approx(1 / 6))
    assert (found["known"]["share"], found["known"]["chance"], found["known"]["items"]) == (1.0, 1.0, 2)


def test_copies_are_not_ones_own_neighbours() -> None:
    vectors = [[1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    items = with_vectors(vectors, [0, 0, 1, 2], garment=["a", "a", "b", "c"])
    found = neighbour_agreement(items, 1, 0)["garment"]
    assert (found["share"], found["items"]) == (0.0, 3)
    # frames: an item, then its two nearest, the copy not among them
    drawn = neighbour_sheet(replace(items, categories=np.array(["x", "x", "y", "x"])), np.array([1]), 2)
    assert marked_tiles(drawn) == 1


def marked_tiles(image: Image.Image) -> int:
    """Number of tiles in a sheet of one row that have a coloured frame."""
    mark = tuple(int(MARK[place : place + 2], 16) for place in (1, 3, 5))
    pixels = np.asarray(image)
    columns = np.flatnonzero((pixels == mark).all(axis=2).any(axis=0))
    return int((np.diff(columns, prepend=-9) > 1).sum())


def test_nearest_come_first_and_never_include_the_item_itself() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.2], [1.0, 0.1], [-1.0, 0.0]], dtype=np.float32)
    assert neighbours(vectors, np.array([0]), 2).tolist() == [[2, 1]]
    assert neighbours(vectors, np.array([0, 3]), 9).shape == (2, 3)


def test_a_direction_is_a_difference_of_mean_latents() -> None:
    values = ["b"] * 6 + ["a"] * 5 + ["rare"] * 4 + [""] * 9
    latents = np.random.default_rng(5).integers(0, 9, (24, 2)).astype(np.float32)
    groups = list(range(24))
    groups[5] = 4  # a copy, which counts once: five of each remain, and the order of names decides
    items = with_vectors(latents.tolist(), groups, fabric=values)
    (found,) = attribute_directions(items)
    assert (found.factor, found.source, found.target, found.items) == ("fabric", "a", "b", (5, 5))
    np.testing.assert_allclose(found.step, latents[:5].mean(axis=0) - latents[6:11].mean(axis=0), rtol=1e-6)


def test_directions_take_colours_first_then_kinds() -> None:
    values = ["a", "b"] * 12
    names = ["length", "fabric", "category", "main_colour", "heel"]
    items = with_vectors([[float(place)] for place in range(24)], list(range(24)), **dict.fromkeys(names, values))
    assert [one.factor for one in attribute_directions(items)] == ["main_colour", "category", "length", "fabric"]
    few = replace(items, train=np.arange(24) < 8)  # four of each value
    assert attribute_directions(few) == []


def test_an_unknown_factor_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match=r"evaluate\.representation\.factors: .* no attribute 'fabric'; they have colour"
    ):
        known_factors(a_catalogue(), ["colour", "fabric"])


def test_factors_are_the_category_and_the_attributes() -> None:
    names = [("slim", "medium", "wide")[item % GARMENTS % 3] for item in range(ITEMS)]
    size = ["s"] * ITEMS
    assert list(known_factors(a_catalogue(), [])) == ["category", "colour"]
    assert list(known_factors(a_catalogue(shape=names, size=size))) == ["shape", "size"]
    assert list(known_factors(a_catalogue(shape=names, size=size), ["size"])) == ["category", "size"]
    assert list(known_factors(a_catalogue(category=size))) == ["item category", "category"]


def test_a_data_set_without_a_measurable_factor_is_reported(tmp_path: Path) -> None:
    catalogue = replace(a_catalogue(note=[""] * ITEMS), categories=np.zeros(ITEMS, dtype=np.int32))
    result = write(a_model(), tmp_path, catalogue)
    assert result.disentanglement is None
    assert not (tmp_path / "disentanglement.png").exists()
    assert "No factor of this data set" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "results.json").read_text())["disentanglement"] is None


def test_shown_items_take_turns_among_categories() -> None:
    items = items_of(a_model())
    shown = items.spread(NEW, 6, 0)
    assert sorted(items.categories[shown[:3]]) == sorted(items.categories[shown[3:]]) == ["medium", "slim", "wide"]
    assert len(set(shown.tolist())) == 6
    assert items.spread(NEW, 6, 0).tolist() == shown.tolist()
    assert len(items.spread(NEW, 99, 0)) == len(NEW)


def test_coordinates_that_vary_most_are_traversed() -> None:
    latents = np.random.default_rng(0).normal(size=(ITEMS, 4)) * [1, 5, 0, 3]
    assert moving_coordinates(items_of(MeanColour(), latents=latents), 3).tolist() == [1, 3, 0]


def test_coordinate_factors_are_informative() -> None:
    importance = np.array([[0.2, 0.9], [0.8, 0.1], [0.4, 0.0]])
    informative = FactorMetrics(
        "shape", 3, 64, informativeness=0.5, accuracy=0.7, majority=0.4, compactness=0.1, mig=0.1
    )
    guessed = replace(informative, name="mood", informativeness=0.0)
    metrics = Disentanglement(
        modularity=0.1,
        compactness=0.1,
        informativeness=0.25,
        mig=0.1,
        active=2,
        factors={"shape": informative, "mood": guessed},
        importance=importance,
        mutual_information=importance,
        coordinate_modularity=np.zeros(3),
    )
    assert coordinate_factors(metrics) == [None, ("shape", 0.8), ("shape", 0.4)]  # 0.2 is less than an even share
    assert sorted_by_factor(importance).tolist() == [1, 2, 0]


def test_a_mesh_is_straight_or_leaves_the_template() -> None:
    (straight,) = warp_tiles(identity_grid(32), 96)
    pixels = straight.numpy()[0, 2:-2, 2:-2]
    assert np.ptp(pixels[5:8], axis=0).max() < 0.25  # no line across these rows: they look alike
    assert (pixels < 0.5).mean() < 0.5
    (shifted,) = warp_tiles(identity_grid(32) + 1.0, 96)
    beyond = (255 * shifted[:, 60:90, 60:90]).round()
    assert (beyond == 238).all()


def test_a_sheet_has_its_tiles_in_rows_beside_their_labels() -> None:
    black, white = tiles(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])).split(1)
    rows = [torch.cat([white, black]), black]
    image = np.asarray(sheet(rows, ["one", "two\nlines"], ["a", "a very long head"], "Title"))
    side = black.shape[-1]
    assert side == 96
    cell = side + 2
    left = image.shape[1] - 2 * cell + 2
    top = image.shape[0] - 2 * cell + 2
    middle = cell // 2
    found = [
        [int(image[top + row * cell + middle, left + column * cell + middle, 0]) for column in (0, 1)] for row in (0, 1)
    ]
    assert found == [[255, 0], [0, 255]]


@pytest.mark.slow
def test_train_and_evaluate_write_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = [f"data.root={tmp_path / 'data'}", f"cache_dir={tmp_path / 'cache'}", "wandb.mode=off"]
    small = ["data.synthetic.items=60", "data.synthetic.outfits=60", "data.synthetic.image_size=16"]
    model = ["model.representation.image_size=16", "model.representation.width=8", "model.representation.latent_dim=4"]
    trainer = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    workers = ["encoder.num_workers=0", "evaluate.representation.images=3"]
    folder = tmp_path / "run"
    train.main(
        ["experiment=representation", "model=vae", f"run_dir={folder}", *place, *small, *model, *trainer, *workers]
    )
    first = (folder / "report" / "results.json").read_bytes()
    metrics = json.loads(first)
    assert metrics["training"]["epochs"] == 2
    assert metrics["items"]["training"] + metrics["items"]["validation"] == metrics["items"]["catalogue"]
    assert "shape" in metrics["neighbours"]["factors"]
    assert "category" not in metrics["neighbours"]["factors"]  # which says the same
    assert str(folder / "report" / "index.html") in capsys.readouterr().out
    evaluate.main([f"run={folder}", "evaluate.representation.images=4", *place])
    assert (folder / "report" / "results.json").read_bytes() == first
    with pytest.raises(ConfigError, match="no attribute 'size'; they have shape"):
        evaluate.main([f"run={folder}", "evaluate.representation.factors=[size]", *place])
