"""Personal recommendation: HFGN, its peers, rankings and training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch_geometric.data import HeteroData

from datamodules.personal import PersonalBatch, PersonalDataModule
from lightning_modules.personal import PersonalModule
from outfits.config.schema.personal import RECOMMENDERS, PersonalConfig
from outfits.data.catalogue import Catalogue
from outfits.data.dataset import FillInTheBlank, OutfitDataset
from outfits.data.outfits import Outfits
from outfits.data.users import UserOutfits
from outfits.errors import DataError
from outfits.graphs.user_graph import BESIDE, category_weights, sets_graph, spectral_vectors, user_graph
from outfits.metrics.personal import (
    Evaluation,
    PersonalQuestions,
    Ranking,
    by_user,
    drawn_questions,
    published_questions,
    questions_right,
    rank_outfits,
)
from outfits.metrics.questions import Questions
from outfits.models.frozen import load_recommender
from outfits.models.hfgn import Hfgn, build_hfgn
from outfits.report.personal.report import PersonalResult, examples, write_report
from outfits.weights import save_network

STYLES, ITEMS, USERS = 4, 240, 40


def a_catalogue(categories: list[int]) -> Catalogue:
    count = len(categories)
    names = [f"c{number}" for number in range(max(categories) + 1)]
    ids = [f"i{item}" for item in range(count)]
    return Catalogue(ids, np.array(categories, np.int32), names, [""] * count, [None] * count)


def a_dataset(seed: int = 0) -> OutfitDataset:
    """Users, items and outfits of four styles; an outfit has three items of a style, a user likes outfits of one."""
    rng = np.random.default_rng(seed)
    catalogue = a_catalogue([item // 4 % 3 for item in range(ITEMS)])
    sets, styles = [], []
    for _ in range(400):
        style = int(rng.integers(STYLES))
        sets.append([int(rng.choice(np.arange(style, ITEMS, STYLES)[part::3])) for part in range(3)])
        styles.append(style)
    split = rng.choice([0, 0, 0, 1, 2], len(sets))
    outfits = Outfits.from_lists([f"o{number}" for number in range(len(sets))], sets, split)
    pairs = [
        (user, outfit)
        for user in range(USERS)
        for outfit in rng.choice(np.flatnonzero(np.array(styles) == user % STYLES), 25, replace=False).tolist()
    ]
    users, liked = np.array(pairs).T
    names = [f"u{user}" for user in range(USERS)]
    return OutfitDataset(
        "drawn", catalogue, outfits, {}, {}, {}, {}, users=UserOutfits(names, users, liked, split[liked], len(outfits))
    )


@pytest.fixture(scope="module")
def dataset() -> OutfitDataset:
    return a_dataset()


def graph_of(dataset: OutfitDataset) -> HeteroData:
    assert dataset.users is not None
    return user_graph(dataset.catalogue, dataset.outfits, dataset.users)


# HFGN by hand: two users, three outfits, four items, two categories


@pytest.fixture
def by_hand() -> tuple[HeteroData, Hfgn]:
    catalogue = a_catalogue([0, 1, 0, 1])
    outfits = Outfits.from_lists(["a", "b", "c"], [[0, 1], [0, 2], [2, 3]], [0, 0, 0])
    likes = UserOutfits(["u", "v"], np.array([0, 0, 1]), np.array([0, 1, 2]), np.zeros(3, np.int8), 3)
    graph = user_graph(catalogue, outfits, likes)
    model = build_hfgn(graph, PersonalConfig(dim=2, views=2, outfit_ids=True, start="random"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.eye(2) if parameter.shape == (2, 2) else torch.zeros_like(parameter))
        assert model.item is not None
        assert model.user is not None
        assert model.outfit is not None
        model.category.weight.zero_()
        model.item.weight.copy_(torch.tensor([[1.0, 0], [0, 2], [1, 1], [-1, 1]]))
        model.user.weight.copy_(torch.tensor([[1.0, 0], [0, 0]]))
        model.outfit.weight.copy_(torch.tensor([[0.0, 0], [0, 0], [0, 1]]))
    return graph, model.eval()


def test_a_single_user_has_vectors() -> None:
    outfits = Outfits.from_lists(["a", "b"], [[0, 1], [0, 2]], [0, 0])
    likes = UserOutfits(["me"], np.zeros(2, np.int64), np.array([0, 1]), np.zeros(2, np.int8), 2)
    graph = user_graph(a_catalogue([0, 1, 0, 1]), outfits, likes)
    users, items = spectral_vectors(graph, 3)
    assert users.shape == (1, 3)
    assert users.norm(dim=1).tolist() == pytest.approx([1.0])
    # of unit length before the items' degrees: three items that the only user has, one that nobody has
    assert (users @ items.T)[0].tolist() == pytest.approx([(4 / 3) ** 0.5] * 3 + [0.0], abs=1e-6)


def test_category_weights_by_hand(by_hand: tuple[HeteroData, Hfgn]) -> None:
    # two pairs within category 0 (of outfit b), two from 0 to 1 and two back; column sums 4, 2; then row sums 1.5, 0.5
    assert by_hand[0].category_weights.numpy() == pytest.approx(np.array([[1 / 3, 2 / 3], [1, 0]]))


def test_hfgn_is_what_its_equations_say(by_hand: tuple[HeteroData, Hfgn]) -> None:
    graph, model = by_hand
    with torch.no_grad():
        members = model.members(model.items(graph), graph)
        users, outfits = model.vectors(graph)
        compatible = model.compatibility(members, graph)
    # a: (1, 0) x 2/3 (0, 2) = 0, and (0, 2) x (1, 0) = 0, so that items stay what they are
    # b: (1, 0) x 1/3 (1, 1) = (1/3, 0), and (1, 1) x 1/3 (1, 0) = (1/3, 0), each beside itself
    # c: (1, 1) x 2/3 (-1, 1) = (-2/3, 2/3), and (-1, 1) x (1, 1) = (-1, 1); negative values keep a fifth
    expected = [[1, 0], [0, 2], [4 / 3, 0], [4 / 3, 1], [1 - 2 / 15, 5 / 3], [-0.4, 2]]
    assert members.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    a, b = np.array([1, 2]) / 5**0.5, np.array([8, 3]) / 73**0.5
    c = np.array([7, 55]) / 3074**0.5
    assert outfits.numpy() == pytest.approx(np.stack([a, b, c + [0, 1]]), abs=1e-6)
    u, v = (a + b) / np.linalg.norm(a + b) + [1, 0], (c + [0, 1]) / np.linalg.norm(c + [0, 1])
    assert users.numpy() == pytest.approx(np.stack([u, v]), abs=1e-6)
    # a: softmax (1, 0) and tanh (1, 0) of its first item, softmax (0, 2) and tanh (0, 2) of its second
    first, second = np.tanh(1) / (1 + np.exp(-1)), np.tanh(2) / (1 + np.exp(-2))
    assert compatible[0].item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_the_liked_outfit_is_left_out_of_the_history(by_hand: tuple[HeteroData, Hfgn]) -> None:
    graph, model = by_hand
    with torch.no_grad():
        scores = model.training_scores(graph, torch.tensor([0]), torch.tensor([0, 1]))
    a, b = np.array([1, 2]) / 5**0.5, np.array([8, 3]) / 73**0.5
    assert scores.numpy()[0] == pytest.approx([(b + [1, 0]) @ a, (b + [1, 0]) @ b], abs=1e-6)


def test_neither_order_nor_other_sets_matter(dataset: OutfitDataset) -> None:
    torch.manual_seed(0)
    graph, categories = graph_of(dataset), dataset.catalogue.categories
    model = build_hfgn(graph, PersonalConfig(dim=8)).eval()
    sets = [np.array([3, 77, 20]), np.array([20, 3, 77]), np.array([5, 9])]
    with torch.no_grad():
        together = model.set_vectors(graph, sets_graph(sets, categories, graph.category_weights))
        alone = model.set_vectors(graph, sets_graph(sets[:1], categories, graph.category_weights))
    assert torch.allclose(together[0], together[1], atol=1e-6)
    assert torch.allclose(together[0], alone[0], atol=1e-6)
    assert not torch.allclose(together[0], together[2], atol=1e-2)


def test_pairs_within_outfits_are_all_and_only_those() -> None:
    sets = [np.array([4]), np.array([1, 2, 3]), np.array([0, 5])]
    graph = sets_graph(sets, np.zeros(6, np.int32), torch.ones(1, 1))
    items = graph["member"].item
    found = {tuple(items[pair].tolist()) for pair in graph[BESIDE].edge_index.T}
    assert found == {(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (0, 5), (5, 0)}
    assert graph[BESIDE].edge_index.shape[1] == len(found)


def test_without_pairs_categories_weigh_nothing() -> None:
    alone = Outfits.from_lists(["a"], [[0]], [0])
    assert category_weights(np.array([0, 1]), alone, 2).tolist() == [[0, 0], [0, 0]]


def test_a_file_is_the_same_hfgn(dataset: OutfitDataset, tmp_path: Path) -> None:
    graph = graph_of(dataset)
    model = build_hfgn(graph, PersonalConfig(dim=8)).eval()
    save_network(model, tmp_path / "hfgn.safetensors")
    again = load_recommender(tmp_path / "hfgn.safetensors")
    assert all(torch.equal(*pair) for pair in zip(again.vectors(graph), model.vectors(graph), strict=True))


# Peers


def test_content_prefers_what_a_user_has(dataset: OutfitDataset) -> None:
    graph = graph_of(dataset)
    model = RECOMMENDERS["content"].load()(graph, PersonalConfig())
    users, _ = model.vectors(graph)
    assert dataset.users is not None
    had = [dataset.outfits[int(outfit)] for outfit in dataset.users.liked(0, "train")]
    owned = had[0]
    other = np.setdiff1d(np.flatnonzero(np.arange(ITEMS) % STYLES == 1), np.concatenate(had))[:3]
    sets = model.set_vectors(graph, sets_graph([owned, other], dataset.catalogue.categories, graph.category_weights))
    mine, others = (users[0] @ sets.T).toarray()[0]
    assert mine > others + 0.1


def test_popularity_counts_training_likes(dataset: OutfitDataset) -> None:
    graph = graph_of(dataset)
    users, outfits = RECOMMENDERS["popularity"].load()(graph, PersonalConfig()).vectors(graph)
    assert dataset.users is not None
    counts = np.asarray(dataset.users.matrix("train").sum(0)).ravel()
    assert (users @ outfits.T)[3].tolist() == counts.tolist()


@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_a_peer_without_items_knows_nothing_of_new_sets(dataset: OutfitDataset, name: str) -> None:
    graph = graph_of(dataset)
    model = RECOMMENDERS[name].load()(graph, PersonalConfig(dim=8))
    sets = sets_graph([np.array([1, 2])], dataset.catalogue.categories, graph.category_weights)
    assert not model.set_vectors(graph, sets).any()


# Rankings


def test_measures_by_hand() -> None:
    ranking = Ranking(np.array([0, 1]), np.array([100, 40]), [np.array([0, 3, 60]), np.array([11])])
    values = ranking.values()
    log = np.log2
    assert values["hr@10"].tolist() == [1, 0]
    assert values["recall@10"] == pytest.approx([2 / 3, 0])
    assert values["precision@10"] == pytest.approx([0.2, 0])
    gained = 1 + 1 / log(5)
    assert values["ndcg@10"] == pytest.approx([gained / (1 + 1 / log(3) + 0.5), 0])
    assert values["ndcg_of_hits@10"] == pytest.approx([gained / (1 + 1 / log(3)), 0])
    assert values["ndcg@20"][1] == pytest.approx(1 / log(13))
    # of 3 x 97 pairs 0 + 2 + 58 are in the wrong order, of 1 x 39 pairs 11
    assert values["auc"] == pytest.approx([1 - 60 / 291, 1 - 11 / 39])


def test_one_hit_on_the_first_place_flatters_the_published_ndcg() -> None:
    values = Ranking(np.array([0]), np.array([500]), [np.array([0, *range(100, 109)])]).values()
    assert values["ndcg_of_hits@10"][0] == 1
    assert values["ndcg@10"][0] < 0.25


def test_known_outfits_are_no_candidates() -> None:
    users, outfits = np.array([[1.0]]), np.array([[5.0], [4.0], [3.0], [2.0]])
    wanted, known = csr_matrix([[0, 0, 1, 0]]), csr_matrix([[1, 1, 0, 0]])
    ranking = rank_outfits(users, outfits, wanted, known, 0)
    assert (ranking.places[0].tolist(), ranking.candidates.tolist()) == ([0], [2])


def test_among_equal_preferences_chance_decides() -> None:
    users, outfits = np.ones((1, 1)), np.ones((200, 1))
    wanted, known = csr_matrix(([1.0], ([0], [0])), (1, 200)), csr_matrix((1, 200))
    places = [rank_outfits(users, outfits, wanted, known, seed).places[0][0] for seed in range(60)]
    assert 60 < np.mean(places) < 140
    assert places[0] == rank_outfits(users, outfits, wanted, known, 0).places[0][0]


def test_a_preference_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no number"):
        rank_outfits(np.array([[np.nan]]), np.ones((2, 1)), csr_matrix([[1, 0]]), csr_matrix((1, 2)), 0)


def test_questions_are_right_by_the_largest_preference() -> None:
    questions = Questions([np.array([7])] * 3, np.array([[0, 1, 2], [0, 1, 2], [3, 3, -1]]), np.array([1, 0, 0]))
    asked = PersonalQuestions(questions, np.array([0, 1, 1]))

    def last_item(users: Any, sets: Any) -> Any:
        return np.array([float(one[-1] == 1) if user == 0 else 0.0 for user, one in zip(users, sets, strict=True)])

    right = questions_right(asked, last_item)
    assert right == pytest.approx([1, 1 / 3, 1 / 2])
    assert by_user(right, asked.users) == pytest.approx([1, 5 / 12])


def test_questions_know_their_users(dataset: OutfitDataset) -> None:
    assert dataset.users is not None
    drawn = drawn_questions(dataset.users, dataset.outfits, dataset.catalogue.categories, "test", 0)
    likes = {tuple(pair) for pair in dataset.users.pairs("test").T.tolist()}
    outfits: dict[tuple[int, ...], set[int]] = {}
    for number, items in enumerate(dataset.outfits):
        outfits.setdefault(tuple(sorted(items.tolist())), set()).add(number)
    for given, answer, user in zip(drawn.questions.given, drawn.questions.answers[:, 0], drawn.users, strict=True):
        asked = outfits[tuple(sorted([*given.tolist(), int(answer)]))]
        assert any((int(user), outfit) in likes for outfit in asked)
    published = [FillInTheBlank(("i1",), ("i2", "i3"), 0, name) for name in ("u7", "nobody", "u0")]
    assert published_questions(published, dataset.users, dataset.catalogue.positions).users.tolist() == [7, 0]


@pytest.fixture
def with_known_outfit() -> tuple[OutfitDataset, int]:
    """Users, and an outfit that the first user finds and others like in training."""
    data = a_dataset()
    assert data.users is not None
    first = np.flatnonzero((data.users.users == 0) & (data.users.split == 2))[0]
    outfit = int(data.users.outfits[first])
    other = np.flatnonzero((data.users.outfits == outfit) & (data.users.users != 0))[0]
    split = data.users.split.copy()
    split[other] = 0
    return replace(data, users=replace(data.users, split=split)), outfit


def test_new_and_known_outfits_are_measured_apart(with_known_outfit: tuple[OutfitDataset, int]) -> None:
    data, outfit = with_known_outfit
    groups = Evaluation(graph_of(data), data, "test", 10_000, 0).groups
    assert groups["known_outfits"][0].indices.tolist() == [outfit]
    assert outfit not in groups["new_outfits"][0].indices
    assert (groups["new_outfits"] + groups["known_outfits"] != groups["all"]).nnz == 0
    assert groups["cold_users"].nnz == groups["all"].nnz
    assert Evaluation(graph_of(data), data, "test", 0, 0).groups["cold_users"].nnz == 0


class Likes:
    """Prefers these outfits, ``[U, M]``."""

    def __init__(self, preferences: csr_matrix) -> None:
        self.preferences = preferences

    def vectors(self, graph: HeteroData) -> tuple[np.ndarray, np.ndarray]:
        return np.eye(self.preferences.shape[0]), self.preferences.toarray().T

    def set_vectors(self, graph: HeteroData, sets: HeteroData) -> np.ndarray:
        return np.zeros((sets["outfit"].num_nodes, self.preferences.shape[0]))


def test_outfits_of_another_group_are_no_wrong_answers(with_known_outfit: tuple[OutfitDataset, int]) -> None:
    data, _ = with_known_outfit
    evaluation = Evaluation(graph_of(data), data, "test", 10_000, 0)
    wanted = evaluation.groups
    assert wanted["new_outfits"][0].nnz > 1
    values = evaluation.measure(Likes(2 * wanted["new_outfits"] + wanted["known_outfits"])).values
    users, known = values["known_outfits"]
    assert known["ndcg@10"][users.tolist().index(0)] == 1


# Training and report


def test_batches_have_liked_outfits_first(dataset: OutfitDataset) -> None:
    config = PersonalConfig(batch_size=16)
    data = PersonalDataModule(dataset, graph_of(dataset).category_weights, config)
    samples = data.make_samples("train")
    batch = data.collate([samples[(0, place)] for place in range(16)])  # type: ignore[index]
    assert isinstance(batch, PersonalBatch)
    assert batch.liked[:, :16].diagonal().all()
    assert dataset.users is not None
    known = dataset.users.matrix("train").toarray() > 0
    assert (batch.liked.numpy() == known[batch.users[:, None], batch.outfits]).all()
    assert batch.sets is not None
    assert batch.sets["outfit"].num_nodes == 32
    assert samples[(1, 3)][2:] != samples[(0, 3)][2:]  # type: ignore[index]


def fitted(dataset: OutfitDataset, graph: HeteroData, name: str, config: PersonalConfig) -> Any:
    assert dataset.users is not None
    users = dataset.users
    L.seed_everything(0, verbose=False)
    module = PersonalModule(graph, users, lambda: RECOMMENDERS[name].load()(graph, config), config)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=config.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, PersonalDataModule(dataset, graph.category_weights, config))
    assert float(trainer.callback_metrics["personal/valid_ndcg"]) > 0
    return module.model.eval()


@pytest.mark.parametrize("loss", ["bpr", "listwise"])
def test_it_learns_what_users_like_from_items_alone(dataset: OutfitDataset, loss: str) -> None:
    graph = graph_of(dataset)
    config = PersonalConfig(dim=16, epochs=12, batch_size=128, lr=1e-2, loss=loss)
    evaluation = Evaluation(graph, dataset, "test", 10, 0)
    hr = {
        name: evaluation.measure(model).values["new_outfits"][1]["recall@10"].mean()
        for name, model in {
            "hfgn": fitted(dataset, graph, "hfgn", config),
            "popularity": RECOMMENDERS["popularity"].load()(graph, config),
        }.items()
    }
    assert hr["hfgn"] > 2 * hr["popularity"]


@pytest.mark.parametrize("name", ["mf", "item_mf", "lightgcn", "item_lightgcn"])
def test_peers_go_through_the_same_loop(dataset: OutfitDataset, name: str) -> None:
    graph = graph_of(dataset)
    model = fitted(dataset, graph, name, PersonalConfig(dim=8, epochs=1))
    measured = Evaluation(graph, dataset, "test", 10, 0).measure(model)
    assert 0 <= measured.values["all"][1]["ndcg@10"].mean() <= 1
    assert len(measured.right["same_category"][1]) > 100


def test_the_report_has_every_row_and_users_with_outfits(dataset: OutfitDataset, tmp_path: Path) -> None:
    graph = graph_of(dataset)
    evaluation = Evaluation(graph, dataset, "test", 10, 0)
    hfgn = build_hfgn(graph, PersonalConfig(dim=8)).eval().requires_grad_(False)
    models = {"hfgn": hfgn, "popularity": RECOMMENDERS["popularity"].load()(graph, PersonalConfig())}
    result = PersonalResult.of({name: evaluation.measure(model) for name, model in models.items()}, dataset, "test", 0)
    assert list(result.figures) == ["popularity", "hfgn"]
    shown = examples(dataset, "test", *(part.numpy() for part in hfgn.vectors(graph)))
    known = {outfit.outfit_id for outfit in shown[0].known}
    assert not known & {outfit.outfit_id for outfit in shown[0].recommended}
    paths = write_report(result, shown, tmp_path / "report", "seed: 0")
    page = paths["page"].read_text(encoding="utf-8")
    assert page.count('<article class="outfit">') == len(shown) == 6
    saved = json.loads(paths["results"].read_text())
    mean = evaluation.measure(hfgn).values["all"][1]["hr@10"].mean()
    assert saved["figures"]["hfgn"]["all"]["hr@10"]["mean"] == pytest.approx(mean)
    assert result.table().count("\n") == 4


def test_an_unknown_user_is_named_with_the_nearest(dataset: OutfitDataset) -> None:
    assert dataset.users is not None
    with pytest.raises(DataError, match="no user 'u400'.*did you mean 'u40'?|no user 'u400'"):
        dataset.users.position("u400")
