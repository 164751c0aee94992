"""Similarity from parts: views, pyramids, GRNet by hand, ranks, training and reports."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch_geometric.nn import TransformerConv
from torch_geometric.utils import dense_to_sparse

from datamodules import parts as parts_data
from datamodules.parts import PartsDataModule, nearest_alike
from lightning_modules.parts import PartsModule, listwise_loss, pairs_loss
from outfits import run_files
from outfits.config.schema import Config
from outfits.config.schema.data import DataConfig, SplitConfig, SyntheticConfig, TablesConfig
from outfits.config.schema.parts import GrnetArchitecture, PartsConfig
from outfits.data.dataset import FurtherImage
from outfits.data.load import load_dataset
from outfits.data.tables import read_tables
from outfits.encoders.packed import PackedImages, first_copies
from outfits.encoders.pyramid import PyramidEncoder, build_network, fit_pyramids, load_pyramids, pooled_parts
from outfits.encoders.view_pyramids import (
    AS_IT_IS,
    PyramidStore,
    ViewImages,
    ViewPyramids,
    plan_key,
    plan_views,
    pyramid_work,
    split_items,
)
from outfits.encoders.views import VIEWS, bounding_box, make_view
from outfits.errors import ConfigError, DataError
from outfits.metrics.parts import places, rank_items
from outfits.models.frozen import load_grnet
from outfits.models.grnet import Grnet, PartsConv
from outfits.models.pyramid_similarity import (
    CataloguePyramids,
    best_cosines,
    evidence_of,
    mean_cosines,
    part_agreement,
    similarity_of,
)
from outfits.report.parts.heat import heat_map
from outfits.report.parts.report import PartsResult
from outfits.weights import save_network
from pipeline.parts import _further
from tests.representation_settings import SIDE, small_model

Array = NDArray[np.float64]
SMALL = GrnetArchitecture(grids=[1, 2], dim=3, layers=2)


def some_pyramids(count: int, parts: int = 5, width: int = 4, seed: int = 0) -> torch.Tensor:
    x = torch.randn(count, parts, width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(x, dim=-1)


def a_grnet(bias: bool = True, seed: int = 0, grids: tuple[int, ...] = (1, 2)) -> Grnet:
    torch.manual_seed(seed)
    return Grnet(replace(SMALL, bias=bias, grids=list(grids)), feature_dim=4).eval()


# GRNet by hand


def weight(module: Any) -> Array:
    found: Array = module.weight.detach().double().numpy()
    return found


def unit(vector: Array) -> Array:
    return vector / (np.sqrt((vector**2).sum()) + 1e-8)


def by_loops(model: Grnet, x: Array, y: Array) -> float:
    """The equations of the paper, pair by pair and edge by edge, in double precision."""

    def similarity_vector(a: Array, b: Array, linear: Any) -> Array:
        bias = 0 if linear.bias is None else linear.bias.detach().double().numpy()
        return unit(weight(linear) @ (a - b) ** 2 + bias)

    nodes = [similarity_vector(x.mean(0), y.mean(0), model.overall)]
    start = 0
    for grid in model.config.grids:
        scale = range(start, start + grid * grid)
        nodes += [similarity_vector(x[i], y[j], model.local) for i in scale for j in scale]
        start += grid * grid
    for layer in model.layers:
        outgoing, incoming, w = weight(layer.outgoing), weight(layer.incoming), weight(layer.update.lin)  # type: ignore[union-attr]
        updated = []
        for receiver in nodes:
            edges = np.exp([(outgoing @ receiver) @ (incoming @ sender) for sender in nodes])
            edges /= edges.sum()
            total = sum(edge * sender for edge, sender in zip(edges, nodes, strict=True))
            updated.append(np.maximum(w @ total, 0))
        nodes = updated
    return float(weight(model.readout)[0] @ nodes[0] + model.readout.bias.item())


@pytest.mark.parametrize("bias", [True, False])
def test_grnet_is_what_its_equations_say(bias: bool) -> None:
    model, x, y = a_grnet(bias), some_pyramids(3), some_pyramids(3, seed=1)
    with torch.no_grad():
        found = model(x, y)
    expected = [by_loops(model, a, b) for a, b in zip(x.double().numpy(), y.double().numpy(), strict=True)]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-5)
    assert np.ptp(expected) > 1e-4


def test_a_similarity_vector_worked_out_by_hand() -> None:
    model = Grnet(GrnetArchitecture(grids=[1], dim=2, bias=False), feature_dim=2)
    with torch.no_grad():
        model.local.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        model.overall.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        nodes = model.nodes(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[3.0, 1.0]]]))[0]
    # |x - y|^2 = (4, 1): P gives (4, 2), of length sqrt(20); the global node (1, 4), of length sqrt(17)
    assert nodes[0].numpy() == pytest.approx(np.array([1, 4]) / np.sqrt(17))
    assert nodes[1].numpy() == pytest.approx(np.array([4, 2]) / np.sqrt(20))


def test_edges_worked_out_by_hand() -> None:
    layer = PartsConv(2)
    with torch.no_grad():
        layer.outgoing.weight.copy_(torch.eye(2))
        layer.incoming.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))  # swaps
        layer.update.lin.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        nodes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        weights, updated = layer.weights(nodes, nodes)[0], layer(nodes)[0]
    # products with the swapped nodes (0, 1) and (1, 0): the first node sees 0 and 1, the second 1 and 0
    e = np.e
    assert weights.numpy() == pytest.approx(np.array([[1, e], [e, 1]]) / (1 + e))
    # sums (1, e) / (1 + e) and (e, 1) / (1 + e); W turns the second coordinate round, and ReLU cuts it off
    assert updated.numpy() == pytest.approx(np.array([[1 / (1 + e), 0], [e / (1 + e), 0]]))


def test_a_layer_is_pygs_transformer_conv_on_all_edges() -> None:
    torch.manual_seed(0)
    layer, nodes = PartsConv(6), torch.randn(9, 6)
    other = TransformerConv(6, 6, root_weight=False, bias=False)
    with torch.no_grad():
        other.lin_query.weight.copy_(layer.outgoing.weight * 6**0.5)
        other.lin_key.weight.copy_(layer.incoming.weight)
        other.lin_value.weight.copy_(layer.update.lin.weight)
        edges = dense_to_sparse(torch.ones(9, 9))[0]
        assert torch.allclose(layer(nodes[None])[0], other(nodes, edges).relu(), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_global_node_begins_by_looking_at_the_parts(seed: int) -> None:
    torch.manual_seed(seed)
    model = Grnet(GrnetArchitecture(), feature_dim=64)
    parts = torch.randn(2, 8, 1, 64) + 0.7 * torch.randn(2, 8, model.parts, 64)  # those of one image are alike
    nodes = model.nodes(*F.normalize(parts, dim=-1))
    on_itself = model.layers[0].weights(nodes[:, :1], nodes)[:, 0, 0]
    assert on_itself.max() < 0.2
    model.overall.reset_parameters()
    nodes = model.nodes(*F.normalize(parts, dim=-1))
    assert model.layers[0].weights(nodes[:, :1], nodes)[:, 0, 0].mean() > 2 * on_itself.mean()


@pytest.mark.parametrize("bias", [True, False])
def test_an_item_is_like_itself_whatever_the_weights_are(bias: bool) -> None:
    x, y = some_pyramids(20), some_pyramids(20, seed=1)
    for seed in range(3):
        model = a_grnet(bias, seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(5)
            own, found = model.similarity(x, x), model.similarity(x, y)
        assert torch.equal(own, torch.ones(20, dtype=torch.float64))
        assert ((found >= -1) & (found < 1)).all()
        expected = 2 * torch.sigmoid(model(x, y).double()) - 1  # where images differ, the gate is open
        assert torch.allclose(found, expected, atol=1e-5)


def test_similarity_is_symmetric_and_parts_have_no_order() -> None:
    model, x, y = a_grnet(), some_pyramids(8), some_pyramids(8, seed=1)
    with torch.no_grad():
        found = model(x, y)
        assert torch.allclose(found, model(y, x), atol=1e-6)
        shuffled = y[:, [0, 3, 1, 4, 2]]  # within the scale of four cells
        assert torch.allclose(found, model(x, shuffled), atol=1e-6)


def test_evidence_ranks_where_similarities_round_to_one() -> None:
    model, x, y = a_grnet(), some_pyramids(2), some_pyramids(2, seed=1)
    with torch.no_grad():
        model.readout.bias.fill_(60)
        evidence = model.evidence(x, y)
        assert evidence[0] != evidence[1]
        assert torch.equal(model.similarity(x, y), torch.ones(2, dtype=torch.float64))
    assert similarity_of(np.array([0.0, np.log(2), np.inf])).tolist() == [-1, 0, 1]


def test_part_effects_are_those_of_leaving_nodes_out() -> None:
    model, x, y = a_grnet(), some_pyramids(1)[0], some_pyramids(1, seed=1)[0]
    with torch.no_grad():
        nodes, whole = model.nodes(x[None], y[None]), float(model(x[None], y[None])[0])
        # node 0 is the global one, 1 of the scale of one cell, then four times four: part 3 has the third four
        without = [*range(10), *range(14, 18)]
        assert float(model.part_effects(x, y)[3]) == pytest.approx(whole - float(model.read(nodes[:, without])[0]))
        assert float(model.part_effects(x, y)[0]) == pytest.approx(
            whole - float(model.read(nodes[:, [0, *range(2, 18)]]))
        )
    first, second = part_agreement(model, x.numpy(), y.numpy()).maps()
    finest = model.part_effects(y, x)[1:]
    assert first.shape == (2, 2)
    assert second[0, 1] == pytest.approx(float(finest[1] - finest.mean()))
    assert first.sum() == pytest.approx(0, abs=1e-6)


def test_grnet_is_saved_and_loaded(tmp_path: Path) -> None:
    model, x, y = a_grnet(), some_pyramids(2), some_pyramids(2, seed=1)
    save_network(model, tmp_path / "grnet.safetensors")
    with torch.no_grad():
        assert torch.equal(load_grnet(tmp_path / "grnet.safetensors")(x, y), model(x, y))


# cosines and ranks


def test_cosines_of_parts_by_hand() -> None:
    x = np.array([[[1, 0], [0, 1]]], dtype=np.float32)  # one item of two parts
    y = np.array([[[0, 1], [1, 0]], [[1, 0], [1, 0]]], dtype=np.float32)
    assert mean_cosines(x, y).tolist() == [[0, 0.5]]
    assert best_cosines(x, y).tolist() == [[1, 0.5]]


def test_ties_count_against_the_true_item() -> None:
    assert places(np.array([[0.5, 0.5, 0.1], [0.2, 0.9, 0.9]]), np.array([0, 0])).tolist() == [1, 2]


def test_grnet_ranks_candidates_anew_and_no_others() -> None:
    model, gallery = a_grnet(), some_pyramids(30).numpy()
    true = np.arange(12)
    queries = F.normalize(torch.from_numpy(gallery[:12]) + 0.3 * torch.randn(12, 5, 4), dim=-1).numpy()
    ranks = rank_items(model, gallery, {"moved": (true, queries)}, 6)
    cosine = queries[:, 0] @ gallery[:, 0].T
    for row in range(12):
        nearest = np.argsort(-cosine[row], kind="stable")[:6]
        before = int((cosine[row] > cosine[row, row]).sum())
        assert ranks.ranks["global"]["moved"][row] == before
        expected = before
        if row in nearest:
            with torch.no_grad():
                evidence = evidence_of(model, queries[row], gallery[nearest])
            expected = int((evidence > evidence[nearest.tolist().index(row)]).sum())
        assert ranks.ranks["grnet"]["moved"][row] == expected
        assert ranks.reached["moved"][row] == (row in nearest)
    result = PartsResult.of(ranks, "drawn", "test", 0)
    assert result.found["global"]["moved"]["1"]["mean"] == pytest.approx((ranks.ranks["global"]["moved"] == 0).mean())
    lead = result.lead["global"]["moved"]["10"]
    assert lead["low"] <= lead["mean"] <= lead["high"]
    assert "GRNet" in result.table()
    assert set(result.frame()["measure"]) == {"found", "lead"}


# losses by hand


def test_losses_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.5, -1.0, 3.0]])
    same = torch.tensor([[True, False, False], [False, True, True]])
    e = np.exp
    one = -np.log(e(2) / (e(2) + e(0) + e(1)))
    two = [-np.log(e(r) / (e(r) + e(0.5))) for r in (-1, 3)]  # each same item beside the others alone
    assert float(listwise_loss(logits, same)) == pytest.approx((one + sum(two)) / 3)
    right, wrong = np.log1p(e([-2.0, 1.0, -3.0])).mean(), np.log1p(e([0.0, 1.0, 0.5])).mean()
    assert float(pairs_loss(logits, same)) == pytest.approx((right + wrong) / 2)


# views and pyramids


def a_picture(size: int = 32, colour: tuple[int, int, int] = (200, 30, 30)) -> NDArray[np.uint8]:
    image = np.full((size, size, 4), 255, dtype=np.uint8)
    image[..., 3] = 0
    image[4:28, 10:22] = (*colour, 255)
    image[4:10, 10:22, 2] = 200
    return image


@pytest.mark.parametrize("kind", list(VIEWS))
def test_views_depend_on_the_seed_alone_and_differ(kind: str) -> None:
    image, other = a_picture(), a_picture(colour=(10, 200, 10))
    first, again, third = (make_view(kind, image, other, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, third)
    assert np.array_equal(image, a_picture())


def test_a_moved_garment_keeps_its_proportions_and_lies_elsewhere() -> None:
    image = a_picture()
    boxes = set()
    for seed in range(8):
        view = VIEWS["moved"](image, image, np.random.default_rng(seed))
        shown = (view < 250).any(-1)
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height / width == pytest.approx(2, abs=0.35)
        assert 0.4 * 32 - 2 <= height <= 0.8 * 32 + 2
        boxes.add((int(rows[0]), int(columns[0])))
    assert len(boxes) > 3


def test_a_crop_shows_the_garment_and_a_cover_hides_some_of_it() -> None:
    image, other = a_picture(), a_picture(colour=(10, 200, 10))
    assert bounding_box(image) == (10, 4, 22, 28)
    for seed in range(8):
        crop = VIEWS["cropped"](image, other, np.random.default_rng(seed))
        assert (crop[..., 0] > crop[..., 1] + 40).mean() > 0.3
        hidden = (VIEWS["occluded"](image, other, np.random.default_rng(seed)) != image[..., :3]).any(-1)
        assert 0.2 < hidden[4:28, 10:22].mean() < 0.7
        assert not hidden[:, :10].any()


def test_parts_are_the_means_of_cells_of_unit_length() -> None:
    torch.manual_seed(0)
    fine, coarse = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)
    parts = pooled_parts([fine, coarse], [1, 2])
    assert parts.shape == (2, 5, 8)
    cell = fine[1, :, :2, 2:].mean((1, 2))  # upper right
    assert torch.allclose(parts[1, 2, :3], cell / cell.norm())
    assert torch.allclose(parts[1, 2, 3:], F.normalize(coarse[1, :, 0, 1], dim=0))
    assert torch.allclose(parts[0, 0, :3], F.normalize(fine[0].mean((1, 2)), dim=0))
    with pytest.raises(ConfigError, match=r"parts\.grids: .* finer than the network's maps of side 2"):
        pooled_parts([fine, coarse], [1, 3])


def test_a_learned_model_gives_its_coarsest_maps_and_is_kept(tmp_path: Path) -> None:
    model = small_model("autoencoder")
    save_network(model, tmp_path / "run" / run_files.REPRESENTATION)
    config = Config()
    config.parts.network, config.encoder.learned.run = "learned", str(tmp_path / "run")
    network = build_network(config)
    pictures = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        maps = network.maps(pictures)
        expected = 1 - pictures
        for block in list(model.encoder)[:-2]:
            expected = block(expected)
        assert torch.allclose(maps[-1], expected, atol=1e-6)
    assert [one.shape[2] for one in maps] == [8, 4]
    images = [np.full((SIDE, SIDE, 4), shade, np.uint8) for shade in (0, 60, 200)]
    images += [np.random.default_rng(n).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8) for n in range(9)]
    encoder = fit_pyramids(network, config.parts, images, tmp_path / "state")
    encoder.save(tmp_path / "kept" / "fit.npz")
    config.encoder.learned.run = str(tmp_path / "gone")
    again = load_pyramids(config, tmp_path / "kept" / "fit.npz")
    assert again.key == encoder.key
    assert np.array_equal(again.encode(images), encoder.encode(images))


class Blocks:
    """Means of 8 × 8 blocks of an image as its map."""

    image_size, background, key = 32, "keep", "blocks"

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [F.avg_pool2d(images, 8)]


@pytest.fixture(scope="module")
def images() -> PackedImages:
    rng = np.random.default_rng(0)
    colours = [tuple(int(value) for value in row) for row in rng.integers(0, 256, (60, 3))]
    pixels = np.stack([a_picture(colour=colour) for colour in colours])  # type: ignore[arg-type]
    pixels[7] = pixels[3]
    return PackedImages(pixels, np.arange(60) != 11)


def an_encoder() -> PyramidEncoder:
    state = {"mean": np.full(3, 0.5, np.float32), "components": np.eye(3, dtype=np.float32)}
    return PyramidEncoder(Blocks(), [1, 2], state, "k")  # type: ignore[arg-type]


CONFIG = PartsConfig(
    grids=[1, 2],
    dim=8,
    queries=20,
    candidates=10,
    near=3,
    batch_size=8,
    epochs=6,
    copies=2,
    lr=1e-2,
    shares=[0.5, 0.2, 0.3],
)


def some_views(images: PackedImages) -> ViewPyramids:
    first = first_copies(images)
    plan = plan_views(split_items(np.unique(first[first >= 0]), CONFIG.shares, 0), {}, CONFIG, 0)
    encoder = an_encoder()
    seen = ViewImages(plan, images, encoder.prepare, 0)
    return ViewPyramids(plan, encoder.encode(seen.image(row) for row in range(len(plan))), "key")


def test_items_of_one_image_stand_in_the_gallery_once(images: PackedImages) -> None:
    first = first_copies(images)
    assert first[7] == 3
    assert first[11] == -1
    views = some_views(images)
    galleries = [views.gallery(split)[0] for split in ("train", "valid", "test")]
    assert sorted(np.concatenate(galleries).tolist()) == [item for item in range(60) if item not in (7, 11)]
    kept = CataloguePyramids.of(images, views)
    assert np.array_equal(kept.take(np.array([7])), kept.take(np.array([3])))
    assert kept.rows[11] == -1
    own = an_encoder().encode([images.pixels[40]])
    assert np.abs(kept.take(np.array([40])) - own).max() < 1e-3


def test_a_split_of_too_few_items_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 valid, .* set parts\.shares"):
        split_items(np.arange(10), [0.5, 0.1, 0.4], 0)


def test_queries_show_the_items_that_they_look_for(images: PackedImages) -> None:
    views = some_views(images)
    items, gallery = views.gallery("test")
    assert list(views.queries("test")) == ["plain", "moved", "cropped", "occluded"]
    true, pyramids = views.queries("test")["plain"]
    found = views.plan.items[views.plan.rows("test", "plain")]
    assert np.array_equal(items[true], found)
    assert (pyramids * gallery[true]).sum(-1).mean() > 0.9
    assert len(views.plan.view_rows("train")) == 4 * 2 * len(views.gallery("train")[0])


def test_further_images_of_one_item_leave_the_views_of_others(tmp_path: Path) -> None:
    items = {"train": np.array([0, 1]), "valid": np.array([2, 4]), "test": np.array([3, 5])}
    further = {3: [FurtherImage("i3", tmp_path / f"{kind}.jpg", kind) for kind in ("moved", "paired")]}
    plan = plan_views(items, further, CONFIG, 0)
    rows = plan.rows("test", "moved")
    assert [(int(plan.items[row]), plan.paths[row]) for row in rows] == [(3, tmp_path / "moved.jpg"), (5, None)]
    assert plan.items[plan.rows("test", "paired")].tolist() == [3]
    assert len(plan.rows("train", "moved")) == 2 * CONFIG.copies


def test_further_images_of_all_items_of_one_image_are_taken(tmp_path: Path) -> None:
    looks = [FurtherImage(item, tmp_path / f"{item}.jpg", "moved") for item in ("s", "m", "l", "none")]
    catalogue: Any = SimpleNamespace(positions={"s": 0, "m": 1, "l": 2, "none": 3})
    dataset: Any = SimpleNamespace(further_images=looks, catalogue=catalogue)
    assert _further(dataset, np.array([0, 0, 2, -1])) == {0: looks[:2], 2: looks[2:3]}


def test_further_images_stand_in_the_place_of_made_views(images: PackedImages, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.png"
    Image.new("RGB", (40, 20), (0, 0, 255)).save(file)
    items = {"train": np.array([0, 1]), "valid": np.array([2, 4]), "test": np.array([3, 5])}
    further = {item: [FurtherImage(f"i{item}", file, "moved")] * 2 for item in range(6)}
    plan = plan_views(items, further, CONFIG, 0)
    rows = plan.rows("test", "moved")
    assert plan.items[rows].tolist() == [3, 5]
    assert len(plan.rows("train", "moved")) == 4
    assert len(plan.rows("train", "cropped")) == 4
    seen = ViewImages(plan, images, an_encoder().prepare, 0)
    assert seen.image(int(rows[0]))[16, 16, :3].tolist() == [0, 0, 255]
    assert plan.rows("test", AS_IT_IS).shape == (2,)
    before = plan_key(plan, images, an_encoder(), 0)
    Image.new("RGB", (40, 20), (0, 255, 0)).save(file)
    assert plan_key(plan, images, an_encoder(), 0) != before


# data


def test_a_pairs_table_gives_further_images(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,category,text\na,hats,x\nb,bags,y\n")
    (tmp_path / "outfits.csv").write_text("outfit_id,item_id\no,a\no,b\n")
    (tmp_path / "seen.csv").write_text("item,photo,how\na,street/1.jpg,cropped\nb,street/2.jpg,occluded\n")
    config = TablesConfig(pairs="seen.csv", pair_item_id="item", pair_image="photo")
    raw = read_tables(tmp_path, config)
    assert raw.further_images[0] == FurtherImage("a", tmp_path / "street" / "1.jpg", "paired")
    raw = read_tables(tmp_path, replace(config, pair_kind="how"))
    assert [image.kind for image in raw.further_images] == ["cropped", "occluded"]
    with pytest.raises(DataError, match=r"data\.tables\.pair_kind"):
        read_tables(tmp_path, replace(config, pair_kind="bucket"))


def test_further_images_follow_the_policy_for_missing_ones(tmp_path: Path) -> None:
    rows = "".join(f"{item},hats,x\n{item}2,bags,y\n" for item in "abcdef")
    (tmp_path / "items.csv").write_text(f"item_id,category,text\n{rows}")
    outfits = "".join(f"{item},{item}\n{item},{item}2\n" for item in "abcdef")
    (tmp_path / "outfits.csv").write_text(f"outfit_id,item_id\n{outfits}")
    (tmp_path / "seen.csv").write_text("item_id,image\na,cafe\u0301  1.jpg\nb,none.jpg\n", encoding="utf-8")
    Image.new("RGB", (8, 8)).save(tmp_path / "cafe\u0301  1.jpg")  # as it is written, unlike the names of items
    config = DataConfig(
        format="tables", root=str(tmp_path), split=SplitConfig(mode="random", shares=[0.4, 0.3, 0.3]),
        tables=TablesConfig(pairs="seen.csv"),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"item 'b': its further image .*none\.jpg is missing"):
        load_dataset(config)
    dataset = load_dataset(replace(config, on_missing_image="mask"))
    assert [image.path.name for image in dataset.further_images] == ["cafe\u0301  1.jpg"]
    assert (dataset.counts["further images read"], dataset.counts["further images kept"]) == (2, 1)


def test_a_broken_further_image_is_one_line(tmp_path: Path, images: PackedImages) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    items = {"train": np.array([0, 1]), "valid": np.array([2, 4]), "test": np.array([3, 5])}
    plan = plan_views(items, {0: [FurtherImage("i0", tmp_path / "broken.jpg", "moved")]}, CONFIG, 0)
    _, said = ViewImages(plan, images, an_encoder().prepare, 0)[0]
    assert "broken.jpg cannot be decoded" in str(said)
    store = PyramidStore(tmp_path / "store", len(plan))
    with pytest.raises(DataError, match=r"broken\.jpg cannot be decoded"):
        pyramid_work(an_encoder(), store)(torch.device("cpu"))((0, said))


def test_drawn_garments_are_drawn_again_elsewhere(tmp_path: Path) -> None:
    drawn = SyntheticConfig(items=60, outfits=60, image_size=48, further_images=2)
    dataset = load_dataset(DataConfig(root=str(tmp_path / "data"), synthetic=drawn))
    catalogue = dataset.catalogue
    assert dataset.counts["further images kept"] == 2 * len(catalogue)
    images = {}
    for image in dataset.further_images:
        images.setdefault(image.item_id, []).append(np.asarray(Image.open(image.path)).astype(float))
    for position in range(0, len(catalogue), 40):
        own = np.asarray(Image.open(catalogue.image_paths[position])).astype(float)  # type: ignore[arg-type]
        colours = [
            [one[(one < 235).any(-1)].mean(0) for one in (own, other)] for other in images[catalogue.item_ids[position]]
        ]
        for (mine, theirs), other in zip(colours, images[catalogue.item_ids[position]], strict=True):
            assert np.abs(mine - theirs).max() < 30
            assert ((other < 235).any(-1)).mean() < 0.9 * ((own < 235).any(-1)).mean()


# training


def test_near_items_are_of_the_category_first(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.01]], dtype=np.float32)
    assert nearest_alike(vectors, np.array([0, 0, 0, 1]), 2).tolist() == [[1, 2], [0, 2], [1, 0], [0, 1]]
    many, kinds = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32), np.arange(70) % 3
    expected = nearest_alike(many, kinds, 69)
    assert expected.shape == (70, 69)
    monkeypatch.setattr(parts_data, "ROWS_AT_ONCE", 16)
    np.testing.assert_array_equal(nearest_alike(many, kinds, 9), expected[:, :9])


def test_a_batch_compares_views_with_items_of_the_batch_and_near_ones(images: PackedImages) -> None:
    views = some_views(images)
    data = PartsDataModule(views, np.zeros(60, dtype=np.int32), CONFIG)
    data.setup("fit")
    samples = data.samples["train"]
    batch = data.collate([samples[(0, place)] for place in (0, 1, 9)])  # type: ignore[index]
    assert not isinstance(batch, list)
    assert batch.others.shape == (3, 6, 5, 3)
    assert batch.same.tolist()[0] == [True, True, False, False, False, False]  # two views of one item
    gallery = torch.from_numpy(views.gallery("train")[1])
    assert torch.equal(batch.others[1, 2], gallery[samples[(0, 9)][1]])  # type: ignore[index]
    assert samples[(0, 4)][2].tolist() == samples[(0, 4)][2].tolist()  # type: ignore[index]
    assert any(samples[(0, p)][2].tolist() != samples[(1, p)][2].tolist() for p in range(9))  # type: ignore[index]


@pytest.mark.parametrize("loss", ["listwise", "pairs"])
def test_training_learns_to_find_items(images: PackedImages, loss: str) -> None:
    views, config = some_views(images), replace(CONFIG, loss=loss, dim=16, layers=1, epochs=8)
    data = PartsDataModule(views, np.zeros(60, dtype=np.int32), config)
    L.seed_everything(0, verbose=False)
    module = PartsModule(views, config)
    data.setup("fit")
    batch: Any = data.collate([data.samples["train"][(0, place)] for place in range(0, 200, 9)])
    of_logits = listwise_loss if loss == "listwise" else pairs_loss
    with torch.no_grad():
        before = float(of_logits(module.logits(batch), batch.same))
    trainer = L.Trainer(
        max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    with torch.no_grad():
        after = float(of_logits(module.logits(batch), batch.same))
    assert 0 <= float(trainer.callback_metrics["parts/valid_top1"]) <= 1
    assert after < 0.8 * before


def test_a_heat_map_is_blue_where_parts_agree_and_orange_where_not() -> None:
    effects = np.array([[1, 0], [0, -1]], dtype=np.float32)
    drawn = np.asarray(heat_map(Image.new("RGB", (40, 20), "white"), effects, 1.0)).astype(int)
    assert drawn.shape == (40, 40, 3)
    assert drawn[2, 2, 2] > drawn[2, 2, 0] + 50
    assert drawn[37, 37, 0] > drawn[37, 37, 2] + 50
    assert np.abs(drawn[2, 37] - 255).max() < 20
