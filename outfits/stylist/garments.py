"""External garments: items that are in no catalogue, embedded by the run's encoder when they are used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from outfits.config.schema.encoder import TEXT_ENCODERS
from outfits.encoders.base import ImageEncoder, ItemEncoder
from outfits.encoders.images import DECODING_ERRORS, ImageSource, decode_image, image_name, reason
from outfits.errors import ConfigError, DataError


@dataclass(frozen=True)
class Garment:
    """An external garment.

    Attributes:
        category: name of one of the run's categories.
        text: its description; empty for none.
        image: path, content (bytes) or open file of an image, or a Pillow image; None for none.

    Raises:
        TypeError: if a part is something else.
        ValueError: with neither text nor image.
    """

    category: str
    text: str = ""
    image: ImageSource | None = None

    def __post_init__(self) -> None:
        for name, value in (("category", self.category), ("text", self.text)):
            if not isinstance(value, str):
                raise TypeError(f"a garment's {name} is a text, not {type(value).__name__}")
        image: object = self.image
        if not isinstance(image, str | Path | bytes | Image.Image | None) and not hasattr(image, "read"):
            kind = type(image).__name__
            raise TypeError(
                f"a garment's image is a path, bytes, a file opened with 'rb' or a Pillow image, not {kind}"
            )
        if self.image is None and not self.text.strip():
            raise ValueError("a garment needs an image or a text")

    @property
    def path(self) -> Path | None:
        """Its image file; None without one."""
        return Path(self.image).expanduser() if isinstance(self.image, str | Path) else None


def embed_garment(encoder: ItemEncoder, garment: Garment) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vector ``[d]`` and presence ``[2]`` of a garment.

    Leaves out a part that the encoder cannot embed (a text of unknown words), as in a catalogue.

    Raises:
        DataError: if its image cannot be opened, or the encoder can embed no part of it.
    """
    image = None if encoder.image is None else _image(garment, encoder.image)
    vectors, present = encoder.encode([image], [garment.text], [f"own {garment.category}"])
    if not present.any():
        parts = {"an image": encoder.image, "a text": encoder.text}
        usable = " or ".join(name for name, part in parts.items() if part is not None)
        raise DataError(
            f"own {garment.category} ({garment.text or garment.path}): the run's encoder sees nothing in it; it takes "
            f"{usable}{' of words that it knows from the catalogue' if encoder.text is not None else ''}"
        )
    return vectors[0], present[0]


def embed_text(encoder: ItemEncoder, text: str) -> NDArray[np.float32]:
    """Embeds a text as a vector of unit length, shape ``[text_dim]``.

    Raises:
        TypeError: if the text is something else.
        ConfigError: if the run has no text encoder.
        DataError: if the encoder knows no word of the text.
    """
    if not isinstance(text, str):
        raise TypeError(f"a text is expected, not {type(text).__name__}")
    if encoder.text is None:
        raise ConfigError(
            [
                f"text {text!r}: this run has no text encoder (encoder.text=none); do without texts, or train a run "
                f"with another encoder.text: {', '.join(name for name in TEXT_ENCODERS if name != 'none')}"
            ]
        )
    vectors, present = encoder.encode([None], [text], [f"text {text!r}"])
    if not present[0, 1]:
        raise DataError(f"text {text!r}: the run's text encoder knows none of its words; use words of the catalogue")
    return vectors[0, encoder.image_dim :]


def _image(garment: Garment, encoder: ImageEncoder) -> NDArray[Any] | None:
    """Decodes and prepares the garment's image, as a catalogue's are."""
    return None if garment.image is None else encoder.prepare(garment_image(garment, encoder.draft_size))


def garment_image(garment: Garment, draft_size: int | None = None) -> Image.Image:
    """Decodes the image of a garment that has one, see :func:`outfits.encoders.images.decode_image`.

    Raises:
        DataError: if it cannot be opened.
    """
    source = garment.path or garment.image
    assert source is not None
    name = image_name(source)
    try:
        return decode_image(source, draft_size)
    except FileNotFoundError:
        raise DataError(
            f"own {garment.category}: there is no image {name}; paths count from the working folder"
        ) from None
    except DECODING_ERRORS as error:
        raise DataError(
            f"own {garment.category}: its image {name} cannot be opened ({reason(error)}); give another file or a text"
        ) from error
