"""Keys of models that draw images pixel by pixel."""

from dataclasses import dataclass

from outfits.config.fields import key


@dataclass
class PixelArchitecture:
    """What a PixelCNN or PixelRNN is built from."""

    width: int = key(24, "pixelcnn, pixelrnn: channels of a layer", ge=8)
    layers: int = key(6, "pixelcnn, pixelrnn: gated layers, or row LSTMs", ge=1)
    mixtures: int = key(5, "pixelcnn, pixelrnn: components of a pixel's mixture of discretised logistics", ge=1)


@dataclass
class PixelsConfig(PixelArchitecture):
    """PixelCNN and PixelRNN: the network and what its report shows."""

    known_rows: float = key(0.5, "pixelcnn, pixelrnn: share of an image's rows that a completion is given", gt=0, lt=1)
    completions: int = key(2, "pixelcnn, pixelrnn: completions of an image, and samples of a category, shown", ge=1)
