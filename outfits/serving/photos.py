"""Photos from outside: decoded after their header has said how large they are, and shrunk to what is needed."""

from io import BytesIO

from PIL import Image

from outfits.encoders.images import DECODING_ERRORS, decode_image, reason
from outfits.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # what cameras and browsers make, and nothing else
IMAGE_SIZE = 1024  # pixels that a photo is kept with


def read_image(content: bytes, megapixels: float) -> Image.Image:
    """Decodes a photo.

    Raises:
        DataError: if it cannot be read or has more than so many million pixels.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as opened:
            pixels = opened.width * opened.height
        if pixels > megapixels * 1e6:
            raise DataError(f"the photo has {pixels / 1e6:,.0f} megapixels; at most {megapixels:g} are taken")
        image = decode_image(content, IMAGE_SIZE)
    except DECODING_ERRORS as error:
        raise DataError(f"the photo cannot be read ({reason(error)})") from error
    image.thumbnail((IMAGE_SIZE, IMAGE_SIZE))
    return image
