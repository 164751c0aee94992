"""Decoding images: policies for missing and broken files, in this process and in loader workers."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from outfits.data.catalogue import Catalogue
from outfits.encoders.images import ItemImages, ItemShard, decode_image, item_image, keep_shard
from outfits.errors import DataError
from tests.encoder_items import write_catalogue


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return write_catalogue(tmp_path, 10)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"not an image")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_shards_cover_every_item_once_in_order(catalogue: Catalogue) -> None:
    images = ItemImages(catalogue, 4)
    shards = [images[shard] for shard in range(len(images))]
    assert [shard.shard for shard in shards] == [0, 1, 2]
    assert np.concatenate([shard.positions for shard in shards]).tolist() == list(range(10))
    assert [text for shard in shards for text in shard.texts] == list(catalogue.texts)
    for position, image in enumerate(image for shard in shards for image in shard.images):
        with Image.open(catalogue.image_paths[position]) as expected:
            assert np.array_equal(np.asarray(image), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("spoil", [truncate, overwrite, empty])
def test_corrupt_image_names_item_file_and_key(catalogue: Catalogue, spoil: Callable[[Path], None]) -> None:
    path = catalogue.image_paths[5]
    assert path is not None
    spoil(path)
    shard = ItemImages(catalogue, 4)[1]
    with pytest.raises(DataError) as caught:
        shard.raise_error()
    message = str(caught.value)
    assert message.startswith("data error: item 'item-5': ")
    assert str(path) in message
    assert "data.on_corrupt_image=mask" in message
    assert "\n" not in message


@pytest.mark.parametrize("spoil", [truncate, overwrite, empty])
def test_corrupt_image_is_masked_on_request_and_others_stay(
    catalogue: Catalogue, spoil: Callable[[Path], None]
) -> None:
    path = catalogue.image_paths[5]
    assert path is not None
    spoil(path)
    shard = ItemImages(catalogue, 4, on_corrupt_image="mask")[1]
    assert shard.error is None
    assert [image is None for image in shard.images] == [False, True, False, False]


def test_truncated_image_in_draft_mode_is_still_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    truncate(path)
    with pytest.raises(DataError, match="truncated"):
        item_image(path, "large", draft_size=100)


def test_missing_image_follows_its_own_policy(catalogue: Catalogue) -> None:
    path = catalogue.image_paths[1]
    assert path is not None
    path.unlink()
    with pytest.raises(DataError, match=re.escape("item 'item-1'") + r".*data\.on_missing_image=mask"):
        ItemImages(catalogue, 4, on_corrupt_image="mask")[0].raise_error()
    assert ItemImages(catalogue, 4, on_missing_image="mask")[0].images[1] is None


def test_item_without_a_picture_is_no_mistake(catalogue: Catalogue) -> None:
    shard = ItemImages(replace(catalogue, image_paths=[None, *catalogue.image_paths[1:]]), 4)[0]
    assert shard.error is None
    assert shard.images[0] is None


def test_bad_picture_in_a_worker_process_is_one_line_in_the_main_process(catalogue: Catalogue) -> None:
    path = catalogue.image_paths[9]
    assert path is not None
    truncate(path)
    loader = DataLoader(ItemImages(catalogue, 5), batch_size=None, num_workers=1, collate_fn=keep_shard)
    shards: list[ItemShard] = list(loader)
    shards[0].raise_error()
    assert len(shards[0].images) == 5
    with pytest.raises(DataError) as caught:
        shards[1].raise_error()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (200, 10, 10, 255))
    image.save(tmp_path / "alpha.png")
    image.quantize(4).save(tmp_path / "palette.png")
    for name in ("alpha.png", "palette.png"):
        decoded = decode_image(tmp_path / name)
        assert decoded.mode == "RGB"
        assert decoded.getpixel((0, 0)) == (200, 10, 10)
        assert decoded.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (6, 5), (255, 255, 255)).convert(mode).save(path)
    decoded = decode_image(path)
    assert (decoded.mode, decoded.size) == ("RGB", (6, 5))
    assert decoded.getpixel((2, 2)) == (255, 255, 255)


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.new("RGB", (40, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert decode_image(tmp_path / "turned.jpg").size == (20, 40)


def test_draft_decoding_shrinks_but_never_below_the_wanted_size(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200), "red").save(tmp_path / "large.jpg")
    width, height = decode_image(tmp_path / "large.jpg", 128).size
    assert 128 <= height < 300
    assert width / height == pytest.approx(4 / 3, rel=0.02)


def test_prepare_runs_on_every_picture(catalogue: Catalogue) -> None:
    shard = ItemImages(catalogue, 10, prepare=np.asarray)[0]
    assert all(isinstance(image, np.ndarray) for image in shard.images)
