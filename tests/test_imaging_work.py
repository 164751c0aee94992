"""What imaging models share: places in the cache, fabrics, and tables of sets."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from outfits.config.schema.imaging import ImagingConfig, TextureConfig
from outfits.data.catalogue import Catalogue
from outfits.errors import ConfigError
from outfits.representations.perceptual import FrozenFeatures
from pipeline.imaging.image_sets import set_table
from pipeline.imaging.pixels import made_from
from pipeline.imaging.style_transfer import _median
from pipeline.imaging.texture import _by_gram
from pipeline.imaging.work import ImagingWork


def frozen(**changes: Any) -> FrozenFeatures:
    """A layer with seeded random weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, **{"padding": 1, **changes}))
    return FrozenFeatures(network, ["0"], (0.5,) * 3, (0.5,) * 3)


def a_work(cache: Path, imaging: ImagingConfig, categories: tuple[int, ...] = (0, 1, 1)) -> ImagingWork:
    """Three items in a run of nothing but its cache."""
    names, ids = ["bags", "hats"], ["a", "b", "c"]
    catalogue = Catalogue(ids, np.array(categories, dtype=np.int32), names, [""] * 3, [None] * 3)
    run: Any = SimpleNamespace(
        cache=cache,
        config=SimpleNamespace(model=SimpleNamespace(imaging=imaging), seed=0),
        require=lambda stage, wanted_by: None,
        log=lambda stage, what: None,
    )
    data: Any = SimpleNamespace(items={"train": np.array([0, 1]), "valid": np.array([2])})
    dataset: Any = SimpleNamespace(catalogue=catalogue)
    return ImagingWork(run, dataset, data)


@pytest.mark.parametrize(
    "change", [{"size": 48}, {"steps": 2}, {"colour_weight": 9.0}, {"smoothness_weight": 9.0}], ids=str
)
def test_a_texture_is_made_anew_where_its_loss_changes(change: dict[str, Any], tmp_path: Path) -> None:
    config, sample = TextureConfig(size=32, steps=1), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    for texture in (config, replace(config, window=5), replace(config, **change)):
        _by_gram(a_work(tmp_path, ImagingConfig(texture=texture)), "dots", sample, frozen())
    assert len(list((tmp_path / "imaging").iterdir())) == 2


@pytest.mark.parametrize("categories", [(1, 1, 1), (0, 1, 0)], ids=["train", "valid"])
def test_a_pixel_model_depends_on_the_categories_of_its_items(categories: tuple[int, ...], tmp_path: Path) -> None:
    config = ImagingConfig(kind="pixelcnn")
    assert made_from(a_work(tmp_path, config)) != made_from(a_work(tmp_path, config, categories))


def test_an_item_is_a_style_by_a_part_of_its_fabric(tmp_path: Path) -> None:
    pixels = np.full((3, 32, 32, 4), 255, dtype=np.uint8)
    pixels[..., 3] = 0
    pixels[0, 8:24, 8:24] = np.random.default_rng(0).integers(0, 256, (16, 16, 4))
    pixels[0, 8:24, 8:24, 3] = 255
    work = a_work(tmp_path, ImagingConfig())
    work.data.images = SimpleNamespace(pixels=pixels)  # type: ignore[assignment]
    style = work.swatch("item:a", 32, 0, "key", mirror=True)
    torch.testing.assert_close(style[:, :16, :16], torch.from_numpy(pixels[0, 8:24, 8:24, :3]).permute(2, 0, 1) / 255)
    with pytest.raises(ConfigError, match="key: item:a has no square of 32 pixels of fabric"):
        work.swatch("item:a", 32, 0, "key")
    with pytest.raises(ConfigError, match="key: item:b has no square of 4 pixels of fabric"):
        work.swatch("item:b", 32, 0, "key", mirror=True)


def test_as_many_made_as_held_out_images_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("work", "image_sets"):
        monkeypatch.setattr(f"pipeline.imaging.{module}.MEASURED", 6)
    monkeypatch.setattr(ImagingWork, "features", lambda work, *layers: frozen())
    work = a_work(tmp_path, ImagingConfig())
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 4)).astype(np.uint8)
    work.data.images = SimpleNamespace(pixels=pixels)  # type: ignore[assignment]
    work.data.items = {"train": np.arange(10), "test": np.arange(10, 20)}
    assert len(work.measured) == 6
    rows = set_table(work, {"the same": work.images("test", 6)}).rows
    assert {row[0] for row in rows.values()} == {6}
    held_out, same = rows.values()
    assert list(held_out) == list(same)


def test_steps_that_were_not_enough_are_no_number() -> None:
    assert _median([3, 8, 5]) == "5"
    assert _median([3, None, None, 5]) == "5"
    assert _median([3, None, None]) == "never reached by most"


def test_features_differ_by_more_than_weights_and_layers(tmp_path: Path) -> None:
    work, features = a_work(tmp_path, ImagingConfig()), frozen()
    assert work.features_key(features) == work.features_key(frozen())
    shifted = FrozenFeatures(features.network, ["0"], (0.4,) * 3, (0.5,) * 3)
    for other in (frozen(padding_mode="reflect"), shifted):
        assert work.features_key(other) != work.features_key(features)
