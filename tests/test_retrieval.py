"""Complementary retrieval: pools, recall, models, training, and the method."""

import json
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.retrieval import RetrievalBatch, RetrievalDataModule
from lightning_modules.retrieval import RetrievalModule
from outfits.completion.conditions import conditions_of_items
from outfits.completion.retrieval import retrieval
from outfits.config.schema.retrieval import RETRIEVERS, CsaArchitecture, RetrievalConfig
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.dataset import OutfitDataset
from outfits.errors import ArtifactError
from outfits.metrics.retrieval import (
    Pool,
    by_chance,
    by_compatibility,
    by_frequency,
    by_mean_cosine,
    by_retriever,
    expected_hits,
    make_pools,
    mean_recall,
    pool_recall,
    query_of,
)
from outfits.models.compatibility import OutfitTransformer
from outfits.models.csa_net import CsaNet
from outfits.models.frozen import load_retriever
from outfits.models.losses import set_wise_ranking
from outfits.models.retrieval import RetrievalQuery, RetrievalTransformer, build_transformer
from outfits.report.retrieval.report import RetrievalResult, pools_as_json, write_report
from outfits.weights import save_network
from tests.test_probe import a_dataset
from tests.tiny_world import CATEGORIES, GIVEN, World, tasks_of

CPU = torch.device("cpu")
SMALL = ScorerArchitecture(width=32, layers=1, heads=2, feedforward=48, dropout=0.0, input_dropout=0.0)


@pytest.fixture(scope="module")
def dataset() -> OutfitDataset:
    return a_dataset(0)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def scorer_for(dataset: OutfitDataset) -> OutfitTransformer:
    torch.manual_seed(0)
    items = dataset.catalogue.require_embeddings
    return OutfitTransformer(SMALL, items.image_dim, items.text_dim).eval()


def a_model(dataset: OutfitDataset, name: str = "transformer") -> torch.nn.Module:
    torch.manual_seed(1)
    build = RETRIEVERS[name].load()
    model: torch.nn.Module = build(scorer_for(dataset), len(dataset.catalogue.category_names), RetrievalConfig(dim=8))
    return model.eval()


# Pools and recall


def test_every_item_of_a_large_category_is_asked_for_once(dataset: OutfitDataset) -> None:
    test, categories = dataset.outfits.of("test"), dataset.catalogue.categories
    pools = make_pools(dataset.catalogue, test, 3000, 2, 0)
    asked = sorted(
        (*sorted(given.tolist()), int(pool.items[answer]))
        for pool in pools
        for given, answer in zip(pool.given, pool.answers, strict=True)
    )
    expected = sorted((*sorted(set(items.tolist()) - {item}), item) for items in test for item in items.tolist())
    assert asked == expected
    for pool in pools:
        assert pool.items.tolist() == np.flatnonzero(categories == pool.category).tolist()
    assert make_pools(dataset.catalogue, test, 3000, len(categories), 0) == []


def test_a_large_category_keeps_the_answers_and_draws_the_rest(dataset: OutfitDataset) -> None:
    test = dataset.outfits.of("test")
    whole, capped, again, other = (
        make_pools(dataset.catalogue, test, largest, 2, seed)
        for largest, seed in ((3000, 0), (40, 0), (40, 0), (40, 1))
    )
    for one, few in zip(whole, capped, strict=True):
        assert len(few.items) == 40
        assert (one.items[one.answers] == few.items[few.answers]).all()
        assert set(few.items) <= set(one.items)
    assert [pool.items.tolist() for pool in capped] == [pool.items.tolist() for pool in again]
    assert [pool.items.tolist() for pool in capped] != [pool.items.tolist() for pool in other]
    tight = make_pools(dataset.catalogue, test, 2, 2, 0)
    assert all(set(pool.items) == set(pool.items[pool.answers]) for pool in tight)  # no answer is ever left out


def a_pool(answers: list[int], candidates: int = 60) -> Pool:
    return Pool(
        3, np.arange(candidates), [np.array([100 + row], np.int32) for row in range(len(answers))], np.array(answers)
    )


def test_recall_by_hand() -> None:
    pool = a_pool([0, 20, 59])
    falling = np.tile(-np.arange(60.0), (3, 1))
    assert pool_recall([pool], lambda _: falling) == {3: {10: 1 / 3, 30: 2 / 3, 50: 2 / 3}}
    assert mean_recall({0: {10: 0.2, 30: 0.4, 50: 1.0}, 1: {10: 0.4, 30: 0.4, 50: 0.0}}) == pytest.approx(
        {10: 0.3, 30: 0.4, 50: 0.5}
    )
    assert mean_recall({}) == {10: None, 30: None, 50: None}


def test_among_equal_scores_chance_decides() -> None:
    assert pool_recall([a_pool([7, 8])], by_chance)[3] == pytest.approx({10: 10 / 60, 30: 0.5, 50: 50 / 60})
    two_levels = np.where(np.arange(60) < 6, 1.0, 0.0)[None]  # six above, the answer among 54 equal ones
    assert pool_recall([a_pool([30])], lambda _: two_levels)[3][10] == pytest.approx(4 / 54)


def test_items_of_the_outfit_itself_are_no_candidates() -> None:
    pool = Pool(0, np.arange(12), [np.array([0, 1, 2], np.int32)], np.array([11]))
    falling = -np.arange(12.0)[None]
    assert pool_recall([pool], lambda _: falling)[0][10] == 1.0  # eight are left before it, not eleven


def test_a_score_that_is_no_number_is_no_hit() -> None:
    values = np.array([[np.nan, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]])
    assert expected_hits(values, np.array([0, 0, 0]), 1).tolist() == pytest.approx([0, 1 / 3, 1])


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pool_recall([a_pool([1])], lambda pool: np.full((1, 60), np.nan))
    with pytest.raises(ValueError, match="fit"):
        pool_recall([a_pool([1])], lambda pool: np.zeros((1, 59)))


def test_controls_rank_by_what_they_say(dataset: OutfitDataset) -> None:
    pool = make_pools(dataset.catalogue, dataset.outfits.of("test"), 3000, 2, 0)[1]
    vectors = dataset.catalogue.require_embeddings.vectors
    cosines = by_mean_cosine(dataset.catalogue.require_embeddings)(pool)
    mean, item = vectors[pool.given[2]].mean(0), vectors[pool.items[5]]
    assert cosines[2, 5] == pytest.approx(mean @ item / np.linalg.norm(mean) / np.linalg.norm(item), abs=1e-6)
    counts = np.arange(len(vectors))
    assert by_frequency(counts)(pool)[1].tolist() == pool.items.tolist()


def test_s_ranks_candidates_by_the_logit_of_the_outfit_with_them(world: World) -> None:
    pool = Pool(
        5, np.array([5, 11, 17]), [np.array([0, 7, 14], np.int32), np.array([1, 2], np.int32)], np.array([0, 2])
    )
    found = by_compatibility(world.scorer)(pool)
    for row, items in enumerate(pool.given):
        assert found[row] == pytest.approx([world.logit([*items, item]) for item in pool.items], abs=1e-4)


# Models


def queries_of(model: RetrievalTransformer, query: RetrievalQuery) -> torch.Tensor:
    with torch.inference_mode():
        return model.queries(query)


def test_neither_order_nor_padding_of_given_items_matters(dataset: OutfitDataset) -> None:
    given = [np.array([3, 70, 130], np.int32), np.array([130, 3, 70], np.int32), np.array([5, 65, 140, 190], np.int32)]
    for name in RETRIEVERS:
        model = a_model(dataset, name)
        pool = Pool(4, np.flatnonzero(dataset.catalogue.categories == 4), given, np.zeros(3, dtype=np.int64))
        together = by_retriever(model, dataset.catalogue, CPU)(pool)  # type: ignore[arg-type]
        alone = by_retriever(model, dataset.catalogue, CPU)(replace(pool, given=given[:1]))  # type: ignore[arg-type]
        assert together[0] == pytest.approx(together[1], abs=1e-5)
        assert together[0] == pytest.approx(alone[0], abs=1e-5)
        assert np.abs(together[0] - together[2]).max() > 1e-3


def test_a_retriever_begins_with_the_tokens_and_blocks_of_s(dataset: OutfitDataset) -> None:
    scorer, model = scorer_for(dataset), a_model(dataset)
    own, s = model.state_dict(), scorer.state_dict()
    shared = [name for name in s if name.startswith(("item_tokens", "blocks"))]
    assert shared
    assert all(torch.equal(own[name], s[name]) for name in shared)


def test_the_query_knows_category_and_text_that_are_wished(dataset: OutfitDataset) -> None:
    model, given = a_model(dataset), [np.array([3, 70, 130], np.int32)]
    assert isinstance(model, RetrievalTransformer)
    text = F.normalize(torch.randn(1, 2), dim=1).numpy()
    plain, other, told = (
        queries_of(model, query_of(dataset.catalogue, given, category, wish))
        for category, wish in ((4, None), (3, None), (4, text))
    )
    assert (plain - other).abs().max() > 1e-3
    assert (plain - told).abs().max() > 1e-3
    assert torch.linalg.norm(plain, dim=1) == pytest.approx(1, abs=1e-5)


def test_csa_net_is_the_mean_over_items_of_cosines_in_subspaces(dataset: OutfitDataset) -> None:
    model = a_model(dataset, "csa_net")
    assert isinstance(model, CsaNet)
    given, category = [np.array([3, 70, 130], np.int32), np.array([5, 65], np.int32)], 4
    pool = Pool(category, np.array([250, 260, 299]), given, np.array([0, 1]))
    found = by_retriever(model, dataset.catalogue, CPU)(pool)
    vectors, categories = torch.from_numpy(dataset.catalogue.require_embeddings.vectors), dataset.catalogue.categories

    def vector(item: int, own: int, beside: int) -> torch.Tensor:
        pair = torch.cat([model.own.weight[own], model.other.weight[beside]])
        mask = model.weights(pair).softmax(0) @ model.masks
        return F.normalize(model.features(vectors[item]) * mask, dim=0)

    for row, items in enumerate(given):
        for column, candidate in enumerate(pool.items.tolist()):
            cosines = [
                vector(item, int(categories[item]), category) @ vector(candidate, category, int(categories[item]))
                for item in items.tolist()
            ]
            assert found[row, column] == pytest.approx(torch.stack(cosines).mean().item(), abs=1e-5)


def test_the_set_wise_loss_by_hand() -> None:
    true, wrong = torch.tensor([1.0, 5.0]), torch.tensor([[0.0, 2.0, 9.0], [1.0, 2.0, 3.0]])
    absent = torch.tensor([[False, False, True], [False, False, False]])
    # margin 2: hinges 1, 3 (the 9 is absent), so (1 + 3) / 2 + 3 = 5; none above the margin in the second set
    assert set_wise_ranking(true, wrong, absent, 2.0).item() == pytest.approx(2.5)
    assert set_wise_ranking(true, wrong, torch.ones(2, 3, dtype=torch.bool), 2.0).item() == 0


# Training


def a_batch(dataset: OutfitDataset, config: RetrievalConfig) -> RetrievalBatch:
    data = RetrievalDataModule(dataset, config, seed=3)
    samples = data.make_samples("train")
    batch = data.collate([samples[(1, position)] for position in range(24)])
    assert isinstance(batch, RetrievalBatch)
    return batch


@pytest.mark.parametrize("name", list(RETRIEVERS))
def test_the_wanted_item_never_leaks_but_for_a_wished_text(dataset: OutfitDataset, name: str) -> None:
    config = RetrievalConfig(dim=8)
    batch = a_batch(dataset, config)
    module = RetrievalModule(dataset.catalogue, lambda: a_model(dataset, name), config).eval()
    rows = len(batch.replaced)
    told = torch.ones(rows, dtype=torch.bool)

    def scores(wanted_vectors: torch.Tensor, knows_text: torch.Tensor) -> torch.Tensor:
        vectors = batch.vectors.clone()
        vectors[batch.wanted] = wanted_vectors
        query = module._query(replace(batch, vectors=vectors), told, knows_text)
        features = module.model.item_features(batch.vectors, batch.present)[batch.candidates]
        found: torch.Tensor = module.model.scores(query, features, batch.categories[batch.candidates])
        return found

    with torch.inference_mode():
        # An item may be wanted in one outfit and given in another: look at outfits without another one's wanted item.
        given = batch.sets[:, 0].masked_fill(batch.not_given, -1)
        clean = ~torch.isin(given, batch.wanted).any(1)
        assert clean.sum() > 5
        own = batch.vectors[batch.wanted]
        other = F.normalize(torch.randn_like(own), dim=1)
        assert torch.equal(scores(own, ~told)[clean], scores(other, ~told)[clean])
        if name == "transformer":
            assert (scores(own, told) - scores(other, told))[clean].abs().amax(1).min() > 1e-4
        image = other.clone()
        image[:, -2:] = own[:, -2:]  # the same text, another picture
        assert torch.equal(scores(own, told)[clean], scores(image, told)[clean])


def test_wrong_items_are_never_items_of_the_outfit(dataset: OutfitDataset) -> None:
    batch = a_batch(dataset, RetrievalConfig(dim=8))
    own = batch.sets[:, :1].masked_fill(batch.padding[:, None], -1)
    assert not (own == batch.candidates[:, :, None]).any()
    wanted = batch.categories[batch.wanted]
    assert (batch.categories[batch.candidates] == wanted[:, None]).all()
    assert (batch.not_given.sum(1) == batch.padding.sum(1) + 1).all()


@pytest.mark.parametrize(
    ("name", "loss"), [("transformer", "listwise"), ("transformer", "hinge"), ("csa_net", "listwise")]
)
def test_it_learns_what_goes_together(dataset: OutfitDataset, name: str, loss: str) -> None:
    config = RetrievalConfig(dim=16, loss=loss, epochs=12, batch_size=16, negatives=16, lr=3e-3, temperature=0.1)
    L.seed_everything(0, verbose=False)
    scorer, categories = scorer_for(dataset), len(dataset.catalogue.category_names)
    module = RetrievalModule(
        dataset.catalogue, lambda: RETRIEVERS[name].load()(scorer, categories, config), config, name
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=12,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, RetrievalDataModule(dataset, config))
    assert float(trainer.callback_metrics[f"{name}/valid_recall"]) > 0.5
    pools = make_pools(dataset.catalogue, dataset.outfits.of("test"), 3000, 2, 0)
    found = mean_recall(pool_recall(pools, by_retriever(module.model.eval(), dataset.catalogue, CPU)))
    chance = mean_recall(pool_recall(pools, by_chance))
    assert found[10] is not None
    assert chance[10] is not None
    assert found[10] > 2 * chance[10]  # ten of sixty have the style: 1.0 is possible, 0.17 is chance


# The method, files and the report


def test_the_method_takes_the_best_of_an_allowed_category(world: World) -> None:
    removed = [[3], [3], [0], [1], [2]]
    tasks = tasks_of(GIVEN, removed)
    conditions = conditions_of_items("categories", tasks.removed, world.categories, CATEGORIES, world.features, 0.5)
    outcome = retrieval(tasks.conditioned(conditions), world.context)
    for row, given in enumerate(tasks.given):
        category = int(world.categories[removed[row][0]])
        pool = Pool(category, np.flatnonzero(world.categories == category), [given], np.array([0]))
        values = by_retriever(world.retriever, world.catalogue, CPU)(pool)[0]
        assert outcome.chosen[row, 0] == pool.items[values.argmax()]
        assert outcome.removed_ranks is not None
        order = pool.items[np.argsort(-values)].tolist()
        assert outcome.removed_ranks[row, 0] == order.index(removed[row][0])


def test_k_items_are_found_one_after_the_other(world: World) -> None:
    tasks = tasks_of()
    both = retrieval(tasks, world.context)
    first = retrieval(tasks.asking_for(1), world.context)
    assert np.array_equal(both.chosen[:, :1], first.chosen)
    joined = [
        np.append(given, item).astype(np.int32) for given, item in zip(tasks.given, first.chosen[:, 0], strict=True)
    ]
    second = retrieval(tasks_of(joined).asking_for(1), world.context)
    assert np.array_equal(both.chosen[:, 1:], second.chosen)
    assert not both.calls.any()


def test_a_file_is_the_same_model_and_belongs_to_its_s(world: World, tmp_path: Path) -> None:
    path = tmp_path / "retriever.safetensors"
    save_network(world.retriever, path, scorer_sha256="S")
    again = load_retriever(path, "S")
    query = query_of(world.catalogue, [np.array([0, 7], np.int32)], 3, None)
    assert torch.equal(again.queries(query), world.retriever.queries(query))
    with pytest.raises(ArtifactError, match="another scorer"):
        load_retriever(path, "T")
    assert build_transformer(world.module, CATEGORIES, RetrievalConfig(dim=6)).settings == again.settings


def test_without_a_retriever_the_method_says_what_it_needs(world: World) -> None:
    with pytest.raises(ArtifactError, match="needs a retriever"):
        retrieval(tasks_of(), world.context_of())


def test_csa_net_adds_full_cosines_of_features_in_half_precision(
    dataset: OutfitDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under autocast on a GPU, where a linear layer gives half precision and a cosine float32."""
    model = a_model(dataset, "csa_net")
    assert isinstance(model, CsaNet)
    pool = Pool(4, np.array([250, 260, 299]), [np.array([3, 70, 130], np.int32)], np.array([0]))
    expected = by_retriever(model, dataset.catalogue, CPU)(pool)
    monkeypatch.setattr(model, "item_features", lambda vectors, present: model.features(vectors).bfloat16())
    assert by_retriever(model, dataset.catalogue, CPU)(pool) == pytest.approx(expected, abs=0.02)


def test_csa_net_knows_its_architecture(dataset: OutfitDataset) -> None:
    model = a_model(dataset, "csa_net")
    assert isinstance(model, CsaNet)
    assert model.config == CsaArchitecture(dim=8, subspaces=5)


def test_the_report_has_every_row_and_the_pools(dataset: OutfitDataset, tmp_path: Path) -> None:
    pools = make_pools(dataset.catalogue, dataset.outfits.of("test"), 3000, 2, 0)
    scores = by_mean_cosine(dataset.catalogue.require_embeddings)
    recall = {"mean_cosine": pool_recall(pools, scores), "chance": pool_recall(pools, by_chance)}
    result = RetrievalResult("drawn", "test", 0, "0" * 64, pools, recall)
    assert list(result.rows) == ["chance", "mean_cosine"]
    paths = write_report(result, dataset.catalogue, scores, tmp_path / "report", "seed: 0")
    page = paths["page"].read_text(encoding="utf-8")
    assert "Nearest to the outfit's mean" in page.replace("&#39;", "'")
    assert f"{result.rows['mean_cosine'][10]:.1%}" in page
    assert page.count('<article class="outfit">') == len(pools)
    saved = json.loads(paths["pools"].read_text())
    assert saved == pools_as_json(pools, dataset.catalogue)
    assert json.loads(paths["results"].read_text())["recall"]["chance"]["10"] == result.rows["chance"][10]
    assert result.table().count("\n") == 4
    empty = RetrievalResult("drawn", "test", 0, "0" * 64, [], {"chance": {}})
    assert "none has enough" in empty.table()
    write_report(empty, dataset.catalogue, scores, tmp_path / "empty", "seed: 0")
