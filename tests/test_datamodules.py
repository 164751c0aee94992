"""Data modules on their own, and the functions that make what they are given, beside the stages that do the same."""

from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DistributedSampler

from datamodules import CompatibilityDataModule, CompletionDataModule, DistinctImageDataModule, ImageDataModule
from datamodules.base import OutfitLoaders
from datamodules.conditional import ConditionedImageDataModule
from outfits.completion.completion import SearchTrace
from outfits.completion.tasks import make_tasks
from outfits.config.load import load_config
from outfits.config.schema.scorer import ScorerArchitecture, ScorerConfig
from outfits.config.schema.targets import TargetsConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.load import load_dataset
from outfits.data.outfits import SPLITS, Outfits
from outfits.encoders import embed
from outfits.encoders.learned import image_tensor
from outfits.encoders.packed import PackedImages
from outfits.errors import DataError
from outfits.mining import MinedTargets, mine
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import load_scorer
from outfits.weights import save_network
from pipeline.compatibility import Scorers
from pipeline.embeddings import embed_catalogue
from pipeline.run import open_run
from pipeline.targets import mine_targets
from tests.test_generator_model import CATEGORIES, IMAGE_DIM, TEXT_DIM, a_catalogue
from tests.tiny_run import RECIPE

SIZES = {"train": 30, "valid": 8, "test": 6}


def a_dataset(**sizes: int) -> OutfitDataset:
    """Outfits of four items of different categories."""
    rng = np.random.default_rng(2)
    counts = {**SIZES, **sizes}
    splits = [code for code, split in enumerate(SPLITS) for _ in range(counts[split])]
    items = [(rng.permutation(CATEGORIES)[:4] + CATEGORIES * rng.integers(5, size=4)).tolist() for _ in splits]
    outfits = Outfits.from_lists([f"outfit-{n}" for n in range(len(items))], items, splits)
    catalogue = a_catalogue()
    features = catalogue.require_embeddings
    vectors = features.vectors / np.linalg.norm(features.text, axis=1, keepdims=True)  # texts have unit length
    catalogue = catalogue.with_embeddings(replace(features, vectors=vectors))
    return OutfitDataset("some", catalogue, outfits, {}, {}, {}, {})


def a_scorer(image_dim: int = IMAGE_DIM, text_dim: int = TEXT_DIM) -> OutfitTransformer:
    torch.manual_seed(0)
    small = ScorerArchitecture(width=16, layers=1, heads=2, feedforward=16)
    return OutfitTransformer(small, image_dim, text_dim).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def targets() -> MinedTargets:
    return mine(a_dataset(), a_scorer(), k=2, k_max=3, config=TargetsConfig(candidates=5))


def images_of(dataset: OutfitDataset, missing: int = 0) -> PackedImages:
    present = np.arange(len(dataset.catalogue)) >= missing
    return PackedImages(np.zeros((len(present), 16, 16, 4), dtype=np.uint8), present)


def data_modules(targets: MinedTargets) -> dict[str, OutfitLoaders]:
    dataset = a_dataset()
    return {
        "compatibility": CompatibilityDataModule(dataset, ScorerConfig(batch_size=7), seed=3),
        "completion": CompletionDataModule(dataset, targets, batch_size=7, seed=3),
        "images": ImageDataModule(dataset, images_of(dataset), batch_size=7, seed=3),
    }


KINDS = ["compatibility", "completion", "images"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_sets_up_its_splits_without_a_trainer(kind: str, targets: MinedTargets) -> None:
    data = data_modules(targets)[kind]
    data.setup("validate")
    assert list(data.samples) == ["valid"]
    valid = data.samples["valid"]
    data.setup("fit")
    assert set(data.samples) == {"train", "valid"}
    assert data.samples["valid"] is valid
    assert [len(list(loader)) > 0 for loader in (data.train_dataloader(), data.val_dataloader())] == [True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_lightning_leaves_the_samplers_alone(kind: str, targets: MinedTargets) -> None:
    data = data_modules(targets)[kind]
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert isinstance(loader.sampler, DistributedSampler)


def test_graphs_carry_the_targets_of_all_kinds_of_tasks(targets: MinedTargets) -> None:
    data = data_modules(targets)["completion"]
    data.setup("fit")
    train = list(data.train_dataloader())
    assert sum(batch.num_graphs for batch in train) == sum(map(len, targets.parts))
    assert len(targets.parts) == 3
    assert {batch.condition_categories.shape[1:] for batch in train} == {(3, CATEGORIES)}
    valid = list(data.val_dataloader())
    chosen = np.concatenate([batch.target_id.numpy() for batch in valid])
    np.testing.assert_array_equal(chosen, targets.valid.trace.chosen)


def test_test_tasks_are_those_given_or_all_of_the_split(targets: MinedTargets) -> None:
    dataset = a_dataset()
    given = make_tasks(dataset.outfits.of("test"), 1, 1, 4, seed=0)
    removed = []
    for data in (CompletionDataModule(dataset, targets), CompletionDataModule(dataset, None, given)):
        data.setup("test")
        removed.append(np.concatenate([batch.removed_id.numpy() for batch in data.test_dataloader()]))
    assert removed[0].shape == (SIZES["test"], 2)
    np.testing.assert_array_equal(removed[1], given.removed)


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="train tasks need targets"):
        CompletionDataModule(a_dataset(), None).setup("fit")


def test_an_empty_split_is_named(targets: MinedTargets) -> None:
    with pytest.raises(DataError, match="valid split"):
        CompatibilityDataModule(a_dataset(valid=0)).setup("fit")
    nothing = targets.valid.tasks.take([])
    data = CompletionDataModule(a_dataset(), targets, nothing)
    data.setup("test")
    with pytest.raises(DataError, match="test split has no usable outfit"):
        data.test_dataloader()


def test_images_are_learned_from_training_outfits_alone() -> None:
    dataset = a_dataset(train=2)
    worn = np.unique(dataset.outfits.of("train").items)
    items = ImageDataModule(dataset, images_of(dataset, missing=2)).items
    assert set(items["train"]) == set(worn) - {0, 1}
    assert set(items["valid"]) == set(range(len(dataset.catalogue))) - set(worn) - {0, 1}


def test_some_images_are_held_out_where_all_items_are_worn() -> None:
    dataset = a_dataset()
    texts = np.ones((len(dataset.catalogue), 2), dtype=np.float32)
    texts[4] = 0
    data = ImageDataModule(dataset, images_of(dataset), texts)
    assert sorted([*data.items["train"], *data.items["valid"]]) == [n for n in range(len(texts)) if n != 4]
    assert 1 <= len(data.items["valid"]) < len(data.items["train"])


@pytest.mark.parametrize("train", [2, 30], ids=["few-worn", "all-worn"])
def test_every_different_image_is_in_one_split_and_none_of_test_was_seen(
    train: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.images.FEWEST_HELD_OUT", 1)  # no training image joins those held out
    dataset = a_dataset(train=train)
    size = len(dataset.catalogue)
    images = images_of(dataset, missing=1)
    images.pixels[:, 0, 0, 0] = np.arange(size) // 2  # pairs of items share an image
    items = DistinctImageDataModule(dataset, images).items
    shown = {split: set((rows // 2).tolist()) for split, rows in items.items()}
    assert all(len(shown[split]) == len(rows) > 0 for split, rows in items.items())
    assert sorted([number for numbers in shown.values() for number in numbers]) == list(range(size // 2))
    worn = set((np.unique(dataset.outfits.of("train").items) // 2).tolist())
    if train == 2:
        assert shown["train"] == worn
        assert abs(len(items["valid"]) - len(items["test"])) <= 1
    else:
        assert len(items["train"]) > len(items["test"])


@pytest.mark.parametrize("different", [1, 2, 5])
def test_few_different_images_are_too_few_to_hold_some_out(different: int) -> None:
    dataset = a_dataset()
    images = images_of(dataset)
    images.pixels[:] = np.minimum(np.arange(len(images.pixels)), different - 1)[:, None, None, None]
    with pytest.raises(DataError, match=rf"{different} different image\(s\) are too few"):
        _ = DistinctImageDataModule(dataset, images).items


def test_further_conditions_are_trained_on_where_an_image_of_training_shows_their_item() -> None:
    dataset = a_dataset(train=2)
    size = len(dataset.catalogue)
    images = images_of(dataset)
    images.pixels[:, 0, 0, 0] = np.arange(size) // 2
    own = np.arange(size, dtype=np.float32)[:, None]
    plain = ConditionedImageDataModule(dataset, images, own)
    taught = int(plain.items["train"][0])
    twin, unseen = taught ^ 1, int(plain.items["test"][0])
    data = ConditionedImageDataModule(dataset, images, own)
    data.add_conditions(np.array([[100.0], [101.0], [102.0]], dtype=np.float32), np.array([taught, unseen, twin]))
    rows = data.make_samples("train").positions
    np.testing.assert_array_equal(rows, [*plain.make_samples("train").positions, size, size + 2])
    batch = data.batch(rows[-2:].tolist())
    assert batch.conditions.flatten().tolist() == [100, 102]
    shown = image_tensor(images.pixels[[taught, taught]])[:, :3]
    np.testing.assert_array_equal(batch.images, shown)
    for split in ("valid", "test"):
        np.testing.assert_array_equal(data.make_samples(split).positions, plain.items[split])


class NothingToLearn(L.LightningModule):
    """Trains one number on whatever batches come."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: object, batch_index: int) -> Tensor:
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_hold_arguments_and_no_data(kind: str, targets: MinedTargets, tmp_path: Path) -> None:
    data = data_modules(targets)[kind]
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(NothingToLearn(), data)
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    saved = torch.load(tmp_path / "some.ckpt", weights_only=True)
    assert saved["datamodule_hyper_parameters"] == {"batch_size": 7, "num_workers": 0, "seed": 3}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """The tiny recipe's run and its data set, without and with the embeddings of the stage."""
    root = tmp_path_factory.mktemp("tiny")
    place = [f"data.root={root / 'data'}", f"cache_dir={root / 'cache'}", f"run_dir={root / 'run'}"]
    run = open_run(load_config([f"experiment={RECIPE}", "data.on_missing_image=mask", *place]))
    dataset = load_dataset(run.config.data)
    next(path for path in dataset.catalogue.image_paths if path is not None).unlink()
    return run, dataset, embed_catalogue(run, dataset)


def test_embed_gives_the_embeddings_of_the_stage(tiny) -> None:
    run, bare, dataset = tiny
    made = embed(bare, run.config.encoder, on_missing_image="mask")
    ours, stage = made.catalogue.require_embeddings, dataset.catalogue.require_embeddings
    np.testing.assert_array_equal(ours.vectors, stage.vectors)
    np.testing.assert_array_equal(ours.present, stage.present)
    assert (ours.key, ours.image_dim, ours.text_dim) == (stage.key, stage.image_dim, stage.text_dim)
    assert made.counts == dataset.counts
    assert made.counts["items without a usable image"] == 1


def arrays_of(trace: SearchTrace) -> dict[str, np.ndarray]:
    return {name: array for name, array in vars(trace).items() if isinstance(array, np.ndarray)}


def test_mine_gives_the_targets_of_the_stage(tiny, tmp_path: Path) -> None:
    run, _, dataset = tiny
    items, model = dataset.catalogue.require_embeddings, run.config.model
    save_network(a_scorer(items.image_dim, items.text_dim), tmp_path / "scorer.safetensors")
    scorer = load_scorer(tmp_path / "scorer.safetensors")
    stage = mine_targets(run, dataset, Scorers(scorer, None, {}, None))
    made = mine(dataset, scorer.module, k=model.k, k_max=model.k_max, config=run.config.targets, seed=run.config.seed)
    assert list(made.conditions) == list(stage.conditions) == ["categories", "categories_texts"]
    assert made.k_max == model.k_max
    for ours, theirs in zip([*made.parts, made.valid], [*stage.parts, stage.valid], strict=True):
        assert ours.tasks.digest() == theirs.tasks.digest()
        assert arrays_of(ours.trace).keys() == arrays_of(theirs.trace).keys() >= {"chosen", "logits", "candidates"}
        for name, array in arrays_of(ours.trace).items():
            np.testing.assert_array_equal(array, arrays_of(theirs.trace)[name], err_msg=name)


def test_mine_refuses_two_stage_search() -> None:
    with pytest.raises(ValueError, match="two_stage"):
        mine(a_dataset(), a_scorer(), k=2, k_max=3, config=TargetsConfig(search="two_stage"))
