"""Textures and styles: Gram matrices, neighbourhoods under any mask, optimised pixels, samples of fabric."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outfits.config.schema.imaging import StyleTransferConfig, TextureConfig
from outfits.errors import ConfigError
from outfits.imaging.gram import colour_loss, gram_loss, gram_matrix
from outfits.imaging.gram_texture import gram_distance, synthesised
from outfits.imaging.neighbour_texture import WindowIndex, grown
from outfits.imaging.optimisation import optimised
from outfits.imaging.style import StyleObjective, inside
from outfits.imaging.swatches import drawn_swatch, fabric_square, mirrored
from outfits.representations.perceptual import FrozenFeatures

RNG = np.random.default_rng(0)


def features() -> FrozenFeatures:
    """Two layers of a small random network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
    return FrozenFeatures(network, ("1", "3"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_a_gram_matrix_holds_mean_products_of_channels() -> None:
    maps = torch.randn(2, 3, 4, 5)
    gram = gram_matrix(maps)
    for one, other in ((0, 0), (0, 2), (2, 1)):
        torch.testing.assert_close(gram[:, one, other], (maps[:, one] * maps[:, other]).mean(dim=(1, 2)))
    shuffled = maps.flatten(2)[..., torch.randperm(20)].view_as(maps)
    torch.testing.assert_close(gram_matrix(shuffled), gram, msg="places do not matter")


def test_a_masked_gram_matrix_is_that_of_the_part() -> None:
    maps, mask = torch.randn(2, 3, 8, 8), torch.zeros(2, 1, 16, 16)
    mask[:, :, :8] = 1
    torch.testing.assert_close(gram_matrix(maps, mask), gram_matrix(maps[:, :, :4]))
    torch.testing.assert_close(gram_matrix(maps, torch.ones(2, 1, 16, 16)), gram_matrix(maps))


def test_the_gram_loss_is_relative() -> None:
    targets = [gram_matrix(torch.randn(1, 3, 4, 4)), 1000 * gram_matrix(torch.randn(1, 5, 4, 4))]
    grams = [torch.cat([target, 2 * target]) for target in targets]
    torch.testing.assert_close(gram_loss(grams, targets), torch.tensor([0.0, 2.0]))


def test_the_colour_loss_sees_a_tint_and_a_blotch() -> None:
    sample = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blotch = sample.clone()
    blotch[:, :, :16] += 0.2
    blotch[:, :, 16:] -= 0.2
    assert colour_loss(sample, sample) == 0
    assert colour_loss(sample + 0.2, sample) > 0.1
    assert colour_loss(blotch, sample) > 0.1
    assert colour_loss(sample.flip(3), sample) < 1e-9


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_one_index_finds_the_nearest_window_under_any_mask(share: float) -> None:
    sample = RNG.random((12, 14, 3), dtype=np.float32)
    index = WindowIndex(sample, 5)
    for _ in range(20):
        query, known = RNG.random((5, 5, 3), dtype=np.float32), RNG.random((5, 5)) <= share
        known[2, 1] = True
        weight = index.weights * known / (index.weights * known).sum()
        by_hand = np.array(
            [
                (((sample[row : row + 5, column : column + 5] - query) ** 2).sum(axis=2) * weight).sum()
                for row in range(8)
                for column in range(10)
            ]
        )
        found, distances = index.nearest(query, known)
        assert found[0] == by_hand.argmin()
        np.testing.assert_allclose(distances[:5], np.sort(by_hand)[:5], rtol=1e-4)
        np.testing.assert_allclose(index.centres[found[0]], sample[found[0] // 10 + 2, found[0] % 10 + 2])


def periodic(side: int, pattern: str) -> np.ndarray:
    """A pattern of period 6."""
    rows, columns = np.indices((side, side))
    mixed = {
        "stripes": (rows % 6 < 2) * 1.0,
        "diagonal": ((rows + columns) % 6 < 3) * 1.0,
        "checks": 0.5 * (rows % 6 < 2) + 0.5 * (columns % 6 < 3),
    }[pattern]
    return np.stack([0.2 + 0.6 * mixed, mixed, 1 - mixed], axis=2).astype(np.float32)


@pytest.mark.parametrize("pattern", ["stripes", "diagonal", "checks"])
def test_a_periodic_texture_stays_periodic(pattern: str) -> None:
    whole = periodic(36, pattern)
    sample = whole[6:30, 6:30]  # a multiple of the period from the edge
    np.testing.assert_array_equal(grown(sample, 36, 13, seed=1), whole)


def test_a_window_smaller_than_the_period_loses_it() -> None:
    whole = periodic(36, "stripes")
    assert np.abs(grown(whole[6:30, 6:30], 36, 3, seed=1) - whole).mean() > 0.01


def test_grown_pixels_are_pixels_of_the_sample() -> None:
    sample = RNG.random((9, 9, 3), dtype=np.float32)
    texture = grown(sample, 15, 5, seed=3)
    np.testing.assert_array_equal(texture[3:12, 3:12], sample)
    colours = {tuple(pixel) for pixel in sample.reshape(-1, 3).tolist()}
    assert {tuple(pixel) for pixel in texture.reshape(-1, 3).tolist()} <= colours
    np.testing.assert_array_equal(texture, grown(sample, 15, 5, seed=3))
    assert (texture != grown(sample, 15, 5, tolerance=5.0, seed=4)).any()


def test_growing_stops_when_told_to() -> None:
    sample = RNG.random((9, 9, 3), dtype=np.float32)
    told: list[tuple[int, int]] = []

    def stop(done: int, steps: int, value: float) -> bool:
        told.append((done, steps))
        return False

    texture = grown(sample, 15, 5, progress=stop)
    assert told == [(0, 15 * 15 - 81)]
    assert (texture[0] == 1).all()


def test_samples_that_do_not_fit_are_refused() -> None:
    sample = RNG.random((9, 9, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="window 4 is even"):
        WindowIndex(sample, 4)
    with pytest.raises(ValueError, match="window 11"):
        grown(sample, 20, 11)
    with pytest.raises(ValueError, match="larger than the 8"):
        grown(sample, 8, 3)


def test_pixels_are_optimised_towards_the_goal_and_stay_colours() -> None:
    goal = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    done = optimised(torch.full((1, 3, 8, 8), 0.5), lambda image: (image - goal).square().sum(), 60)
    torch.testing.assert_close(done.image, goal, atol=0.02, rtol=0)
    assert done.losses[-1] == min(done.losses)
    beyond = optimised(torch.full((1, 3, 8, 8), 0.5), lambda image: -image.sum(), 20).image
    assert (beyond <= 1).all()


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_the_objective_is_evaluated_as_often_as_configured(steps: int) -> None:
    def rough(image: Tensor) -> Tensor:
        evaluated.append(image)
        return (40 * image).sin().sum() + image.square().sum()

    evaluated: list[Tensor] = []
    done = optimised(torch.full((1, 3, 8, 8), 0.5), rough, steps)
    assert len(evaluated) == steps == len(done.losses) - 1
    assert done.losses[-1] == min(done.losses[:-1])


def test_an_optimisation_stops_with_the_best_image_so_far() -> None:
    told: list[int] = []

    def stop(done: int, steps: int, value: float) -> bool:
        told.append(done)
        return False

    done = optimised(torch.full((1, 3, 8, 8), 0.5), lambda image: image.square().sum(), 1000, progress=stop)
    assert len(told) == 1
    assert len(done.losses) < 100
    torch.testing.assert_close(done.image.square().sum(), torch.tensor(done.losses[-1]))


def test_gram_synthesis_nears_the_statistics_of_the_sample() -> None:
    network = features()
    sample = torch.from_numpy(periodic(32, "checks")).permute(2, 0, 1)[None]
    config = TextureConfig(size=32, steps=60, smoothness_weight=0.0)
    texture = synthesised(sample, network, config)
    noise = synthesised(sample, network, TextureConfig(size=32, steps=1, smoothness_weight=0.0))
    assert gram_distance(sample, sample, network) == 0
    assert texture.losses[-1] < 0.05 * texture.losses[0]
    assert gram_distance(texture.image, sample, network) < 0.3 * gram_distance(noise.image, sample, network)


def objective() -> tuple[StyleObjective, Tensor]:
    """An objective of two styles on the layers of :func:`features`, and the styles."""
    styles = torch.stack(
        [torch.from_numpy(periodic(32, pattern)).permute(2, 0, 1) for pattern in ("stripes", "checks")]
    )
    config = StyleTransferConfig(content_layers=["3"], style_layers=["1", "3"], smoothness_weight=0.5)
    return StyleObjective(config, features(), styles), styles


def test_a_style_has_no_error_in_itself_and_a_content_none_in_itself() -> None:
    loss, styles = objective()
    everywhere = torch.ones(2, 1, 32, 32)
    terms = loss(styles, loss.content_of(styles), everywhere, torch.eye(2))
    torch.testing.assert_close(terms["style"], torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(terms["content"], torch.zeros(2))
    swapped = loss(styles, loss.content_of(styles.flip(0)), everywhere, torch.eye(2).flip(0))
    assert (swapped["style"] > 0.1).all()
    assert (swapped["content"] > 0.1).all()


def test_the_loss_of_a_mixture_weighs_the_styles_losses() -> None:
    loss, styles = objective()
    images, everywhere = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    content = loss.content_of(images)
    first, second, mixed = (
        loss(images, content, everywhere, torch.tensor([weights])) for weights in ([1.0, 0.0], [0.0, 1.0], [0.3, 0.7])
    )
    torch.testing.assert_close(mixed["style"], 0.3 * first["style"] + 0.7 * second["style"])
    config = loss.config
    expected = config.style_weight * mixed["style"] + config.smoothness_weight * mixed["variation"]
    torch.testing.assert_close(mixed["loss"], expected)


def test_painting_changes_nothing_outside_the_garment() -> None:
    contents, painted = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    foreground = torch.zeros(1, 1, 8, 8)
    foreground[..., 2:5, 2:5] = 1
    image = inside(painted, contents, foreground)
    torch.testing.assert_close(image[..., 2:5, 2:5], painted[..., 2:5, 2:5])
    assert (image[..., 5:, :] == contents[..., 5:, :]).all()


def test_a_square_of_fabric_is_the_one_that_varies_most() -> None:
    image, foreground = torch.full((3, 24, 24), 0.5), torch.zeros(1, 24, 24)
    foreground[:, 4:20, 4:20] = 1
    image[:, 12:20:2, 4:20] = 0.9
    image[:, :4] = torch.rand(3, 4, 24)  # not of the garment
    square = fabric_square(image, foreground, 6)
    assert square is not None
    assert square.shape == (3, 6, 6)
    assert float(square.var()) > 0.03
    assert len(square.unique()) == 2, "nothing of the background"
    assert fabric_square(image, foreground, 17) is None
    assert fabric_square(image, foreground, 25) is None, "larger than the image"


def test_a_square_is_mirrored_to_a_size() -> None:
    square = torch.rand(3, 5, 5)
    filled = mirrored(square, 13)
    torch.testing.assert_close(filled[:, :5, :5], square)
    torch.testing.assert_close(filled[:, :10, :10], filled[:, :10, :10].flip(1).flip(2))
    torch.testing.assert_close(filled[:, :, 10:], filled[:, :, :3])
    assert mirrored(square, 5).equal(square)


def test_drawn_fabrics_repeat_and_unknown_ones_are_named() -> None:
    stripes = drawn_swatch("stripes", 64)
    torch.testing.assert_close(stripes[:, :48], stripes[:, 16:], atol=0.02, rtol=0)  # the period is 16 pixels
    assert (stripes[:, :, :1] == stripes).all()
    with pytest.raises(ConfigError, match=r"here: there is no drawn pattern 'stars'; there are plain, stripes"):
        drawn_swatch("stars", 64, key="here")
