"""From configuration to item encoder."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from outfits.config.schema.encoder import EncoderConfig
from outfits.data.catalogue import Catalogue
from outfits.encoders.base import ImageEncoder, ItemEncoder, TextEncoder
from outfits.encoders.classical import (
    ClassicalImages,
    ClassicalTexts,
    fit_sample,
    images_key,
    read_state,
    texts_key,
    write_state,
)
from outfits.encoders.content import image_digests
from outfits.encoders.images import item_image
from outfits.encoders.learned import LearnedImages
from outfits.encoders.sentence import SentenceTexts
from outfits.errors import ConfigError

Positions = NDArray[np.integer]


def build_item_encoder(
    config: EncoderConfig,
    catalogue: Catalogue,
    train_items: Positions,
    state_dir: Path,
    *,
    on_missing_image: str = "error",
    on_corrupt_image: str = "error",
    background: str = "keep",
) -> ItemEncoder:
    """The encoder that the configuration asks for, its classical parts fitted or read back.

    A fit depends on the training items alone, is deterministic, and is stored in ``state_dir`` under the hash of these
    items, so that other ranks and later runs read it instead of repeating it. Under several ranks let the first one
    build before the others do; the result is the same without, at several times the work.

    Args:
        config: section ``encoder`` of the configuration.
        catalogue: all items.
        train_items: catalogue positions of the items of the training split, in any order, repetitions allowed.
        state_dir: folder of fitted encoders, shared between runs.
        on_missing_image: ``error`` or ``mask``, for image files that are not there.
        on_corrupt_image: ``error`` or ``mask``, for image files that cannot be decoded.
        background: ``keep`` or ``cut``, what the classical image encoder does with the wall behind a garment, see
            :func:`outfits.encoders.features.describe`.

    Raises:
        ConfigError: if the settings contradict each other or need a package that is not installed.
        ArtifactError: if pretrained weights cannot be loaded.
        DataError: if a training item's image cannot be used, or there is nothing to fit on.
    """
    if config.image == "none" and config.text == "none":
        raise ConfigError(["encoder.image and encoder.text are both none; an item needs at least one of them"])
    train = np.unique(np.asarray(train_items, dtype=np.int64))

    image, text = pretrained_parts(config)
    if config.image == "classical":
        image = _classical_images(config, catalogue, train, state_dir, on_missing_image, on_corrupt_image, background)
    if config.text == "classical":
        text = _classical_texts(config, catalogue, train, state_dir)
    return ItemEncoder(image, text)


def pretrained_parts(config: EncoderConfig) -> tuple[ImageEncoder | None, TextEncoder | None]:
    """The configured encoders that come with weights of their own; None for a part that is fitted or left out.

    Raises:
        ConfigError: if a package is not installed.
        ArtifactError: if weights cannot be loaded.
    """
    image: ImageEncoder | None = None
    text: TextEncoder | None = None
    if "open_clip" in (config.image, config.text):
        # Imported here: it takes seconds, which runs without it need not wait for.
        from outfits.encoders.open_clip import OpenClip, OpenClipImages, OpenClipTexts

        clip = OpenClip(config.open_clip.model, config.open_clip.pretrained, config.precision)
        image = OpenClipImages(clip) if config.image == "open_clip" else None
        text = OpenClipTexts(clip) if config.text == "open_clip" else None
    if config.image == "learned":
        image = LearnedImages(str(config.learned.run), config.precision)
    if config.text == "sentence_transformers":
        text = SentenceTexts(config.sentence.model, config.precision)
    return image, text


def _classical_images(
    config: EncoderConfig,
    catalogue: Catalogue,
    train: NDArray[np.int64],
    state_dir: Path,
    on_missing_image: str,
    on_corrupt_image: str,
    background: str,
) -> ClassicalImages:
    with_path = train[[catalogue.image_paths[position] is not None for position in train]]
    sample = fit_sample(with_path)
    key = images_key(
        config.image_dim, image_digests([catalogue.image_paths[position] for position in sample]), background
    )
    path = state_dir / f"classical-images-{key[:32]}.npz"
    state = read_state(path, key)
    if state is not None:
        return ClassicalImages.from_state(key, state, background)

    def images() -> Iterator[Image.Image]:
        with ThreadPoolExecutor(max_workers=max(1, config.num_workers)) as pool:
            decoded = pool.map(
                lambda position: item_image(
                    catalogue.image_paths[position],
                    catalogue.item_ids[position],
                    on_missing_image=on_missing_image,
                    on_corrupt_image=on_corrupt_image,
                    draft_size=ClassicalImages.draft_size,
                ),
                sample.tolist(),
            )
            yield from (image for image in decoded if image is not None)

    encoder = ClassicalImages.fit(images(), config.image_dim, key, background)
    write_state(path, key, encoder.state())
    return encoder


def _classical_texts(
    config: EncoderConfig, catalogue: Catalogue, train: NDArray[np.int64], state_dir: Path
) -> ClassicalTexts:
    texts = [catalogue.texts[position] for position in train]
    key = texts_key(config.text_dim, texts)
    path = state_dir / f"classical-texts-{key[:32]}.npz"
    state = read_state(path, key)
    if state is not None:
        return ClassicalTexts.from_state(key, state)
    encoder = ClassicalTexts.fit(texts, config.text_dim, key)
    write_state(path, key, encoder.state())
    return encoder
