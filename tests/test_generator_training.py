"""Training of the generator: what its losses count, and that it learns to heed conditions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from lightning_modules.generator import CATEGORY_DROP, GeneratorModule, draw_k, drop_categories
from outfits.config.schema.model import LossConfig, ModelConfig
from outfits.graphs.completion_graph import CompletionGraphs, GraphTargets, TrainingGraphs
from tests.test_generator_model import (
    CATEGORIES,
    IMAGE_DIM,
    ITEMS,
    LAYERS,
    TEXT_DIM,
    Condition,
    a_catalogue,
    condition_arrays,
)

GIVEN = ([0, 1], [7, 0, 12], [6, 13])  # categories 0 and 1: all others may be added
CANDIDATES = 4


def a_module(k: int = 2, text_dim: int = TEXT_DIM, **changes: Any) -> GeneratorModule:
    torch.manual_seed(0)
    named = {name: changes.pop(name) for name in ("layer", "aggregation", "readout", "retrieval") if name in changes}
    config = ModelConfig(k=k, k_max=3, width=16, layers=1, dropout=0.0, retrieval_dim=8, **named)
    loss = LossConfig(**{"random_candidates": 20, **changes})
    catalogue = a_catalogue()
    items = replace(catalogue.require_embeddings, image_dim=IMAGE_DIM + TEXT_DIM - text_dim, text_dim=text_dim)
    return GeneratorModule(catalogue.with_embeddings(items), config, loss)


def tasks_with(
    chosen: list[list[int]], conditions: list[list[Condition]] | None = None, given: Any = GIVEN
) -> CompletionGraphs:
    """Tasks whose targets are these items; the other candidates of a step are items of the target's category."""
    steps = np.array(chosen, dtype=np.int32)
    candidates = np.full((*steps.shape, CANDIDATES), -1, dtype=np.int32)
    for place, item in np.ndenumerate(steps):
        if item >= 0:
            others = [other for other in range(item % CATEGORIES, ITEMS, CATEGORIES) if other != item]
            candidates[place] = [item, *others[: CANDIDATES - 1]]
    scores = np.where(candidates >= 0, np.array([0.9, 0.3, 0.2, 0.1]), 0).astype(np.float32)
    outfits = [np.array(items, dtype=np.int32) for items in given][: len(chosen)]
    arrays = None
    if conditions is not None:
        both = [condition_arrays(row) for row in conditions]
        arrays = np.stack([allowed for allowed, _ in both]), np.stack([texts for _, texts in both])
    targets = GraphTargets(steps, candidates, scores, np.zeros(len(steps)))
    return CompletionGraphs(a_catalogue(), outfits, np.zeros((len(steps), 2), dtype=np.int32), targets, arrays)


FREE = tasks_with([[2, 3, 4], [9, 8, 5], [15, 2, 10]])
CONDITIONED = tasks_with([[2, 3], [9, 8]], [[([2], 1), ([3], None)], [([3], None), ([2], None)]])


def batch_of(*parts: CompletionGraphs) -> Batch:
    graphs = TrainingGraphs(parts, 3)
    return Batch.from_data_list([graphs[task] for task in range(len(graphs))])


def loss_of(module: GeneratorModule, latents: Tensor, batch: Batch) -> dict[str, float]:
    torch.manual_seed(1)
    return {name: value.item() for name, value in module.losses(latents, batch).items()}


BATCHES = {
    "free": lambda: batch_of(FREE),
    "conditions": lambda: batch_of(CONDITIONED),
    "mixed": lambda: batch_of(FREE, CONDITIONED),
    "no conditions at all": lambda: Batch.from_data_list([FREE[task] for task in range(3)]),
}


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("readout", ["queries", "pool"])
@pytest.mark.parametrize("kind", BATCHES)
def test_every_trainable_parameter_gets_a_gradient_in_every_step(
    layer: dict[str, str], readout: str, kind: str
) -> None:
    module = a_module(**layer, readout=readout)
    for k in (1, 2, 3):
        module.zero_grad(set_to_none=True)
        batch = BATCHES[kind]()
        module.losses(module.model(batch, k), batch)["loss"].backward()
        unused = [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None]
        assert unused == []
        assert all(torch.isfinite(weight.grad).all() for weight in module.parameters() if weight.grad is not None)


@pytest.mark.parametrize("changes", [{"listwise_weight": 0.0}, {"cosine_weight": 0.0}, {"random_candidates": 0}])
@pytest.mark.parametrize("text_dim", [TEXT_DIM, 0])
def test_parameters_without_a_use_are_not_trainable(changes: dict[str, Any], text_dim: int) -> None:
    module = a_module(text_dim=text_dim, **changes)
    batch = batch_of(FREE, CONDITIONED)
    batch.condition_texts = batch.condition_texts[..., :text_dim]
    module.losses(module.model(batch, 3), batch)["loss"].backward()
    assert [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None] == []
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters() if weight.grad is not None)


def test_targets_that_are_not_there_contribute_no_loss() -> None:
    module = a_module(assignment="ordered")
    latents = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    batch = batch_of(CONDITIONED)
    two, three = loss_of(module, latents[:, :2], batch), loss_of(module, latents, batch)
    assert three == pytest.approx(two)
    batch.target_id[:, 2] = 5
    batch.candidate_id[:, 2] = torch.tensor([5, 11, 17, 23])
    assert loss_of(module, latents, batch)["loss"] > two["loss"] + 0.1


def test_the_loss_is_the_mean_over_tasks_with_and_without_conditions() -> None:
    module = a_module()
    batch = batch_of(FREE, CONDITIONED)
    losses = loss_of(module, module.model(batch, 2), batch)
    assert losses["loss"] == pytest.approx((3 * losses["loss_free"] + 2 * losses["loss_conditioned"]) / 5)
    apart = loss_of(module, module.model(batch_of(FREE), 2), batch_of(FREE))
    assert losses["loss_free"] == pytest.approx(apart["loss"], rel=1e-4)
    assert "loss_conditioned" not in apart


def test_latents_of_unlike_conditions_are_not_exchanged_and_those_of_equal_conditions_are() -> None:
    module = a_module(retrieval="item", listwise_weight=0.0)
    exchanged = module.vectors[torch.tensor([[3, 2]])]
    cosine = float(torch.cosine_similarity(module.vectors[2], module.vectors[3], dim=0))
    for conditions, expected in (
        ([([2], None), ([3], None)], 2 - 2 * cosine),
        ([([], 1), ([], 2)], 2 - 2 * cosine),
        ([([2, 3], 1), ([2, 3], 1)], 0.0),
        ([([], None), ([], None)], 0.0),
    ):
        batch = batch_of(tasks_with([[2, 3]], [conditions]))
        assert loss_of(module, exchanged, batch)["cosine_loss"] == pytest.approx(expected, abs=1e-5), conditions


def test_a_fewer_steps_batch_learns_the_first_selections() -> None:
    module = a_module(retrieval="item", listwise_weight=0.0)
    batch = batch_of(FREE)
    assert loss_of(module, module.vectors[batch.target_id[:, :1]], batch)["loss"] == pytest.approx(0, abs=1e-5)
    assert loss_of(module, module.vectors[batch.target_id[:, 1:2]], batch)["loss"] > 0.1


def test_the_listwise_target_is_the_softmax_of_scores_over_the_temperature() -> None:
    module = a_module(retrieval="item", random_candidates=0, cosine_weight=0.0, target_temperature=0.2)
    batch = batch_of(tasks_with([[2]]))
    latent = torch.randn(1, 1, IMAGE_DIM + TEXT_DIM, generator=torch.Generator().manual_seed(0))
    cosine = torch.cosine_similarity(latent[0, 0], module.vectors[batch.candidate_id[0, 0]], dim=-1)
    target = (torch.tensor([0.9, 0.3, 0.2, 0.1]) / 0.2).softmax(0)
    expected = -(target * (cosine / 0.07).log_softmax(0)).sum()
    assert loss_of(module, latent, batch)["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_random_items_that_a_condition_or_the_rule_bars_are_not_learned_from() -> None:
    module = a_module(retrieval="item", random_candidates=300)
    batch = batch_of(tasks_with([[2, 3]], [[([2], None), ([3], None)]]))
    latents = torch.randn(1, 2, IMAGE_DIM + TEXT_DIM, generator=torch.Generator().manual_seed(0))
    before = loss_of(module, latents, batch)
    forbidden = torch.isin(module.categories, torch.tensor([0, 1, 4, 5]))
    module.vectors = torch.where(forbidden[:, None], -3 * module.vectors.roll(1, 1), module.vectors)
    assert loss_of(module, latents, batch) == pytest.approx(before)
    last = torch.arange(ITEMS) == 26  # category 2, on no list
    module.vectors = torch.where(last[:, None], latents[0, 0], module.vectors)
    assert loss_of(module, latents, batch)["loss"] > before["loss"] + 0.1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_half_of_the_batches_at_least_ask_for_the_k_of_the_experiment(k: int) -> None:
    torch.manual_seed(0)
    drawn = np.bincount([draw_k(k, 3) for _ in range(3000)], minlength=4)
    assert drawn[0] == 0
    assert drawn[k] / 3000 == pytest.approx(0.5 + 0.5 / 3, abs=0.04)
    assert (drawn[1:] / 3000 > 0.12).all()
    assert draw_k(1, 1) == 1


def test_categories_are_dropped_only_where_a_text_remains() -> None:
    torch.manual_seed(0)
    allowed, texts = condition_arrays([([2], 1), ([3], None), ([], None)])
    many = torch.from_numpy(allowed).expand(2000, -1, -1)
    dropped = drop_categories(many, torch.from_numpy(texts).expand(2000, -1, -1), CATEGORY_DROP)
    whole = dropped.all(-1)
    assert whole[:, 0].float().mean().item() == pytest.approx(CATEGORY_DROP, abs=0.04)
    assert torch.equal(dropped[~whole[:, 0], 0], many[~whole[:, 0], 0])
    assert torch.equal(dropped[:, 1:], many[:, 1:])


@pytest.mark.parametrize("k", [1, 2])
def test_validation_asks_for_the_k_of_the_experiment(k: int) -> None:
    module = a_module(k=k).eval()
    graphs = [FREE[task] for task in range(3)]
    latents = module.validation_step(Batch.from_data_list(graphs), 0)
    assert torch.equal(latents, module.model(Batch.from_data_list(graphs), k))
    assert latents.shape == (3, k, 8)


def favourites(module: GeneratorModule, tasks: CompletionGraphs, k: int) -> list[list[int]]:
    """The item nearest to each latent, of whatever category."""
    module.eval()
    with torch.no_grad():
        latents = module.model(batch_of(tasks), k)
        items = module.model.retrieval_vectors(module.vectors, module.present)
    nearest: list[list[int]] = (torch.nn.functional.normalize(latents, dim=-1) @ items.T).argmax(-1).tolist()
    return nearest


@pytest.mark.parametrize("readout", ["queries", "pool"])
def test_a_generator_learns_to_heed_conditions_and_to_do_without(readout: str) -> None:
    """It has to tell by category, by text, and by the order of two conditions what to look for."""
    conditions: list[list[Condition]] = [[([4], None), ([2], None)], [([], 1), ([], 2)], [([2], 3), ([], 4)]]
    conditioned = tasks_with([[4, 2], [10, 3], [8, 5]], conditions, given=[GIVEN[0]] * 3)
    exchanged = tasks_with([[2, 4], [3, 10], [5, 8]], [row[::-1] for row in conditions], given=[GIVEN[0]] * 3)
    free = tasks_with([[15, 20, 11]])
    module = a_module(readout=readout, random_candidates=0)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    batch = batch_of(conditioned, free)
    for step in range(150):
        optimizer.zero_grad()
        module.losses(module.model(batch, 2 + step % 2), batch)["loss"].backward()
        optimizer.step()
    assert favourites(module, conditioned, 2) == [[4, 2], [10, 3], [8, 5]]
    assert favourites(module, exchanged, 2) == [[2, 4], [3, 10], [5, 8]]
    assert {*favourites(module, free, 2)[0]} == {15, 20}
    assert {*favourites(module, free, 3)[0]} == {15, 20, 11}
