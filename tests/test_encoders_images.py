"""Decoding images: policies for missing and broken files, in this process and in loader workers."""

import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from outfits.data.catalogue import Catalogue
from outfits.encoders.images import (
    DECODING_ERRORS,
    ImageSource,
    ItemImages,
    ItemShard,
    decode_image,
    item_image,
    keep_shard,
    reason,
)
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


def turned(path: Path, orientation: int) -> None:
    """A JPEG of a patterned image whose camera was held in one of eight ways."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(orientation).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((560, 720)).save(path, exif=exif)


@contextmanager
def sources(path: Path) -> Iterator[dict[str, ImageSource]]:
    """One image in every form in which it may come."""
    content = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as opened, Image.open(BytesIO(content)) as opened_from_memory:
        yield {
            "text": str(path),
            "bytes": content,
            "file": file,
            "memory": BytesIO(content),
            "opened": opened,
            "opened from memory": opened_from_memory,
        }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("draft_size", [None, 64])
def test_an_image_is_read_alike_in_whatever_form_it_comes(
    tmp_path: Path, orientation: int, draft_size: int | None
) -> None:
    turned(tmp_path / "turned.jpg", orientation)
    expected = np.asarray(decode_image(tmp_path / "turned.jpg", draft_size))
    with sources(tmp_path / "turned.jpg") as forms:
        for form, source in forms.items():
            for _ in range(2):  # a source can be read again
                assert np.array_equal(np.asarray(decode_image(source, draft_size)), expected), form


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tif", "bmp"])
@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_an_opened_image_equals_its_file(tmp_path: Path, suffix: str, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 20, 4), dtype=np.uint8)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).quantize(8).convert("RGBA").convert(mode).save(path)
    expected = np.asarray(decode_image(path))
    with sources(path) as forms:
        for form, source in forms.items():
            assert np.array_equal(np.asarray(decode_image(source)), expected), form


def test_an_opened_image_stays_as_it_was(tmp_path: Path) -> None:
    turned(tmp_path / "turned.jpg", 6)
    with Image.open(tmp_path / "turned.jpg") as opened, Image.open(tmp_path / "turned.jpg") as untouched:
        small = decode_image(opened, 64)
        assert (opened.size, small.size) == ((560, 720), (90, 70))
        assert opened.getexif()[0x0112] == 6
        assert np.array_equal(np.asarray(opened), np.asarray(untouched))


@pytest.mark.parametrize("spoil", [truncate, overwrite])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_broken_image_is_an_expected_error_in_any_form(
    tmp_path: Path, spoil: Callable[[Path], None], suffix: str
) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(path)
    spoil(path)
    content = path.read_bytes()
    for read in (lambda: path, lambda: content, lambda: BytesIO(content), lambda: Image.open(BytesIO(content))):
        with pytest.raises(DECODING_ERRORS) as caught:
            decode_image(read())  # type: ignore[no-untyped-call]
        assert "\n" not in reason(caught.value)
        assert "0x" not in reason(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif"])
def test_an_image_closed_too_early_says_what_to_do(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (9, 9)).save(path)
    with Image.open(path) as closed:
        pass
    with pytest.raises(ValueError, match=r"closed before it was read; load\(\) it before, or give its path"):
        decode_image(closed)


def grey_tiff(bits: int, content: bytes, white_is_zero: bool = False) -> bytes:
    """A TIFF of 4 by 4 grey pixels, written by hand, since Pillow writes neither 12 bits nor an inverted scale."""
    tags = {256: 4, 257: 4, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 122, 277: 1, 278: 4, 279: 2 * bits}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + (content * 16)[: 2 * bits]


DEEP_PIXELS = np.array([[0, 1000, 30_000, 65_535]], dtype=np.uint16)
DEEP = [0, 4, 117, 255]  # the same, to the nearest of 255 steps


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.repeat(DEEP_PIXELS, 4, axis=0)).save(path)
    with sources(path) as forms:
        for source in forms.values():
            decoded = np.asarray(decode_image(source))
            assert decoded.shape == (4, 4, 3)
            assert decoded[1, :, 2].tolist() == DEEP


@pytest.mark.parametrize("value", [0, 1000, 30_000, 65_535])
def test_deep_grey_and_deep_colour_agree(value: int) -> None:
    pixels = np.full(48, value, dtype=">u2")
    grey, colour = b"P5 4 4 65535\n" + pixels[:16].tobytes(), b"P6 4 4 65535\n" + pixels.tobytes()
    difference = np.asarray(decode_image(grey)).astype(int) - np.asarray(decode_image(colour))
    assert np.abs(difference).max() <= 1  # Pillow rounds colours down


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_deep_grey_in_memory_is_scaled_in_any_byte_order(mode: str) -> None:
    order = ">u2" if mode == "I;16B" else "<u2"
    image = Image.frombytes(mode, (4, 1), DEEP_PIXELS.astype(order).tobytes())
    assert np.asarray(decode_image(image))[0, :, 0].tolist() == DEEP


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(grey_tiff(12, bytes([0x80, 0x08, 0x00])), 128, id="12 bits"),
        pytest.param(grey_tiff(16, struct.pack("<H", 30_000), white_is_zero=True), 138, id="16 bits, 0 is white"),
        pytest.param(grey_tiff(16, struct.pack("<H", 30_000)), 117, id="16 bits, 0 is black"),
    ],
)
def test_a_tiff_says_what_white_is(content: bytes, expected: int) -> None:
    assert decode_image(content).getpixel((0, 0)) == (expected,) * 3


def test_transparent_deep_grey_becomes_white() -> None:
    image = Image.fromarray(DEEP_PIXELS)
    image.info["transparency"] = 1000
    assert np.asarray(decode_image(image))[0, :, 0].tolist() == [0, 255, 117, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("La", (0, 0), (255, 255, 255)),
        ("PA", (0, 0), (255, 255, 255)),
        ("RGBX", (10, 20, 30, 0), (10, 20, 30)),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (90, 128, 128), (90, 90, 90)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
    ],
)
def test_every_mode_of_eight_bits_becomes_rgb(mode: str, colour: int | tuple[int, ...], expected: tuple[int]) -> None:
    image = Image.new(mode, (3, 2), colour)
    decoded = np.asarray(decode_image(image)).astype(int)
    assert decoded.shape == (2, 3, 3)
    assert np.abs(decoded - expected).max() <= (1 if mode == "LAB" else 0)  # a colour profile rounds


def test_a_palette_with_transparent_colours_stands_on_white() -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0)).quantize(4)
    assert "transparency" not in image.info
    assert decode_image(image).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.full((4, 4), 0.5, np.float32), "floats"),
        (np.full((4, 4), 128.0, np.float32), "floats"),
        (np.full((4, 4), np.nan, np.float32), "floats"),
        (np.full((4, 4), 30_000, np.int32), "32-bit integers"),
        (np.full((4, 4), -7, np.int32), "32-bit integers"),
    ],
    ids=["of one", "of 255", "not a number", "deep", "negative"],
)
def test_an_image_of_unknown_white_follows_the_policy(tmp_path: Path, values: NDArray[Any], kind: str) -> None:
    path = tmp_path / "image.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=rf"'x'.*image\.tif.*pixels are {kind}.*8 or 16 bits.*on_corrupt_image=mask"):
        item_image(path, "x")
    assert item_image(path, "x", on_corrupt_image="mask") is None
    with pytest.raises(ValueError, match=f"pixels are {kind}"):
        decode_image(Image.fromarray(values))


@pytest.mark.parametrize("form", ["text", "file", "opened", "bytes"])
def test_the_warning_of_a_large_image_names_it(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (110, 100)).save(path)
    message = "in memory has" if form == "bytes" else r"huge\.png has 0 megapixels"
    with sources(path) as forms:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
        with pytest.warns(UserWarning, match=message):
            decode_image(forms[form])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    with pytest.raises(DataError, match=r"huge\.png cannot be decoded .*exceeds limit.*on_corrupt_image=mask"):
        item_image(path, "x")


@pytest.mark.slow
def test_pillows_own_warning_of_a_large_image_is_not_shown(tmp_path: Path) -> None:
    Image.new("L", (110, 100)).save(tmp_path / "huge.png")
    program = (
        "import sys; from PIL import Image; from outfits.encoders.images import decode_image; "
        "Image.MAX_IMAGE_PIXELS = 10_000; decode_image(sys.argv[1])"
    )
    arguments = [sys.executable, "-W", "ignore::FutureWarning", "-c", program, str(tmp_path / "huge.png")]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stderr.count("Warning") == 1
    assert f"image {tmp_path / 'huge.png'} has" in done.stderr
