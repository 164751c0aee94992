"""Losses against independent implementations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import sigmoid_focal_loss

from outfits.models.losses import (
    assignment_cost,
    best_assignment,
    cosine_distance_to_targets,
    focal_loss,
    listwise_distillation,
)


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


def test_a_latent_is_assigned_to_a_target_of_its_own_condition_and_absent_targets_take_what_is_left() -> None:
    rng = np.random.default_rng(0)
    k = 4
    for _ in range(50):
        conditions = rng.integers(3, size=k)
        present = rng.random(k) < 0.7
        distance = rng.random((k, k)) * 2
        cost = assignment_cost(
            torch.from_numpy(distance)[None],
            torch.from_numpy(present)[None],
            torch.from_numpy(conditions[:, None] == conditions)[None],
        )
        found = best_assignment(cost)[0].numpy()
        targets = np.flatnonzero(present)
        fitting = [
            latents
            for latents in permutations(range(k), len(targets))
            if all(conditions[latent] == conditions[target] for latent, target in zip(latents, targets, strict=True))
        ]
        best = min(sum(distance[list(latents), targets]) for latents in fitting)
        assert (conditions[found[targets]] == conditions[targets]).all()
        assert distance[found[targets], targets].sum() == pytest.approx(best)


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
    torch.testing.assert_close(listwise_distillation(similarity, target, torch.tensor(0.5), absent), expected[None])


def test_listwise_loss_has_finite_gradients_where_candidates_are_absent() -> None:
    similarity = torch.tensor([[0.3, -0.2, 0.9]], requires_grad=True)
    temperature = torch.tensor(0.1, requires_grad=True)
    loss = listwise_distillation(
        similarity, torch.tensor([[1.0, 0.0, 0.0]]), temperature, torch.tensor([[False, False, True]])
    )
    loss.sum().backward()
    assert similarity.grad is not None
    assert temperature.grad is not None
    assert torch.isfinite(similarity.grad).all()
    assert torch.isfinite(temperature.grad)
    assert similarity.grad[0, 2] == 0
