"""Losses against independent implementations."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import sigmoid_focal_loss

from outfits.models.losses import best_assignment, cosine_distance_to_targets, focal_loss, listwise_distillation


@pytest.mark.parametrize(("alpha", "gamma"), [(0.5, 2.0), (0.25, 1.0), (0.9, 0.0)])
def test_focal_loss_is_that_of_torchvision(alpha: float, gamma: float) -> None:
    logits = torch.linspace(-6, 6, 21)
    labels = (torch.arange(21) % 3 == 0).float()
    expected = sigmoid_focal_loss(logits, labels, alpha=alpha, gamma=gamma, reduction="mean")
    torch.testing.assert_close(focal_loss(logits, labels, alpha, gamma), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_best_assignment_is_that_of_the_hungarian_method(k: int) -> None:
    distance = torch.rand(20, k, k, generator=torch.Generator().manual_seed(k))
    latent_of_target = best_assignment(distance).numpy()
    for matrix, latents in zip(distance.numpy(), latent_of_target, strict=True):
        rows, columns = linear_sum_assignment(matrix)
        assert matrix[latents, np.arange(k)].sum() == pytest.approx(matrix[rows, columns].sum())
        assert sorted(latents) == list(range(k))


def test_cosine_distance_is_zero_for_parallel_and_two_for_opposite_vectors() -> None:
    latents = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    targets = torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])
    torch.testing.assert_close(cosine_distance_to_targets(latents, targets), torch.tensor([[[0.0, 1.0], [1.0, 2.0]]]))


def test_listwise_loss_is_the_cross_entropy_over_the_candidates_that_are_there() -> None:
    similarity = torch.tensor([[0.3, -0.2, 0.9, 0.5]])
    target = torch.tensor([[0.7, 0.0, 0.3, 0.0]])
    absent = torch.tensor([[False, False, False, True]])
    probability = torch.softmax(similarity[:, :3] / 0.5, dim=-1)
    expected = -(0.7 * probability[0, 0].log() + 0.3 * probability[0, 2].log())
    torch.testing.assert_close(listwise_distillation(similarity, target, torch.tensor(0.5), absent), expected)


def test_listwise_loss_has_finite_gradients_where_candidates_are_absent() -> None:
    similarity = torch.tensor([[0.3, -0.2, 0.9]], requires_grad=True)
    temperature = torch.tensor(0.1, requires_grad=True)
    loss = listwise_distillation(
        similarity, torch.tensor([[1.0, 0.0, 0.0]]), temperature, torch.tensor([[False, False, True]])
    )
    loss.backward()
    assert similarity.grad is not None
    assert temperature.grad is not None
    assert torch.isfinite(similarity.grad).all()
    assert torch.isfinite(temperature.grad)
    assert similarity.grad[0, 2] == 0
