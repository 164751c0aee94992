"""Keys of conditional generation: images from attributes, and from the generator's latents."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema import training


@dataclass
class ConditionalArchitecture:
    """What a network from conditions to images is built from."""

    width: int = key(24, "channels of the finest hidden map; coarser ones have up to eight times as many", ge=8)
    hidden: int = key(256, "width of the fully connected layers", ge=8)


@dataclass
class ConditionalLoss:
    """Weights of the loss of an image and its mask."""

    mask_weight: float = key(0.2, "weight of the mask's squared error beside the image's", ge=0)
    background_weight: float = key(0.25, "weight of a background pixel against one of the garment", gt=0, le=1)


@dataclass
class ViewConfig:
    """How far a view moves, enlarges or brightens an image; 0 leaves it as it is."""

    place: float = key(0.15, "conditional: most that a view moves an image either way, share of its side", ge=0, lt=0.5)
    size: float = key(0.2, "conditional: most that a view enlarges or reduces it, share of its size", ge=0, lt=1)
    brightness: float = key(0.3, "conditional: most that a view darkens or brightens it", ge=0, lt=1)


@dataclass
class ConditionalConfig(ConditionalArchitecture, ConditionalLoss):
    """Conditional generation: section ``model.imaging.conditional``."""

    attributes: list[str] = key(
        [], "conditional: attributes of items that are told, besides the category; []: all that the data set has"
    )
    most_values: int = key(64, "conditional: values of an attribute that are told apart, the most frequent ones", ge=2)
    view: ViewConfig = section(ViewConfig)


@dataclass
class ImagineConfig(ConditionalArchitecture, ConditionalLoss):
    """The decoder of the generator's latents: section ``imagine``."""

    image_size: int = key(64, "side of imagined images, pixels", choices=(16, 32, 64, 128))
    background: str = key("keep", "background of the images: keep, or cut (white)", choices=("keep", "cut"))
    latents: int = key(
        4000,
        "at most so many latents of training outfits, rounded up to whole outfits, that the decoder learns to draw as "
        "the items they find, beside the items' own vectors; 0: none",
        ge=0,
    )
    noise: float = key(0.1, "most that noise is long which training adds to vectors of unit length", ge=0)
    epochs: int = training.epochs(60)
    batch_size: int = training.batch_size(32, "images and latents")
    lr: float = training.lr(2e-3)
    weight_decay: float = training.weight_decay(1e-4)
    warmup: float = training.warmup()
    patience: int = training.patience("validation figure")
    outfits: int = key(200, "outfits whose missing items are imagined and measured, at most", ge=1)
    shown: int = key(6, "outfits on a sheet of the report", ge=1)
