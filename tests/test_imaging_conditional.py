"""Conditional generation: codes, views, the loss, and a network that learns what it is told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.conditional import ConditionedImageDataModule
from outfits.config.schema.imaging_conditional import ConditionalArchitecture, ConditionalLoss, ViewConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.encoders.packed import PackedImages
from outfits.errors import ConfigError
from outfits.imaging.attributes import AttributeCode
from outfits.imaging.conditional import ConditionalGenerator, image_and_mask_loss
from outfits.imaging.views import VIEW, Views
from outfits.metrics.conditional import obeyed_views, overlap

SIZE = 32


def _catalogue() -> Catalogue:
    return Catalogue(
        [f"i{place}" for place in range(5)],
        np.array([0, 0, 1, 1, 1], dtype=np.int32),
        ["bags", "hats"],
        [""] * 5,
        [None] * 5,
        attributes={"colour": ["red", "blue", "red", "", "green"], "same": ["x"] * 5},
    )


def _square(left: int = 12, top: int = 12, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """A grey square on white, and its mask."""
    masks = torch.zeros(1, 1, SIZE, SIZE)
    masks[..., top : top + side, left : left + side] = 1
    return 1 - 0.5 * masks.expand(-1, 3, -1, -1), masks


def test_items_are_coded_by_the_values_of_training_items() -> None:
    code = AttributeCode.of(_catalogue(), np.array([0, 1, 2, 3]), [], 64)
    assert code.values == {"category": ("bags", "hats"), "colour": ("red", "blue")}
    assert code.codes(_catalogue()).tolist() == [
        [1, 0, 1, 0],
        [1, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 1, 0, 0],  # unknown
        [0, 1, 0, 0],  # green is on no training item
    ]
    assert code.place("colour") == slice(2, 4)


def test_the_nearest_item_is_of_the_category_before_all_other_attributes() -> None:
    code = AttributeCode({"category": ("bags", "hats"), "colour": ("red", "blue"), "pattern": ("plain", "dots")})
    rows = {"bag": [1, 0, 1, 0, 1, 0], "hat": [0, 1, 1, 0, 1, 0], "blue bag": [1, 0, 0, 1, 0, 1]}
    codes = {name: np.array([row], dtype=np.float32) for name, row in rows.items()}
    among = np.concatenate([codes["hat"], codes["blue bag"]])
    assert code.nearest(codes["bag"], among).tolist() == [1]
    assert code.nearest(codes["bag"], np.concatenate([among, codes["bag"]])).tolist() == [2]
    assert code.nearest(codes["bag"], among[:1]).tolist() == [0], "no bag to choose"


def test_an_attribute_that_items_lack_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"attributes: the items have no attribute 'color'; did you mean colour"):
        AttributeCode.of(_catalogue(), np.array([0]), ["color"], 64)


@pytest.mark.parametrize(("number", "expected"), [(0, (4, 0)), (1, (0, 4))], ids=VIEW[:2])
def test_a_view_moves_image_and_mask_together(number: int, expected: tuple[int, int]) -> None:
    images, masks = _square()
    views = torch.zeros(1, 4)
    views[0, number] = 0.5
    moved, moved_masks = Views(ViewConfig(place=0.25)).apply(images, masks, views)  # an eighth of 32 pixels
    right, down = expected
    whole, whole_masks = _square(12 + right, 12 + down)
    torch.testing.assert_close(moved, whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved_masks, whole_masks, atol=1e-5, rtol=0)


def test_a_larger_view_keeps_the_middle_and_scales_the_area() -> None:
    images, masks = _square()
    _, larger = Views(ViewConfig(size=0.5)).apply(images, masks, torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
    assert larger.sum().item() == pytest.approx(1.5**2 * masks.sum().item(), rel=0.05)
    torch.testing.assert_close(larger, larger.flip(2).flip(3), atol=1e-5, rtol=0)


def test_a_brighter_view_leaves_the_background() -> None:
    images, masks = _square()
    images = images * 0.9  # a background that is not white
    brighter, _ = Views(ViewConfig(brightness=0.4)).apply(images, masks, torch.tensor([[0.0, 0.0, 0.0, 0.5]]))
    expected = torch.where(masks > 0, images * 1.2, images)
    torch.testing.assert_close(brighter, expected, atol=1e-5, rtol=0)


def test_the_loss_weighs_pixels_and_the_mask() -> None:
    images, masks = _square()
    config = ConditionalLoss(mask_weight=0.5, background_weight=0.25)
    assert image_and_mask_loss((images, masks), images, masks, config)["loss"].item() == 0
    garment, ground = (torch.where(mask > 0, images - 0.1, images) for mask in (masks, 1 - masks))
    shares = masks.mean().item(), 1 - masks.mean().item()
    errors = [image_and_mask_loss((wrong, masks), images, masks, config)["image"].item() for wrong in (garment, ground)]
    assert errors[0] / shares[0] == pytest.approx(4 * errors[1] / shares[1], rel=1e-4)
    terms = image_and_mask_loss((images, 1 - masks), images, masks, config)
    assert (terms["mask"].item(), terms["loss"].item()) == pytest.approx((1.0, 0.5))


def test_overlap_is_intersection_over_union() -> None:
    one, other = _square(8, 8, 8)[1], _square(12, 8, 8)[1]
    empty = torch.zeros_like(one)
    assert overlap(torch.cat([one, one, empty]), torch.cat([one, other, empty])).tolist() == pytest.approx(
        [1, 1 / 3, 1]
    )


class _ObedientCamera:
    """Shows one square under exactly the view that is asked for."""

    def __init__(self, config: ViewConfig) -> None:
        self.views = Views(config)

    def __call__(self, conditions: torch.Tensor, view: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        images, masks = (part.expand(len(conditions), -1, -1, -1) for part in _square())
        return (images, masks) if view is None else self.views.apply(images, masks, view)


def test_an_obedient_network_has_slope_one() -> None:
    config = ViewConfig()
    obeyed = obeyed_views(_ObedientCamera(config), torch.zeros(40, 1), config, seed=0)  # type: ignore[arg-type]
    assert set(obeyed) == set(VIEW)
    for correlation, slope in obeyed.values():
        assert correlation > 0.98
        assert slope == pytest.approx(1.0, abs=0.1)


def test_a_network_learns_colour_place_and_mask() -> None:
    torch.manual_seed(0)
    model = ConditionalGenerator(ConditionalArchitecture(width=8, hidden=32), 2, 16, 4)
    config, views = ConditionalLoss(), Views(ViewConfig(place=0.1, size=0, brightness=0))
    base_masks = F.avg_pool2d(_square(8, 8, 16)[1], 2)
    colours = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.2, 0.8]])[:, :, None, None]
    both, both_masks = torch.where(base_masks > 0, colours, 1.0), base_masks.expand(2, -1, -1, -1)
    told = torch.eye(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(160):
        rows, asked = torch.randint(0, 2, (16,)), torch.rand(16, 4) * 2 - 1
        images, masks = views.apply(both[rows], both_masks[rows], asked)
        loss = image_and_mask_loss(model(told[rows], asked), images, masks, config)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        drawn, masks = model(told)
        middle = drawn[..., 7:9, 7:9].mean(dim=(2, 3))
        correlation, _ = obeyed_views(model, told.repeat(10, 1), views.config, seed=1)[VIEW[0]]
    torch.testing.assert_close(middle, colours[..., 0, 0], atol=0.15, rtol=0)
    assert overlap(masks, both_masks).min() > 0.6
    assert correlation > 0.9


def test_batches_hold_each_items_own_image_mask_and_conditions() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 8, 8, 4)).astype(np.uint8)
    outfits = Outfits.from_lists(["a"], [[0, 1, 2, 3, 4]], np.zeros(1, dtype=np.int8))
    dataset = OutfitDataset("five", _catalogue(), outfits, {}, {}, {}, {})
    conditions = np.arange(10, dtype=np.float32).reshape(5, 2)
    data = ConditionedImageDataModule(dataset, PackedImages(pixels, np.ones(5, dtype=np.bool_)), conditions)
    batch = data.collate([3, 1])
    assert batch.conditions.tolist() == [[6, 7], [2, 3]]
    assert np.array_equal((batch.masks[:, 0] * 255).round().numpy(), pixels[[3, 1], ..., 3])
    assert np.array_equal((batch.images * 255).round().permute(0, 2, 3, 1).numpy(), pixels[[3, 1], ..., :3])
