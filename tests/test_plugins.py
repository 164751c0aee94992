"""Encoders, image models and data formats from outside the package: a line in a table, and the real code runs them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from outfits import run_files
from outfits.config.load import load_config
from outfits.config.schema.data import DATA_FORMATS, DataConfig, DataFormat, SplitConfig
from outfits.config.schema.encoder import IMAGE_ENCODERS, TEXT_ENCODERS, EncoderConfig, EncoderEntry, LearnedConfig
from outfits.config.schema.representation import IMAGE_MODELS, ImageModelEntry, RepresentationConfig
from outfits.data.dataset import Item, RawDataset, RawOutfit
from outfits.data.files import read_json, root_of
from outfits.data.load import load_dataset
from outfits.encoders import EncoderSource, build_item_encoder
from outfits.encoders.build import keep_fitted
from outfits.errors import DataError
from outfits.registry import Table
from outfits.representations.base import Features, ImageModel
from outfits.representations.batch import ImageBatch
from outfits.storage import read_arrays, write_arrays
from pipeline.embeddings import embed_catalogue
from pipeline.representation import learn_representation
from pipeline.run import Run, open_run
from tests.encoder_items import draw_garment, write_catalogue

RECIPE = Path(__file__).parent / "runs" / "tiny.yaml"


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers this module's code in tables that go back to what they were."""
    tables: tuple[Table[Any], ...] = (IMAGE_ENCODERS, TEXT_ENCODERS, IMAGE_MODELS, DATA_FORMATS)
    for table in tables:
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    here = __name__
    IMAGE_ENCODERS.register(EncoderEntry("colour", f"{here}:build_colours", fitted=True, shared_space=True))
    TEXT_ENCODERS.register(EncoderEntry("colour", f"{here}:build_words", shared_space=True))
    IMAGE_MODELS.register(ImageModelEntry("mean_colour", f"{here}:MeanColour"))
    DATA_FORMATS.register(DataFormat("one_file", f"{here}:read_one_file"))


class Colours:
    """Mean colours, centred on the training items; shape and all else is lost."""

    dim, draft_size = 3, None

    def __init__(self, mean: NDArray[np.float64]) -> None:
        self.mean = mean
        self.key = f"colours {mean.tolist()}"

    def prepare(self, image: Image.Image) -> NDArray[np.float64]:
        return np.asarray(image, dtype=np.float64).mean(axis=(0, 1))

    def to(self, device: torch.device | str) -> None:
        """Stays."""

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return (np.stack(prepared) - self.mean).astype(np.float32)

    def keep(self, folder: Path) -> None:
        write_arrays(folder / "colours.npz", {"mean": self.mean})


def build_colours(source: EncoderSource) -> Colours:
    if source.kept is not None:
        kept = read_arrays(source.kept / "colours.npz")
        assert kept is not None
        return Colours(kept["mean"])
    colours = Colours(np.zeros(3))
    images = [Image.open(str(source.catalogue.image_paths[item])).convert("RGB") for item in source.train_items]
    return Colours(np.mean([colours.prepare(image) for image in images], axis=0))


class Words:
    """The numbers of the letters r, g and b in a text."""

    dim, key = 3, "words"

    def to(self, device: torch.device | str) -> None:
        """Stays."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[text.count(letter) for letter in "rgb"] for text in texts], dtype=np.float32)


def build_words(source: EncoderSource) -> Words:
    return Words()


class MeanColour(ImageModel):
    """Codes an image as its mean colour and draws a learned multiple of it everywhere."""

    title = "Mean colour"

    def __init__(
        self, config: RepresentationConfig, categories: int, text_dim: int, features: Features | None = None
    ) -> None:
        super().__init__(config, categories, text_dim, features)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def encode(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def decode(self, latents: Tensor) -> Tensor:
        colours = (self.scale * latents).clamp(0, 1)
        return colours[:, :, None, None].expand(-1, -1, self.image_size, self.image_size)

    def losses(self, batch: ImageBatch, progress: float) -> dict[str, Tensor]:
        terms = self._reconstruction(batch, self.decode(self.encode(batch.images)))
        return {**terms, "loss": terms["reconstruction"]}


def read_one_file(config: DataConfig) -> RawDataset:
    """A list of outfits, each a list of words; a word is an item, its first letter the category."""
    written = read_json(root_of(config) / "outfits.json")
    words = dict.fromkeys(word for outfit in written for word in outfit)
    items = [Item(word, word[0], word, None) for word in words]
    outfits = [RawOutfit(str(row), tuple(outfit), None, f"outfit {row}") for row, outfit in enumerate(written)]
    return RawDataset("words", items, outfits)


def test_an_encoder_from_outside_is_built_kept_and_read(tmp_path: Path) -> None:
    catalogue, config = write_catalogue(tmp_path / "data", 12), EncoderConfig("colour", "colour")
    source = EncoderSource(config, catalogue, np.arange(8), tmp_path / "state")
    encoder = build_item_encoder(source)
    vectors, present = encoder.encode([draw_garment("shirt", "red")], ["rgb red"])
    assert (encoder.image_dim, encoder.text_dim) == (3, 3)
    assert present.all()
    assert config.shared_space
    assert not replace(config, text="classical").shared_space
    keep_fitted(source, tmp_path / "kept")
    again = build_item_encoder(replace(source, train_items=np.arange(0), kept=tmp_path / "kept"))
    assert again.key == encoder.key
    assert np.array_equal(again.encode([draw_garment("shirt", "red")], ["rgb red"])[0], vectors)


def small_run(folder: Path, **encoder: Any) -> Run:
    place = [f"data.root={folder.parent / 'data'}", f"cache_dir={folder.parent / 'cache'}", f"run_dir={folder}"]
    config = load_config([f"experiment={RECIPE}", *place, "stages=[representation]", "trainer.max_epochs=4"])
    model = RepresentationConfig(kind="mean_colour", image_size=16, latent_dim=3)
    config = replace(config, model=replace(config.model, representation=model))
    return open_run(replace(config, encoder=replace(config.encoder, **encoder)))


def test_an_image_model_from_outside_is_trained_and_encodes(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    dataset = load_dataset(run.config.data)
    model = learn_representation(run, dataset)
    assert isinstance(model, MeanColour)
    assert model.scale.item() > 0.5, "it has learned"
    assert model.generative
    report = run.folder / run_files.REPORT
    assert json.loads((report / run_files.RESULTS).read_text())["model"]["kind"] == "mean_colour"
    assert "Mean colour with a latent of 3 numbers" in (report / run_files.PAGE).read_text()

    other = small_run(tmp_path / "other", image="learned", text="none", learned=LearnedConfig(str(run.folder)))
    embedded = embed_catalogue(
        replace(other, config=replace(other.config, stages=["embeddings"])), dataset
    ).catalogue.require_embeddings
    assert (embedded.image_dim, embedded.text_dim) == (3, 0)
    assert embedded.present[:, 0].all()


def test_a_data_format_from_outside_is_read_cleaned_and_split(tmp_path: Path) -> None:
    outfits = [[f"shirt {row}", f"hat {row}", f"trousers {row % 7}"] for row in range(20)]
    (tmp_path / "outfits.json").write_text(json.dumps([*outfits, ["hat 1"]]))
    split = SplitConfig(mode="random")
    dataset = load_dataset(DataConfig(format="one_file", root=str(tmp_path), split=split))
    assert (dataset.name, len(dataset.catalogue), len(dataset.outfits)) == ("words", 47, 20)
    assert list(dataset.catalogue.category_names) == ["h", "s", "t"]
    with pytest.raises(DataError, match="is not a folder; set data.root to the folder of the one_file data set"):
        load_dataset(DataConfig(format="one_file", root=str(tmp_path / "none")))


def test_every_entry_of_the_tables_names_code_that_is_there() -> None:
    tables: tuple[Table[Any], ...] = (IMAGE_ENCODERS, TEXT_ENCODERS, IMAGE_MODELS, DATA_FORMATS)
    for table in tables:
        for name, entry in table.items():
            assert callable(entry.load()), f"{table.what} {name}"
    assert all(issubclass(entry.load(), ImageModel) for entry in IMAGE_MODELS.values())
