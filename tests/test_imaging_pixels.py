"""PixelCNN and PixelRNN: nothing sees itself or what comes later, likelihoods sum to one, sampling agrees with them."""

import numpy as np
import pytest
import torch

from outfits.config.schema.imaging_pixels import PixelArchitecture
from outfits.imaging.faults import FAULTS, with_fault
from outfits.imaging.logistic_mixture import log_likelihood, means_and_log_scales, parameters_of, sample_pixels
from outfits.imaging.pixel_model import PixelModel
from outfits.imaging.pixelcnn import GatedPixelCnn
from outfits.imaging.pixelrnn import RowLstm
from outfits.metrics import lossless
from outfits.metrics.lossless import encoded_bits, histogram_bits, sheet_bits
from outfits.metrics.oddness import detection

SIZE = 16
MODELS = pytest.mark.parametrize("kind", [GatedPixelCnn, RowLstm])


def _model(kind: type[PixelModel], layers: int = 2, size: int = SIZE) -> PixelModel:
    torch.manual_seed(0)
    model = kind(PixelArchitecture(width=8, layers=layers, mixtures=2), 3, size).eval()
    for parameter in model.parameters():  # no head or bias at zero may hide a dependence
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def _images(count: int = 2, size: int = SIZE) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1)) / 255


def _seen(model: PixelModel, row: int, column: int) -> torch.Tensor:
    """Which pixels the parameters of one pixel depend on, by gradients, bool ``[S, S]``."""
    seen = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for image in _images(3).double():
        image = image[None].requires_grad_()
        model.double()(image, torch.tensor([1]))[0, :, row, column].square().sum().backward()
        assert image.grad is not None
        seen |= (image.grad[0] != 0).any(dim=0)
    return seen


@MODELS
@pytest.mark.parametrize("place", [(0, 0), (0, 9), (7, 0), (9, 8), (15, 15)], ids=str)
def test_no_pixel_sees_itself_or_a_later_one(kind: type[PixelModel], place: tuple[int, int]) -> None:
    row, column = place
    seen = _seen(_model(kind), row, column).flatten()
    assert not seen[row * SIZE + column :].any()
    assert seen[: row * SIZE + column].any() == (row + column > 0)


def test_pixelcnn_has_no_blind_spot() -> None:
    row, column, reach = 9, 8, 3 + 1 + 2  # two layers, the second dilated
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[row - reach : row, column - reach : column + reach + 1] = True
    expected[row, column - reach : column] = True
    assert torch.equal(_seen(_model(GatedPixelCnn), row, column), expected)
    assert _model(GatedPixelCnn).receptive_field.startswith(f"{reach} rows")


def test_row_lstm_sees_a_triangle_of_all_rows_above() -> None:
    row, column, layers = 5, 8, 1
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for above in range(row + 1):
        wide = row - above
        last = column + wide if above < row else column
        expected[above, max(0, column - 3 - layers - wide) : last] = True
    assert torch.equal(_seen(_model(RowLstm, layers), row, column), expected)


@MODELS
def test_every_pixel_depends_on_the_category(kind: type[PixelModel]) -> None:
    model, images = _model(kind), _images(8)  # several, since the head may be dead at a pixel of one
    one, other = (model(images, torch.full((8,), category)) for category in (0, 2))
    assert ((one - other).abs().amax(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize("channel", range(3))
def test_a_channel_sees_earlier_channels_of_its_pixel_alone(channel: int) -> None:
    parameters = torch.randn(1, parameters_of(4), 1, 1, generator=torch.Generator().manual_seed(0))
    pixel = torch.rand(1, 3, 1, 1).requires_grad_()
    means, log_scales = means_and_log_scales(parameters, pixel)
    (means[:, channel].square().sum() + 0 * log_scales.sum()).backward()
    assert pixel.grad is not None
    assert (pixel.grad.flatten() != 0).tolist() == [place < channel for place in range(3)]


@pytest.mark.parametrize("red", [0, 3, 100, 255])
def test_levels_of_green_and_blue_sum_to_reds_probability(red: int) -> None:
    parameters = torch.randn(1, parameters_of(3), 1, 1, generator=torch.Generator().manual_seed(2)).double()
    parameters[:, 12:21] = parameters[:, 12:21] * 0.5 - 2  # log scales
    levels = torch.arange(256).double() / 255
    images = torch.empty(1, 3, 256, 256, dtype=torch.float64)
    images[:, 0], images[:, 1], images[:, 2] = red / 255, levels[:, None], levels
    total = log_likelihood(parameters.expand(1, -1, 256, 256), images).exp().sum()
    weights, means = parameters[0, :3, 0, 0].softmax(0), parameters[0, 3:6, 0, 0]
    width, middle = parameters[0, 12:15, 0, 0].exp(), 2 * red / 255 - 1
    upper = torch.sigmoid((middle + 1 / 255 - means) / width) if red < 255 else torch.ones(3)
    lower = torch.sigmoid((middle - 1 / 255 - means) / width) if red > 0 else torch.zeros(3)
    assert total.item() == pytest.approx((weights * (upper - lower)).sum().item(), rel=1e-5)


def test_samples_are_distributed_as_the_likelihood_says() -> None:
    parameters = torch.zeros(1, parameters_of(2), 1, 1)
    parameters[0, :2, 0, 0] = torch.tensor([0.7, 0.3]).log()
    parameters[0, 2:8, 0, 0] = torch.tensor([-0.5, 0.5] * 3)  # means
    parameters[0, 8:14] = -3.0
    drawn = sample_pixels(parameters[..., 0, 0].expand(4000, -1), torch.Generator().manual_seed(0))
    assert torch.equal((drawn * 255).round() / 255, drawn)
    assert (drawn[:, 0] < 0.5).float().mean().item() == pytest.approx(0.7, abs=0.03)
    nats = -log_likelihood(parameters.expand(4000, -1, 1, 1), drawn[..., None, None]).mean()
    entropy = 0.6109 + 3 * (2 - 3 + np.log(255 / 2))  # of the component, and of three logistics of scale exp(-3)
    assert nats.item() == pytest.approx(entropy, abs=0.1)


@MODELS
def test_rows_give_the_parameters_of_the_whole_image(kind: type[PixelModel]) -> None:
    model, images, told = _model(kind), _images(), torch.tensor([2, 0])
    whole, state = model(images, told), None
    for row in range(SIZE):
        known = images.clone()
        known[:, :, row + 1 :] = 0
        state = model.enter_row(known, told, row, state)
        torch.testing.assert_close(model.row_parameters(known, row, state), whole[:, :, row], rtol=1e-4, atol=1e-4)


@MODELS
def test_completions_keep_known_rows_and_follow_the_seed(kind: type[PixelModel]) -> None:
    model, images, told = _model(kind, size=8), _images(size=8), torch.tensor([2, 0])
    one, again, other = (model.sample(told, seed, images, 5) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, :, :5], images[:, :, :5])
    assert not torch.equal(one[:, :, 5:], images[:, :, 5:])


@MODELS
def test_training_goes_below_the_histogram(kind: type[PixelModel]) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, size=(40, 1, 2, 3))
    images = np.tile(np.repeat(colours, 4, axis=2), (1, 8, 1, 1)).astype(np.uint8)  # two columns of one colour each
    told = np.zeros(40, dtype=np.int64)
    torch.manual_seed(0)
    model = kind(PixelArchitecture(width=16, layers=2, mixtures=2), 1, 8)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):  # to 0.6 to 0.75 of the histogram's bits, by seed and processor
        loss = -model.log_likelihood(tensor[:32], torch.zeros(32, dtype=torch.int64)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.pixel_bits(images[32:], told[32:]).mean() < 0.9 * histogram_bits(images[:32], images[32:]).mean()


def test_histogram_bits_of_uniform_levels_are_eight() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    assert histogram_bits(levels, levels) == pytest.approx([8.0])
    assert histogram_bits(np.zeros((1, 16, 16, 3), np.uint8), levels).item() > 8.0


@pytest.mark.parametrize("encoding", ["png", "webp"])
def test_one_file_for_all_images_has_one_header(encoding: str) -> None:
    images = np.full((10, 8, 8, 3), 255, dtype=np.uint8)
    images[:, 2:5, 2:5] = np.random.default_rng(0).integers(0, 256, (10, 1, 1, 3))
    assert 0 < sheet_bits(images, encoding) < 0.5 * encoded_bits(images, encoding).mean()


def test_a_column_too_long_for_webp_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((8192, 2, 2, 3), dtype=np.uint8)  # a column of 16,384 pixels
    images[:, 1:] = np.random.default_rng(0).integers(0, 256, (8192, 1, 1, 3))
    whole = sheet_bits(images, "webp")
    assert 0 < whole < encoded_bits(images[:8], "webp").mean()
    monkeypatch.setattr(lossless, "LONGEST", 2 * 64)  # two files of 4,096 images each
    assert whole < sheet_bits(images, "webp") < 1.5 * whole


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_images_and_follows_the_seed(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    broken = with_fault(images, name, 1)
    assert (broken.shape, broken.dtype) == (images.shape, np.uint8)
    assert all((one != other).any() for one, other in zip(images, broken, strict=True))
    assert np.array_equal(broken, with_fault(images, name, 1))


def test_detection_is_chance_where_the_fault_is_invisible() -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1)), 3, axis=3).astype(np.uint8)
    areas = detection(_model(GatedPixelCnn), grey, np.array([0, 1, 2, 0, 1, 2]), seed=0)
    assert set(areas) == {*FAULTS, "another category"}
    assert set(areas["red and blue exchanged"].values()) == {0.5}
    assert areas["another category"]["webp"] == 0.5
