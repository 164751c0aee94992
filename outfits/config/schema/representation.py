"""Keys of image models and of their report."""

from dataclasses import dataclass

from outfits.config.fields import file_or_package, key, section
from outfits.registry import Entry, Table


@dataclass(frozen=True)
class ImageModelEntry(Entry):
    """An image model: a subclass of :class:`outfits.representations.base.ImageModel`.

    Attributes:
        generative: whether it decodes latents to images.
        texts: whether it learns from the items' texts too.
    """

    generative: bool = True
    texts: bool = False


IMAGE_MODELS = Table(
    "image model",
    (
        ImageModelEntry("autoencoder", "outfits.representations.autoencoder:Autoencoder"),
        ImageModelEntry("vae", "outfits.representations.vae:VariationalAutoencoder"),
        ImageModelEntry("deforming", "outfits.representations.deforming:DeformingAutoencoder"),
        ImageModelEntry(
            "contrastive", "outfits.representations.contrastive:ContrastiveTower", generative=False, texts=True
        ),
    ),
)


@dataclass
class CorruptionConfig:
    """Corruption of a denoising autoencoder's input in training."""

    noise: float = key(0.0, "denoising: standard deviation of noise on the encoder's input, pixel range 1", ge=0)
    masked: float = key(0.0, "denoising: share of the patches of the encoder's input that are masked", ge=0, lt=1)
    patch: int = key(8, "denoising: side of a masked patch, pixels; divides image_size", ge=1)


@dataclass
class FrozenNetworkConfig:
    """A network whose features are compared and that no training changes."""

    network: str | None = key(
        None, "the frozen network: learned:RUN_DIR, torchvision:ARCHITECTURE or timm:ARCHITECTURE"
    )
    weights: str | None = key(
        None,
        "weights of a torchvision or timm network: its state dict, .safetensors or .pt, or package:NAME for one inside "
        "an installed Python package",
        check=file_or_package,
    )
    layers: list[str] = key(
        [],
        "layers compared, by name; [] is every block of a learned encoder, layer1 to layer3 of a residual network, "
        "blocks.0 to blocks.4 of an EfficientNet, the last activations before the first four poolings of a VGG",
    )


@dataclass
class PerceptualConfig(FrozenNetworkConfig):
    """A distance in the features of a frozen network, besides that of pixels."""

    weight: float = key(0.0, "weight of the distance in a frozen network's features beside pixel_weight", ge=0)


@dataclass
class VaeConfig:
    """Likelihood and divergence of a variational autoencoder."""

    deviation: float = key(
        0.1, "standard deviation of a pixel about the decoder's image, pixel range 1; scales the likelihood", gt=0
    )
    beta: float = key(1.0, "weight of the KL divergence at the end of training; 1 is the ELBO", ge=0)
    beta_start: float | None = key(
        None, "weight of the KL divergence at the beginning, from which it falls to beta; null: beta throughout", gt=0
    )
    beta_fall: float = key(0.6, "share of training that the fall takes", gt=0, le=1)
    free_bits: float = key(0.0, "nats of divergence per coordinate that cost nothing", ge=0)


@dataclass
class DeformingConfig:
    """Parts of a deforming autoencoder's latent and weights of its loss."""

    shape_dim: int = key(16, "coordinates of the latent that warp the template", ge=1)
    class_dim: int = key(0, "coordinates that must tell the item's category; 0: not class-aware", ge=0)
    class_weight: float = key(0.1, "class-aware: weight of the cross-entropy of the category", ge=0)
    intrinsic: bool = key(False, "draw the template as albedo times shading")
    variation_weight: float = key(0.002, "weight of the total variation of the warp's increments", ge=0)
    bias_weight: float = key(1.0, "weight of the distance of the mean warp from the identity", ge=0)
    shading_weight: float = key(0.1, "intrinsic: weight of the roughness of the shading", ge=0)


@dataclass
class ContrastiveConfig:
    """Contrastive learning of images and their texts."""

    temperature: float = key(0.07, "initial value of the learned temperature", gt=0)


@dataclass
class AugmentationConfig:
    """Augmentation of training images."""

    flip: bool = key(True, "mirror half of the training images")
    translate: float = key(0.0, "move training images by up to this share of their side", ge=0, lt=0.5)
    brightness: float = key(0.0, "make training images brighter or darker by up to this share", ge=0, lt=1)


@dataclass
class RepresentationConfig:
    """An image model: section ``model.representation``."""

    kind: str = key(
        "vae",
        "network: autoencoder (denoising with corruption), vae (with vae.beta), deforming (shape and appearance apart) "
        "or contrastive (images against their texts)",
        choices=IMAGE_MODELS,
    )
    image_size: int = key(
        64, "side of the square that images are padded to with white, pixels", choices=(16, 32, 64, 128)
    )
    width: int = key(32, "channels after the first convolution; deeper ones have up to eight times as many", ge=8)
    latent_dim: int = key(64, "width of the latent", ge=2)
    background: str = key("keep", "keep the image's background, or cut it out: make it white", choices=("keep", "cut"))
    background_weight: float = key(
        0.25, "weight of a background pixel in the reconstruction against one of the garment", gt=0, le=1
    )
    pixel_weight: float = key(1.0, "weight of the squared error of pixels, of a vae of the log-likelihood", ge=0)
    perceptual: PerceptualConfig = section(PerceptualConfig)
    corruption: CorruptionConfig = section(CorruptionConfig)
    vae: VaeConfig = section(VaeConfig)
    deforming: DeformingConfig = section(DeformingConfig)
    contrastive: ContrastiveConfig = section(ContrastiveConfig)
    augmented: AugmentationConfig = section(AugmentationConfig)


@dataclass
class RepresentationReportConfig:
    """The report of an image model: section ``evaluate.representation``."""

    images: int = key(10, "items shown per image of the report", ge=2)
    steps: int = key(7, "steps of an interpolation or traversal", ge=3)
    coordinates: int = key(10, "latent coordinates traversed, those that vary most", ge=1)
    neighbours: int = key(6, "nearest neighbours shown per item", ge=1)
    factors: list[str] = key(
        [], "attributes that disentanglement is measured against, besides the category; []: all that the data set has"
    )
    items: int = key(6000, "items that disentanglement is measured on at most", ge=100)
