"""Outfits with given scores: reading them, policies for bad ones, and S fitted to them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from datamodules.compatibility import CompatibilityDataModule
from lightning_modules.compatibility import CompatibilityModule
from outfits.config.load import load_config
from outfits.config.schema.data import DataConfig, SyntheticConfig, TablesConfig
from outfits.config.schema.scorer import NegativesConfig, ScorerConfig
from outfits.data.cleaning import clean
from outfits.data.dataset import Item, OutfitDataset, RawDataset, RawOutfit
from outfits.data.load import load_dataset
from outfits.data.maryland import read_maryland
from outfits.data.outfits import Outfits
from outfits.data.synthetic import write_synthetic
from outfits.data.synthetic.reading import read_format
from outfits.data.synthetic.rules import go_together
from outfits.data.synthetic.wardrobe import CATEGORIES, COLOURS, Garment
from outfits.data.tables import read_tables
from outfits.errors import ConfigError, DataError
from outfits.metrics.evaluate_scorer import measure_given_scores
from outfits.models.losses import given_score_loss
from outfits.naming import normalised
from tests.test_generator_model import a_catalogue

ITEMS = [Item(name, "category " + name[0], name, None) for name in ("a1", "a2", "b1", "b2", "c1", "c2")]


def a_raw(*scores: tuple[float, ...], same: bool = False) -> RawDataset:
    """Outfits of three items with these scores; ``same``: all of the same items."""
    sets = [("a1", "b1", "c1"), ("a2", "b1", "c1"), ("a1", "b2", "c2"), ("a2", "b2", "c1")]
    outfits = [RawOutfit(f"o{row}", sets[0 if same else row], None, "here", given) for row, given in enumerate(scores)]
    return RawDataset("small", ITEMS, outfits)


def scores_of(raw: RawDataset, **config: str) -> list[float]:
    cleaned = clean(raw, DataConfig(**config))  # type: ignore[arg-type]
    assert cleaned.scores is not None
    return cleaned.scores.tolist()


# Reading


def write_tables(root: Path, rows: list[tuple[str, str, str]]) -> TablesConfig:
    items = sorted({item for _, item, _ in rows})
    (root / "items.csv").write_text("item_id,category\n" + "".join(f"{item},{item[0]}\n" for item in items))
    (root / "outfits.csv").write_text("outfit_id,item_id,rating\n" + "".join(",".join(row) + "\n" for row in rows))
    return TablesConfig(text="", score="rating")


def test_a_column_of_the_outfits_table_scores_outfits(tmp_path: Path) -> None:
    rows = [("x", "a1", "0.25"), ("x", "b1", "0.25"), ("y", "a1", ""), ("y", "b2", "")]
    rows += [("z", "a2", "1"), ("z", "b1", "0"), ("w", "a2", "good"), ("w", "b2", "good")]
    raw = read_tables(tmp_path, write_tables(tmp_path, rows))
    given = {outfit.outfit_id: outfit.scores for outfit in raw.outfits}
    assert given["x"] == (0.25,)
    assert given["z"] == (1.0, 0.0)
    assert np.isnan([*given["y"], *given["w"]]).all()
    assert not any(outfit.scores for outfit in read_tables(tmp_path, TablesConfig(text="")).outfits)


def test_a_missing_column_is_named_with_its_key(tmp_path: Path) -> None:
    write_tables(tmp_path, [("x", "a1", "0.5"), ("x", "b1", "0.5")])
    with pytest.raises(DataError, match=r"column 'ratings' \(set data.tables.score, did you mean 'rating'\?\)"):
        read_tables(tmp_path, TablesConfig(text="", score="ratings"))


def test_likes_score_maryland_outfits_by_rank(tmp_path: Path) -> None:
    root = tmp_path / "drawn"
    write_synthetic(root, SyntheticConfig(items=200, outfits=120, image_size=16))
    config = DataConfig(format="maryland", root=str(root), likes=True, score_scale="rank")
    config.split.mode = "official"
    outfits = load_dataset(config).outfits
    likes = {
        entry["set_id"]: entry["likes"]
        for split in ("train", "valid", "test")
        for entry in json.loads((root / f"{split}_no_dup.json").read_text())
    }
    assert outfits.scores is not None
    known = [likes[outfit_id] for outfit_id in outfits.outfit_ids]
    assert spearmanr(outfits.scores, known).statistic == pytest.approx(1)
    assert 0 < outfits.scores.min() < 0.1 < 0.9 < outfits.scores.max() < 1
    assert outfits.of("test").scores.tolist() == outfits.scores[outfits.split == 2].tolist()  # type: ignore[union-attr]


def test_likes_as_given_are_refused() -> None:
    with pytest.raises(ConfigError, match="likes are no numbers"):
        load_config(["data.format=maryland", "data.likes=true"])


# Policies


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (1.5, r"'o1' has the score 1.5, outside \[0, 1\]; 2 such"),
        (-0.1, r"'o1' has the score -0.1, outside"),
        (float("nan"), "'o1' has no score; 2 such"),
        (float("inf"), "'o1' has the score inf"),
    ],
)
def test_a_bad_score_is_an_error_or_leaves_the_outfit_out(bad: float, said: str) -> None:
    raw = a_raw((0.5,), (bad,), (0.25,), (bad,))
    with pytest.raises(DataError, match=said):
        clean(raw, DataConfig())
    cleaned = clean(raw, DataConfig(on_bad_score="drop"))
    assert cleaned.outfit_ids == ["o0", "o2"]
    assert cleaned.scores is not None
    assert cleaned.scores.tolist() == [0.5, 0.25]
    assert cleaned.counts["outfits left out: score missing or outside [0, 1]"] == 2


def test_an_outfit_without_a_score_among_scored_ones_is_bad() -> None:
    with pytest.raises(DataError, match="'o1' has no score; 1 such"):
        clean(a_raw((0.5,), ()), DataConfig())


@pytest.mark.parametrize("same", [True, False], ids=["two_outfits_of_one_set", "two_rows_of_one_outfit"])
def test_contradictory_scores_follow_their_policy(same: bool) -> None:
    raw = a_raw((0.2,), (0.8,), same=True) if same else a_raw((0.2, 0.8), (0.5,))
    with pytest.raises(DataError, match="'o0': its items have the scores 0.2 and 0.8; 1 such"):
        clean(raw, DataConfig())
    averaged = clean(raw, DataConfig(on_contradictory_scores="mean"))
    assert averaged.scores is not None
    assert averaged.scores[0] == pytest.approx(0.5)
    assert averaged.counts["outfits with contradictory scores, averaged"] == 1
    if not same:
        dropped = clean(raw, DataConfig(on_contradictory_scores="drop"))
        assert dropped.outfit_ids == ["o1"]
        assert dropped.counts["outfits left out: contradictory scores"] == 1


def test_equal_scores_of_one_set_do_not_contradict() -> None:
    assert scores_of(a_raw((0.2,), (0.2,), same=True)) == pytest.approx([0.2])


def test_ranks_take_any_numbers_and_halve_ties() -> None:
    assert scores_of(a_raw((3.0,), (1000.0,), (-5.0,), (3.0,)), score_scale="rank") == pytest.approx(
        [0.5, 0.875, 0.125, 0.5]
    )


def test_without_scores_nothing_is_scored() -> None:
    cleaned = clean(a_raw((), ()), DataConfig())
    assert cleaned.scores is None
    assert not any(number for name, number in cleaned.counts.items() if "score" in name)


# The drawn set


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("graded") / "data"
    write_synthetic(root, SyntheticConfig(items=300, outfits=200, image_size=16, graded=0.6))
    return root


def test_a_graded_outfit_is_scored_by_its_pairs_that_match(graded: Path) -> None:
    config = DataConfig(root=str(graded), synthetic=SyntheticConfig(items=300, outfits=200, image_size=16, graded=0.6))
    raw = read_format(config)
    scores = np.array([outfit.scores[0] for outfit in raw.outfits])
    whole = scores == 1
    assert 0.3 < whole.mean() < 0.6  # four in ten were left as they are, and some swaps do no harm
    assert len(np.unique(scores)) > 10
    drawn = {item.item_id: garment_of(item.attributes) for item in raw.items}
    for outfit in raw.outfits:
        worn = [drawn[item] for item in outfit.item_ids]
        pairs = [go_together(one, other) for place, one in enumerate(worn) for other in worn[:place]]
        assert outfit.scores[0] == pytest.approx(np.mean(pairs))


def garment_of(factors: Mapping[str, str]) -> Garment:
    shapes, colours = [kind.name for kind in CATEGORIES], {colour.name: colour for colour in COLOURS}
    known = {name: value for name, value in factors.items() if name in ("style", "shade", "pattern")}
    return Garment(
        category=[normalised(shape) for shape in shapes].index(factors["shape"]),
        formality=int(factors["formality"]),
        warmth=int(factors["warmth"]),
        colour=colours[factors["colour"]],
        variant=int(factors["variant"]),
        **known,
    )


def test_official_tasks_of_a_graded_set_are_of_whole_outfits(graded: Path) -> None:
    raw = read_maryland(graded, "score")
    whole = {frozenset(outfit.item_ids) for outfit in raw.outfits if outfit.scores == (1.0,)}
    assert raw.labelled["test"]
    assert all(frozenset(row.item_ids) in whole for row in raw.labelled["test"] if row.compatible)


def test_grading_none_writes_what_was_always_written(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data", SyntheticConfig(items=200, outfits=80, image_size=16))
    manifest = json.loads((tmp_path / "data" / "synthetic.json").read_text())
    assert "graded" not in manifest
    assert "score" not in json.loads((tmp_path / "data" / "train_no_dup.json").read_text())[0]


# S


def a_scored_dataset() -> OutfitDataset:
    """Outfits of two to four items whose score is the mean of a number that stands in the items' vectors."""
    catalogue, rng = a_catalogue(), np.random.default_rng(0)
    vectors, categories = catalogue.require_embeddings.vectors, catalogue.categories
    lists = []
    for row in range(400):
        kinds = rng.choice(int(categories.max()) + 1, 2 + row % 3, replace=False)
        lists.append([int(rng.choice(np.flatnonzero(categories == kind))) for kind in kinds])
    scores = np.array([1 / (1 + np.exp(-3 * vectors[items, 0].mean())) for items in lists], dtype=np.float32)
    split = np.array([(0, 0, 0, 1, 2)[row % 5] for row in range(400)], dtype=np.int8)
    outfits = Outfits.from_lists([str(row) for row in range(400)], lists, split, scores)
    return OutfitDataset("scored", catalogue, outfits, {}, {}, {}, {}, [])


def test_the_losses_by_hand() -> None:
    logits, scores = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.25])
    s = torch.sigmoid(logits)
    assert given_score_loss(logits, scores, "mse").item() == pytest.approx(((s - scores) ** 2).mean().item())
    soft = -(scores * s.log() + (1 - scores) * (1 - s).log()).mean()
    assert given_score_loss(logits, scores, "cross_entropy").item() == pytest.approx(soft.item())


def test_a_scored_outfit_keeps_its_score_and_is_never_cut() -> None:
    dataset = a_scored_dataset()
    data = CompatibilityDataModule(dataset, ScorerConfig(subset_share=1.0))
    samples, train = data.make_samples("train"), dataset.outfits.of("train")
    assert train.scores is not None
    for position in range(40):
        sample = samples[(2, position)]
        assert sorted(sample.sets[0].tolist()) == sorted(train[position].tolist())
        assert sample.score == pytest.approx(float(train.scores[position]))
    batch = data.collate([samples[(0, position)] for position in range(5)])
    assert batch.scores.tolist() == pytest.approx(train.scores[:5].tolist())


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("negatives", [0, 1])
def test_a_step_fits_the_scores_with_negatives_or_without(loss: str, negatives: int) -> None:
    dataset = a_scored_dataset()
    config = ScorerConfig(
        width=16, layers=1, heads=2, feedforward=16, dropout=0, input_dropout=0, score_loss=loss, ranking_weight=1.0,
        negatives=NegativesConfig(per_outfit=negatives, hard_share=0.0),
    )  # fmt: skip
    module = CompatibilityModule(dataset.catalogue, config).eval()
    data = CompatibilityDataModule(dataset, config)
    samples = data.make_samples("train")
    batch = data.collate([samples[(0, position)] for position in range(8)])
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign,assignment]
    found = module.training_step(batch, 0).item()
    tokens = module.model.tokens(batch.vectors, batch.present)
    own = module.model.forward_tokens(tokens[batch.sets[:, 0]], batch.padding)
    alone = given_score_loss(own, batch.scores, loss).item()
    assert logged[f"scorer/{loss}"] == pytest.approx(alone, abs=1e-6)
    assert "scorer/ranking_loss" not in logged
    assert found == pytest.approx(alone, abs=1e-6) if negatives == 0 else found > alone


def test_metrics_are_those_of_scipy() -> None:
    dataset = a_scored_dataset()
    test = dataset.outfits.of("test")
    logits = np.random.default_rng(0).normal(size=len(test))

    class Fixed:
        def ragged_logits(self, sets: object) -> torch.Tensor:
            return torch.from_numpy(logits)

    found, s = measure_given_scores(Fixed(), test), 1 / (1 + np.exp(-logits))
    assert found["score_mse"] == pytest.approx(np.mean((s - test.scores) ** 2))
    assert found["score_spearman"] == pytest.approx(spearmanr(logits, test.scores).statistic)
    assert found["score_kendall"] == pytest.approx(kendalltau(logits, test.scores).statistic)
    constant = Outfits(test.outfit_ids, test.items, test.offsets, test.split, np.full(len(test), 0.5, np.float32))
    assert measure_given_scores(Fixed(), constant)["score_spearman"] is None
    unscored = Outfits(test.outfit_ids, test.items, test.offsets, test.split)
    assert measure_given_scores(Fixed(), unscored) == {}
