"""Builds an item encoder from its configuration."""

from pathlib import Path

from outfits.config.schema.encoder import IMAGE_ENCODERS, TEXT_ENCODERS
from outfits.encoders.base import EncoderSource, ItemEncoder
from outfits.errors import ConfigError


def build_item_encoder(source: EncoderSource) -> ItemEncoder:
    """Returns the configured encoder, its fitted parts fitted or read back.

    A fit depends on the training items alone, is deterministic, and is stored in ``source.state_dir`` under their hash
    for other ranks and later runs. If all ranks build at once the result is the same, at several times the work.

    Raises:
        ConfigError: if settings conflict or need a package that is not installed.
        ArtifactError: if pretrained weights or a run's fitted encoders cannot be loaded.
        DataError: if a training item's image cannot be used, or there is nothing to fit on.
    """
    config = source.config
    image, text = IMAGE_ENCODERS[config.image].load()(source), TEXT_ENCODERS[config.text].load()(source)
    if image is None and text is None:
        raise ConfigError(["encoder.image and encoder.text are both none; an item needs at least one of them"])
    return ItemEncoder(image, text)


def keep_fitted(source: EncoderSource, folder: Path) -> None:
    """Writes the fitted encoders to a folder for ``EncoderSource.kept``; does not load pretrained ones."""
    for entry in (IMAGE_ENCODERS[source.config.image], TEXT_ENCODERS[source.config.text]):
        if entry.fitted:
            entry.load()(source).keep(folder)
