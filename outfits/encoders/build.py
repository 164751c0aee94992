"""From configuration to item encoder."""

from pathlib import Path

from outfits.config.schema.encoder import IMAGE_ENCODERS, TEXT_ENCODERS
from outfits.encoders.base import EncoderSource, ItemEncoder
from outfits.errors import ConfigError


def build_item_encoder(source: EncoderSource) -> ItemEncoder:
    """The encoder that the configuration asks for, its fitted parts fitted or read back.

    A fit depends on the training items alone, is deterministic, and is stored in ``source.state_dir`` under the hash of
    these items, so that other ranks and later runs read it instead of repeating it. Under several ranks let the first
    one build before the others do; the result is the same without, at several times the work.

    Raises:
        ConfigError: if the settings contradict each other or need a package that is not installed.
        ArtifactError: if pretrained weights, or what a run kept, cannot be loaded.
        DataError: if a training item's image cannot be used, or there is nothing to fit on.
    """
    config = source.config
    image, text = IMAGE_ENCODERS[config.image].load()(source), TEXT_ENCODERS[config.text].load()(source)
    if image is None and text is None:
        raise ConfigError(["encoder.image and encoder.text are both none; an item needs at least one of them"])
    return ItemEncoder(image, text)


def keep_fitted(source: EncoderSource, folder: Path) -> None:
    """Writes those encoders to a folder that were made from data; pretrained ones are not loaded for this.

    :func:`build_item_encoder` reads them from ``EncoderSource.kept``.
    """
    for entry in (IMAGE_ENCODERS[source.config.image], TEXT_ENCODERS[source.config.text]):
        if entry.fitted:
            entry.load()(source).keep(folder)
