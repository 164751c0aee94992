"""Keys of item encoders."""

from dataclasses import dataclass

from outfits.config.fields import absolute, key, located, section
from outfits.config.schema.multitask import MultitaskEncoderConfig
from outfits.registry import Entry, Table


@dataclass(frozen=True)
class EncoderEntry(Entry):
    """An item encoder: a function that builds it from an :class:`outfits.encoders.base.EncoderSource`.

    Attributes:
        fitted: whether it is made from data, so that a run stores it with its method ``keep(folder)`` and rebuilds it
            from ``EncoderSource.kept``.
        shared_space: whether it maps images and texts to one space.
        network: of an image encoder, whether it is a network that can be written as an ONNX file.
    """

    fitted: bool = False
    shared_space: bool = False
    network: bool = False


NO_ENCODER = EncoderEntry("none", "outfits.encoders.base:no_encoder")

IMAGE_ENCODERS = Table(
    "image encoder",
    (
        EncoderEntry("classical", "outfits.encoders.classical:build_images", fitted=True),
        EncoderEntry("learned", "outfits.encoders.learned:build_images", fitted=True, network=True),
        EncoderEntry("open_clip", "outfits.encoders.open_clip:build_images", shared_space=True, network=True),
        EncoderEntry("multitask", "outfits.encoders.multitask.encoder:build_images", fitted=True, shared_space=True),
        EncoderEntry("timm", "outfits.encoders.timm_images:build_images", fitted=True, network=True),
        EncoderEntry("joined", "outfits.encoders.joined:build_images", fitted=True),
        NO_ENCODER,
    ),
)

TEXT_ENCODERS = Table(
    "text encoder",
    (
        EncoderEntry("classical", "outfits.encoders.classical:build_texts", fitted=True),
        EncoderEntry("open_clip", "outfits.encoders.open_clip:build_texts", shared_space=True),
        EncoderEntry("multitask", "outfits.encoders.multitask.encoder:build_texts", fitted=True, shared_space=True),
        EncoderEntry("sentence_transformers", "outfits.encoders.sentence:build_texts"),
        NO_ENCODER,
    ),
)


@dataclass
class OpenClipConfig:
    model: str = key("ViT-B-32", "architecture name, hf-hub:ORG/NAME or local-dir:PATH", check=located)
    pretrained: str | None = key(
        None,
        "pretrained tag (laion2b_s34b_b79k) or a local weights file; null for hf-hub: and local-dir:",
        check=located,
    )


@dataclass
class SentenceConfig:
    model: str = key(
        "sentence-transformers/all-MiniLM-L6-v2",
        "model name, local folder, or package:NAME for a model inside an installed Python package",
        check=located,
    )


@dataclass
class LearnedConfig:
    run: str | None = key(
        None,
        "folder of a finished run of experiment=representation, whose model encodes the images; may be written "
        "encoder.image.run",
        check=absolute,
    )


@dataclass
class TimmConfig:
    model: str = key(
        "tf_efficientnet_lite0",
        "timm's name, with a pretrained tag or not; hf-hub:ORG/NAME or local-dir:PATH",
        check=located,
    )
    weights: str | None = key(
        None,
        "weights file, or package:NAME for one inside an installed Python package; null: those of the tag or the hub",
        check=located,
    )
    image_size: int = key(192, "side that an image is shrunk and padded to, pixels", ge=32)
    stages: list[int] = key([-1], "maps that are pooled and joined: -1 the last, 0, 1, … stages from the input", ge=-1)
    pooling: str = key("mean", "mean, or gem: generalised mean of power 3 (arXiv 1711.02512)", choices=("mean", "gem"))


@dataclass
class EncoderConfig:
    image: str = key(
        "classical",
        "image encoder; learned is a model trained on the catalogue's own images, joined is several side by side, "
        "none leaves images out",
        choices=IMAGE_ENCODERS,
    )
    text: str = key(
        "classical",
        "text encoder; none leaves texts out",
        choices=TEXT_ENCODERS,
    )
    joined: list[str] = key(
        ["classical", "timm"],
        "joined: the image encoders, whose vectors of unit length stand side by side",
        choices=IMAGE_ENCODERS,
    )
    image_dim: int = key(64, "classical and timm: width of the image part", ge=2)
    background: str = key(
        "keep",
        "classical and timm: keep the image's background, or cut it out; where items were photographed together, the "
        "background alone tells who belongs together",
        choices=("keep", "cut"),
    )
    text_dim: int = key(64, "classical: width of the text part", ge=2)
    shard_size: int = key(256, "items per shard: the unit of work, of resumption and of the encoder's batch", ge=1)
    precision: str = key(
        "auto",
        "open_clip, timm and sentence_transformers: auto is bf16 on GPUs that have it, fp32 elsewhere",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    num_workers: int = key(2, "processes that decode images, per rank", ge=0)
    learned: LearnedConfig = section(LearnedConfig)
    multitask: MultitaskEncoderConfig = section(MultitaskEncoderConfig)
    open_clip: OpenClipConfig = section(OpenClipConfig)
    sentence: SentenceConfig = section(SentenceConfig)
    timm: TimmConfig = section(TimmConfig)

    @property
    def shared_space(self) -> bool:
        """Tells whether images and texts lie in one space, so that a text can be compared with an image."""
        return self.image == self.text and IMAGE_ENCODERS[self.image].shared_space
