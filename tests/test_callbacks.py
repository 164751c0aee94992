"""Callbacks and loggers on their own."""

import warnings
from itertools import permutations
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import wandb
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import loggers
from callbacks.batch_seed import BatchSeed
from callbacks.retrieval_evaluation import RetrievalEvaluation, gather_by_id
from datamodules.completion import CompletionDataModule
from lightning_modules.trainer import build_trainer
from outfits.config.load import load_config
from outfits.config.schema.model import GeneratorArchitecture
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.trainer import TrainerConfig, WandbConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.graphs.completion_graph import CompletionGraphs, GraphTargets
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator

ITEMS, IMAGE, TEXT, CATEGORIES, K = 40, 5, 4, 7, 2
GIVEN = ([0, 8, 16], [1, 2], [10, 4, 12], [23, 31, 3], [5, 6])
REMOVED = ([3, 4], [3, 5], [0, 2], [1, 4], [2, 0])


def a_catalogue() -> Catalogue:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, IMAGE + TEXT)).astype(np.float32)
    return Catalogue(
        [f"item-{n}" for n in range(ITEMS)],
        (np.arange(ITEMS) % CATEGORIES).astype(np.int32),
        [f"category-{n}" for n in range(CATEGORIES)],
        ["text"] * ITEMS,
        [None] * ITEMS,
        ItemEmbeddings(vectors, np.ones((ITEMS, 2), dtype=bool), IMAGE, TEXT),
    )


class Tiny:
    """Catalogue, frozen S, generator, tasks with targets, and latents of random direction."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        torch.manual_seed(0)
        self.catalogue = a_catalogue()
        module = OutfitTransformer(ScorerArchitecture(width=16, layers=2, heads=2, feedforward=24), IMAGE, TEXT)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2.5)  # so that scores of different outfits differ clearly
        self.scorer = module.eval().requires_grad_(False)
        self.generator = Generator(
            GeneratorArchitecture(k_max=K, width=16, layers=1, retrieval_dim=6), IMAGE, TEXT, CATEGORIES
        ).eval()
        self.targets = GraphTargets(
            rng.integers(ITEMS, size=(len(GIVEN), K)).astype(np.int32),
            np.zeros((len(GIVEN), K, 3), dtype=np.int32),
            np.zeros((len(GIVEN), K, 3), dtype=np.float32),
            rng.normal(size=len(GIVEN)),
        )
        given = [np.array(items, dtype=np.int32) for items in GIVEN]
        self.graphs = CompletionGraphs(self.catalogue, given, np.array(REMOVED, dtype=np.int32), self.targets)
        self.latents = torch.randn(len(GIVEN), K, 6)
        dataset = OutfitDataset("tiny", self.catalogue, Outfits.from_lists([], [], []), {}, {}, {}, {})
        self.callback = RetrievalEvaluation(CompletionDataModule(dataset, None), self.scorer)

    def allowed(self, given: list[int]) -> list[int]:
        categories = self.catalogue.categories
        return [item for item in range(ITEMS) if categories[item] not in categories[given]]

    def cosines(self, task: int) -> Tensor:
        """Cosines of a task's latents and every item by their definition, shape ``[k, N]``."""
        with torch.no_grad():
            found = self.catalogue.require_embeddings
            items = self.generator.retrieval_vectors(torch.from_numpy(found.vectors), torch.from_numpy(found.present))
        return F.cosine_similarity(self.latents[task][:, None], items[None], dim=-1)

    def completion(self, task: int) -> tuple[int, ...]:
        """The pair of items of different, allowed categories that is nearest to the latents, by trying all."""
        categories, cosines = self.catalogue.categories, self.cosines(task)
        pairs = [
            pair
            for pair in permutations(self.allowed(GIVEN[task]), K)
            if len({int(categories[item]) for item in pair}) == K
        ]
        return max(pairs, key=lambda pair: sum(float(cosines[j, item]) for j, item in enumerate(pair)))

    def score(self, items: list[int]) -> float:
        features = self.catalogue.require_embeddings
        with torch.no_grad():
            logit = self.scorer(
                torch.from_numpy(features.vectors[items])[None], torch.from_numpy(features.present[items])[None]
            )
        return float(logit.sigmoid())

    def rank(self, task: int, item: int) -> float:
        allowed = self.allowed(GIVEN[task])
        if item not in allowed:
            return float("inf")
        nearness = self.cosines(task).amax(dim=0)
        return sum(float(nearness[other]) > float(nearness[item]) for other in allowed)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny()


def metrics(tiny: Tiny, tasks: list[int]) -> tuple[dict[str, float], np.ndarray]:
    rows = np.array(tasks)
    return tiny.callback.metrics(tiny.graphs, rows, tiny.latents[rows], tiny.generator, torch.device("cpu"))


def test_completions_are_the_nearest_items_by_the_category_rule_scored_by_the_plain_network(tiny: Tiny) -> None:
    found, scores = metrics(tiny, list(range(len(GIVEN))))
    completions = [tiny.completion(task) for task in range(len(GIVEN))]
    expected = [tiny.score([*given, *added]) for given, added in zip(GIVEN, completions, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert found["score_mean"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert found["distinct_share"] == len({item for pair in completions for item in pair}) / (K * len(GIVEN))
    greedy = np.mean([1 / (1 + np.exp(-logit)) for logit in tiny.targets.scores])
    assert found["ratio_to_greedy"] == pytest.approx(np.mean(expected) / greedy, rel=1e-4)


def test_recall_counts_items_among_the_nearest_allowed_ones(tiny: Tiny) -> None:
    found, _ = metrics(tiny, list(range(len(GIVEN))))
    for name, items in {"removed_recall": REMOVED, "target_recall": tiny.targets.chosen.tolist()}.items():
        ranks = np.array([[tiny.rank(task, item) for item in row] for task, row in enumerate(items)])
        for n in (1, 10, 50):
            assert found[f"{name}@{n}"] == pytest.approx((ranks < n).mean()), (name, n)


def test_figures_of_some_tasks_are_looked_up_by_their_ids(tiny: Tiny) -> None:
    _, scores = metrics(tiny, list(range(len(GIVEN))))
    _, some = metrics(tiny, [3, 1])
    np.testing.assert_allclose(some, scores[[3, 1]], rtol=1e-6)


def test_gathering_keeps_one_row_per_id_in_the_order_of_ids() -> None:
    rows = torch.arange(6.0)[:, None].repeat(1, 2)
    parts = [(np.array([4, 0]), rows[[4, 0]]), (np.array([2, 4, 1]), rows[[2, 4, 1]])]
    ids, gathered = gather_by_id(parts)
    assert ids.tolist() == [0, 1, 2, 4]
    assert torch.equal(gathered, rows[[0, 1, 2, 4]])


class Dice(L.LightningModule):
    """Notes what dropout does to a vector of ones in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: dict[int, list[Tensor]] = {}

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        mask = F.dropout(torch.ones(32), 0.5)
        self.seen.setdefault(self.current_epoch, []).append(mask)
        return (self.scale * mask).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def masks(seed: int, noise: int, folder: Path | None = None, epochs: int = 3) -> dict[int, list[Tensor]]:
    torch.manual_seed(noise)
    module, last = Dice(), None if folder is None else folder / "last.ckpt"
    config = TrainerConfig(accelerator="cpu", devices=1, max_epochs=epochs, enable_progress_bar=False)
    trainer = build_trainer(config, callbacks=[BatchSeed(seed)], enable_checkpointing=False)
    data = DataLoader(TensorDataset(torch.zeros(4, 1)), batch_size=2)
    trainer.fit(module, data, ckpt_path=last if last is not None and last.exists() else None)
    if last is not None:
        trainer.save_checkpoint(last)
    return module.seen


def test_dropout_of_a_batch_depends_on_seed_epoch_and_batch_alone(tmp_path: Path) -> None:
    whole, other_past = masks(seed=3, noise=1), masks(seed=3, noise=2)
    for epoch in range(3):
        assert torch.equal(torch.stack(whole[epoch]), torch.stack(other_past[epoch]))
    assert not torch.equal(whole[0][0], whole[0][1])
    assert not torch.equal(whole[0][0], whole[1][0])
    assert not torch.equal(whole[0][0], masks(seed=4, noise=1)[0][0])
    masks(seed=3, noise=1, folder=tmp_path, epochs=1)
    resumed = masks(seed=3, noise=9, folder=tmp_path, epochs=3)
    assert list(resumed) == [1, 2]
    for epoch in (1, 2):
        assert torch.equal(torch.stack(resumed[epoch]), torch.stack(whole[epoch]))


@pytest.fixture
def no_board(monkeypatch: pytest.MonkeyPatch):
    """No W&B run before or after, no key, no netrc, and a host that nothing listens on."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent/netrc")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(loggers, "SECONDS_TO_START", 2)
    monkeypatch.setattr(loggers, "SECONDS_TO_FINISH", 2)
    wandb.teardown()
    yield monkeypatch
    wandb.finish()  # otherwise wandb.run stays, and ends in an error whoever finishes it after the teardown
    wandb.teardown()


def build(folder: Path, mode: str) -> list[str]:
    made = loggers.build_loggers(WandbConfig(mode=mode), folder, {"seed": 0}, rank_zero=True, stage="scorer")
    return [type(logger).__name__ for logger in made]


def test_without_a_key_figures_go_to_csv_and_to_offline_files(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert build(tmp_path, "auto") == ["CSVLogger", "Board"]
    assert wandb.run.settings._offline
    wandb.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize("key", ["0" * 40, "not a key", None])
def test_a_board_that_cannot_be_reached_makes_the_run_go_on_offline(
    no_board: pytest.MonkeyPatch, tmp_path: Path, key: str | None
) -> None:
    if key is not None:
        no_board.setenv("WANDB_API_KEY", key)
    with pytest.warns(UserWarning, match="logged offline under"):
        assert build(tmp_path, "online") == ["CSVLogger", "Board"]
    assert wandb.run.settings._offline
    wandb.run.log({"loss": 1.0})
    wandb.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_a_key_in_the_environment_or_the_netrc_file_is_found(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not loggers.has_wandb_key()
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login user password secret\n")
    no_board.setenv("NETRC", str(file))
    assert loggers.has_wandb_key()
    file.write_text("machine elsewhere.example login user password secret\n")
    assert not loggers.has_wandb_key()
    no_board.setenv("WANDB_API_KEY", "secret")
    assert loggers.has_wandb_key()


def test_the_board_can_be_switched_off(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert build(tmp_path, "off") == ["CSVLogger"]
    no_board.setenv("WANDB_MODE", "disabled")
    assert build(tmp_path, "auto") == ["CSVLogger"]
    assert not list(tmp_path.glob("wandb*"))


def test_ranks_other_than_zero_log_nothing_to_the_board(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = loggers.build_loggers(WandbConfig(), tmp_path, {}, rank_zero=False, stage="scorer")
    assert [type(logger).__name__ for logger in made] == ["CSVLogger"]
    assert not list(tmp_path.glob("wandb*"))


def test_stages_of_one_run_share_the_board(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build(tmp_path, "offline")
    first = wandb.run
    assert build(tmp_path, "offline") == ["CSVLogger", "Board"]
    assert wandb.run is first


ENVIRONMENTS = [
    {"WANDB_MODE": "nonsense"},
    {"WANDB_SERVICE": "garbage"},
    {"WANDB_RUN_ID": "a/b"},
    {"WANDB_CONSOLE": "zzz"},
    {"WANDB_RESUME": "zzz"},
    {"WANDB_BASE_URL": "nonsense"},
    {"NETRC": "/"},
]


@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda one: "=".join(*one.items()))
def test_nothing_in_the_environment_keeps_a_run_from_starting(
    no_board: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], mode: str
) -> None:
    for name, value in environment.items():
        no_board.setenv(name, value)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first, again = build(tmp_path, mode), build(tmp_path, mode)
    assert first == again
    assert first[0] == "CSVLogger"
    # an online board may fail first and the offline one after it
    assert sum("W&B" in str(one.message) for one in said) <= 1 + (mode == "online")
    assert first == ["CSVLogger", "Board"] or any("is logged without it" in str(one.message) for one in said)


@pytest.mark.parametrize("settings", [{"project": "shop/outfits"}, {"project": "a" * 200}, {"tags": ["a" * 100]}])
def test_a_name_that_the_board_refuses_is_a_warning(
    no_board: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = WandbConfig(mode="offline", **settings)
    with pytest.warns(UserWarning, match="W&B failed .* is logged without it"):
        made = loggers.build_loggers(config, tmp_path, {}, rank_zero=True, stage="scorer")
    assert [type(logger).__name__ for logger in made] == ["CSVLogger"]
    assert len(loggers.build_loggers(config, tmp_path, {}, rank_zero=True, stage="judge")) == 1  # and no second warning


def test_a_file_in_the_place_of_its_folder_is_no_end_of_a_run(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("mine")
    assert build(tmp_path, "offline")[0] == "CSVLogger"
    assert (tmp_path / "wandb").read_text() == "mine"


@pytest.mark.parametrize("word", ["disabled", "off"])
def test_the_board_s_own_word_for_off_is_understood(no_board: pytest.MonkeyPatch, tmp_path: Path, word: str) -> None:
    assert load_config([f"wandb.mode='{word}'"]).wandb.mode == word
    assert build(tmp_path, word) == ["CSVLogger"]


def test_the_board_s_own_words_for_offline_are_understood(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_config(["wandb.mode=dryrun"]).wandb.mode == "dryrun"
    no_board.setenv("WANDB_API_KEY", "0" * 40)
    no_board.setenv("WANDB_MODE", "dryrun")
    assert build(tmp_path, "auto") == ["CSVLogger", "Board"]
    assert wandb.run.settings._offline


def test_a_board_that_dies_is_one_warning(no_board: pytest.MonkeyPatch, tmp_path: Path) -> None:
    csv, board = loggers.build_loggers(WandbConfig(mode="offline"), tmp_path, {}, rank_zero=True, stage="scorer")
    board.log_metrics({"loss": 1.0}, 0)

    def broken(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection lost")

    for name in ("log", "define_metric", "finish"):
        no_board.setattr(wandb.run, name, broken)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for logger in (csv, board):
            logger.log_metrics({"loss": 1.0}, 1)
            logger.log_hyperparams({"a": 1})
        loggers.log_to_boards([csv, board], lambda run: run.log({"a": 1}))
        loggers.log_to_boards([csv, board], lambda run: 1 / 0)
        board.finalize("success")
    assert [str(one.message) for one in said if "W&B" in str(one.message)] == [
        f"W&B failed (Connection lost); {tmp_path} is logged without it, in {tmp_path / 'csv'}"
    ]
    no_board.undo()
