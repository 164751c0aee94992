"""Warps: the identity gives the image back, and no increments ever fold it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from outfits.representations.deforming import bias
from outfits.representations.warping import (
    affine_of,
    grid_of,
    identity_grid,
    increments,
    transformed,
    warped,
)


def test_the_identity_field_returns_the_picture() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    grid = grid_of(increments(torch.zeros(3, 2, 16, 16)))
    grid = transformed(grid, affine_of(torch.zeros(3, 5)))
    torch.testing.assert_close(warped(images, grid), images, atol=1e-5, rtol=0)


def test_the_identity_grid_is_torchs_own() -> None:
    theirs = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 3, 8, 8], align_corners=False)
    torch.testing.assert_close(identity_grid(8), theirs)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0, 1e4]))
def test_increments_never_fold(seed: int, size: float) -> None:
    """However extreme the decoder's output, pixels of a row and of a column keep their order."""
    raw = size * torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(seed))
    steps = increments(raw)
    assert steps.min() >= 0.25 - 1e-6
    assert steps.max() <= 4 + 1e-5
    grid = grid_of(steps)
    assert grid[:, :, :, 0].diff(dim=2).min() > 0
    assert grid[:, :, :, 1].diff(dim=1).min() > 0


def test_stretching_everything_keeps_the_middle() -> None:
    grid = grid_of(torch.full((1, 2, 8, 8), 0.5))
    torch.testing.assert_close(grid, 0.5 * identity_grid(8))


def test_a_wide_increment_moves_what_lies_beyond_it() -> None:
    steps = torch.ones(1, 2, 8, 8)
    steps[:, 0, :, 6] = 3.0  # one column is three columns of the template wide
    moved = grid_of(steps)[0, 0, :, 0] - identity_grid(8)[0, 0, :, 0]
    torch.testing.assert_close(moved, torch.tensor([0, 0, 0, 0, 0, 0, 1, 2]) * (2 / 8))


def test_white_comes_in_from_beyond_the_template() -> None:
    grid = identity_grid(8) + torch.tensor([0.5, 0.0])  # reads two columns further right
    seen = warped(torch.zeros(1, 3, 8, 8), grid)
    assert torch.equal(seen[..., :6], torch.zeros(1, 3, 8, 6))
    assert torch.equal(seen[..., 6:], torch.ones(1, 3, 8, 2))


def test_affine_maps_scale_turn_and_shift_without_mirroring() -> None:
    raw = torch.tensor([[0.3, -0.2, 0.5, 0.1, -0.4]])
    affine = affine_of(raw)[0]
    across, down = math.exp(0.4 * math.tanh(0.3)), math.exp(0.4 * math.tanh(-0.2))
    turn = 0.4 * math.tanh(0.5)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    torch.testing.assert_close(affine[:, :2], rotation @ torch.diag(torch.tensor([across, down])))
    torch.testing.assert_close(affine[:, 2], 0.5 * torch.tensor([0.1, -0.4]).tanh())
    extreme = affine_of(1e3 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0)))
    assert torch.linalg.det(extreme[:, :, :2]).min() > 0


def test_transformed_agrees_with_affine_grid() -> None:
    affine = affine_of(torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
    theirs = torch.nn.functional.affine_grid(affine, [4, 3, 8, 8], align_corners=False)
    torch.testing.assert_close(transformed(identity_grid(8).expand(4, -1, -1, -1), affine), theirs)


def test_bias_is_zero_for_warps_that_cancel_out_and_counts_a_common_shift() -> None:
    grid = torch.cat([identity_grid(8) + 0.1, identity_grid(8) - 0.1])
    unchanged = torch.eye(2, 3).expand(2, 2, 3)
    assert bias(grid, unchanged).item() == pytest.approx(0.0, abs=1e-10)
    assert bias(identity_grid(8) + 0.1, unchanged).item() == pytest.approx(0.01, rel=1e-4)
    shifted = unchanged.clone()
    shifted[:, :, 2] = 0.3
    assert bias(identity_grid(8), shifted).item() == pytest.approx(2 * 0.09 / 6, rel=1e-4)
